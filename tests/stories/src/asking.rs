//! What claude asks: leave to use a tool, a question, a plan; shown with buttons and menus, decided once
//! by whoever may, waited for without a slot and over every restart.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use harness::discord_sim::{ChannelId, InteractionId, Message, MessageId, NewFile, View};
use harness::{Builder, Claude, Postgres, Question, World};
use serde_json::{Value, json};

use crate::deciding::order;
use crate::kills::{kill_all, kill_claude};

/// Leave to make a file.
pub(crate) fn touch(name: &str) -> String {
    let touch = json!({"command": format!("touch {name}"), "description": "Make a file"});
    format!("[[think hm]] [[tool Bash {touch}]] [[say it says: {{result}}]]")
}

/// A question with these options.
fn question(text: &str, options: &[&str], multi: bool) -> Value {
    let options = options.iter().map(|it| json!({"label": it, "description": "that one"}));
    let options: Vec<_> = options.collect();
    json!({"question": text, "header": "Choose", "options": options, "multiSelect": multi})
}

fn ask(questions: &[Value]) -> String {
    let asked = json!({"questions": questions});
    format!("[[think hm]] [[tool AskUserQuestion {asked}]] [[say it says: {{result}}]]")
}

fn plan(text: &str) -> String {
    let plan = json!({"plan": text});
    format!("[[think hm]] [[tool ExitPlanMode {plan}]] [[say it says: {{result}}]]")
}

/// A Discord that waits for a busy machine.
pub(crate) fn patient() -> Builder {
    World::builder().discord(|it| it.interaction_window = Duration::from_secs(80))
}

async fn world() -> Result<World> {
    patient().start().await
}

/// A line more in the project's table of `gateway.toml`, which is the last.
pub(crate) fn add_to_project(world: &World, line: &str) -> Result<()> {
    let file = world.folder().gateway_toml();
    let text = fs::read_to_string(&file).context("no configuration")?;
    fs::write(&file, format!("{text}\n{line}\n")).context("cannot write a configuration")
}

/// What can be clicked at in a message: for a button its label and id, for a menu `menu`.
fn clickable(message: &Message) -> Vec<(String, String)> {
    let rows = message.components.iter().filter_map(|row| row["components"].as_array());
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    rows.flatten()
        .map(|it| {
            let is_menu = it["options"].is_array();
            let name = if is_menu { "menu".to_owned() } else { text(it, "label") };
            (name, text(it, "custom_id"))
        })
        .collect()
}

/// Something to click at.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    message: MessageId,
    id: String,
}

impl Ask {
    /// Somebody clicks at it.
    pub(crate) fn press(&self, world: &World, who: &str) -> Result<InteractionId> {
        let discord = world.discord();
        let pressed = discord.press(self.message, &self.id, discord.user(who));
        pressed.map_err(|error| anyhow!("no press: {error:?}"))
    }

    /// The message that it is on.
    pub(crate) fn message(&self) -> MessageId {
        self.message
    }

    /// A click at it that Discord never sent: from another place, or when its message is gone.
    pub(crate) fn forge(
        &self,
        world: &World,
        who: &str,
        place: ChannelId,
    ) -> Result<InteractionId> {
        let discord = world.discord();
        let forged = discord.forge_press((place, self.message), &self.id, discord.user(who));
        forged.map_err(|error| anyhow!("no press: {error:?}"))
    }
}

fn find(view: &View<'_>, place: ChannelId, label: &str, passed: usize) -> Option<Ask> {
    let messages = view.guild.messages(place);
    let all =
        messages.flat_map(|message| clickable(message).into_iter().map(|it| (message.id, it)));
    let mut named = all.filter(|(_, (name, _))| name == label).skip(passed);
    named.next().map(|(message, (_, id))| Ask { message, id })
}

/// Waits until claude asks, and takes the button of this label.
pub(crate) async fn asks(world: &World, question: Question<'_>, label: &str) -> Result<Ask> {
    asks_in(world, question.thread(), label).await
}

/// Waits until claude asks in some place, and takes the button of this label.
pub(crate) async fn asks_in(world: &World, place: ChannelId, label: &str) -> Result<Ask> {
    world.sees(label, |view| find(view, place, label, 0)).await
}

/// Somebody clicks.
fn clicks(world: &World, who: &str, ask: &Ask) -> Result<InteractionId> {
    ask.press(world, who)
}

/// What somebody is told.
pub(crate) async fn told(world: &World, click: InteractionId) -> Result<String> {
    world
        .sees("an answer to a click", |view| {
            let mut answers = view.guild.answers_to(click);
            answers.find(|it| !it.is_loading()).map(|it| it.content.clone())
        })
        .await
}

/// Somebody clicks, and is told what came of it.
pub(crate) async fn click(world: &World, who: &str, ask: &Ask) -> Result<String> {
    told(world, clicks(world, who, ask)?).await
}

/// Somebody chooses in a menu.
fn chooses(world: &World, who: &str, ask: &Ask, values: &[&str]) -> Result<InteractionId> {
    let discord = world.discord();
    let chosen = discord.select(ask.message, &ask.id, values, discord.user(who));
    chosen.map_err(|error| anyhow!("no choice: {error:?}"))
}

/// Somebody writes into the form that a click opened.
async fn writes(world: &World, click: InteractionId, words: &str) -> Result<String> {
    let is_open = |view: &View<'_>| view.guild.interaction(click)?.modal_is_open.then_some(());
    world.sees("a form", is_open).await?;
    let handed_in = world.discord().submit_modal(click, &[("words", words)]);
    told(world, handed_in.map_err(|error| anyhow!("no form: {error:?}"))?).await
}

/// Waits until nothing can be clicked at any more, and the message says why.
pub(crate) async fn says(world: &World, ask: &Ask, line: &str) -> Result<()> {
    crate::scene::is_decided(world, ask.message, line).await
}

/// The services die and come back.
pub(crate) async fn all_restart(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

/// The answer comes once, and nothing behind it.
pub(crate) async fn ends(question: Question<'_>, answer: &str) -> Result<()> {
    assert_eq!(question.mark().await?, "✅");
    let is_answer = |said: &Vec<String>| said.iter().filter(|it| it.contains(answer)).count() == 1;
    let said = question.said_in_thread()?;
    ensure!(is_answer(&said), "{answer:?} is not once in {said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_once_is_done_and_everybody_sees_who_allowed_it() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    assert!(!question.worktree().join("made").exists());
    assert_eq!(click(&world, "bob", &allow).await?, "Allowed by bob.");
    says(&world, &allow, "Allowed by bob.").await?;
    ends(question, "it says:").await?;
    assert!(question.worktree().join("made").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_not_done_and_claude_hears_why() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let deny = asks(&world, question, "Deny with reason…").await?;
    let form = clicks(&world, "alice", &deny)?;
    assert_eq!(writes(&world, form, "use the other").await?, "Denied by alice: use the other");
    says(&world, &deny, "Denied by alice: use the other").await?;
    ends(question, "\nuse the other").await?;
    assert!(!question.worktree().join("made").exists());
    let again = question.follow_up(&touch("made")).await?;
    let deny = asks(&world, question, "Deny").await?;
    assert_eq!(click(&world, "alice", &deny).await?, "Denied by alice.");
    ends(again, "it says: The person who was asked said no. Do not").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_for_a_thread_is_asked_once_in_it_and_again_elsewhere() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow for this thread").await?;
    assert_eq!(click(&world, "bob", &allow).await?, "Allowed for this thread by bob.");
    assert_eq!(question.mark().await?, "✅");
    all_restart(&world).await?;
    let again = question.follow_up(&touch("made")).await?;
    assert_eq!(again.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let granted = "-# 🔐 `Bash(touch made)` · allowed for this thread by bob";
    assert_eq!(said.iter().filter(|it| *it == granted).count(), 1, "{said:?}");
    assert_eq!(world.ledger().count("tool"), 2);
    let other = question.follow_up(&touch("other")).await?;
    let deny = asks(&world, question, "Deny").await?;
    click(&world, "alice", &deny).await?;
    assert_eq!(other.mark().await?, "✅");
    let elsewhere = world.say(&touch("made"))?;
    let deny = asks(&world, elsewhere, "Deny").await?;
    click(&world, "alice", &deny).await?;
    ends(elsewhere, "said no").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_a_button_or_in_own_words() -> Result<()> {
    let world = world().await?;
    let which = ask(&[question("Which?", &["Red", "Blue"], false)]);
    let first = world.say(&which)?;
    let blue = asks(&world, first, "Blue").await?;
    assert_eq!(click(&world, "alice", &blue).await?, "alice answered: Blue");
    says(&world, &blue, "alice answered: Blue").await?;
    ends(first, "\"Which?\"=\"Blue\".").await?;
    let second = first.follow_up(&which).await?;
    let other = asks(&world, first, "Other…").await?;
    let form = clicks(&world, "alice", &other)?;
    assert_eq!(writes(&world, form, "Green").await?, "alice answered: Green");
    ends(second, "\"Which?\"=\"Green\".").await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_answers_are_chosen_in_a_menu_with_own_words_beside_them() -> Result<()> {
    let world = world().await?;
    let asked = world.say(&ask(&[question("Which?", &["Red", "Blue", "Grey"], true)]))?;
    let menu = asks(&world, asked, "menu").await?;
    let form = chooses(&world, "alice", &menu, &["0", "2", "other"])?;
    assert_eq!(writes(&world, form, "Green").await?, "alice answered: Red, Grey, Green");
    ends(asked, "\"Which?\"=\"Red, Grey, Green\".").await?;
    let again = asked.follow_up(&ask(&[question("Which?", &["Red", "Blue"], true)])).await?;
    let menu = asks(&world, asked, "menu").await?;
    let chosen = chooses(&world, "alice", &menu, &["0", "1"])?;
    assert_eq!(told(&world, chosen).await?, "alice answered: Red, Blue");
    ends(again, "\"Which?\"=\"Red, Blue\".").await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_questions_are_answered_one_by_one_by_whoever_likes() -> Result<()> {
    let world = world().await?;
    let one = question("Which?", &["Red", "Blue"], false);
    let asked = world.say(&ask(&[one, question("How?", &["Fast", "Slow"], false)]))?;
    let slow = asks(&world, asked, "Slow").await?;
    assert_eq!(click(&world, "bob", &slow).await?, "bob answered: Slow");
    all_restart(&world).await?;
    let again = click(&world, "alice", &Ask { id: slow.id.clone(), ..slow.clone() }).await;
    if let Ok(line) = again {
        assert_eq!(line, "That is decided already: bob answered: Slow");
    }
    let red = asks(&world, asked, "Red").await?;
    assert_eq!(click(&world, "alice", &red).await?, "alice answered: Red");
    ends(asked, "\"How?\"=\"Slow\"").await?;
    ends(asked, "\"Which?\"=\"Red\"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_many_pages_is_approved_or_planned_further() -> Result<()> {
    let world = world().await?;
    let long = format!("# The plan\n{}", "step by step\n".repeat(400));
    let first = world.say_with("please", vec![NewFile::text("plan.txt", plan(&long))])?;
    let keep = asks(&world, first, "Keep planning…").await?;
    let said = first.said_in_thread()?;
    assert!(said[0].contains("claude has a plan") && 2 < said.len(), "{said:?}");
    let form = clicks(&world, "alice", &keep)?;
    assert_eq!(writes(&world, form, "smaller").await?, "alice wants it planned further: smaller");
    ends(first, "Keep planning. They said:\nsmaller").await?;
    let second = first.follow_up(&plan("do it")).await?;
    let approve = asks(&world, first, "Approve").await?;
    assert_eq!(click(&world, "alice", &approve).await?, "Approved by alice.");
    says(&world, &approve, "Approved by alice.").await?;
    ends(second, "ExitPlanMode is not").await
}

/// Whatever is asked waits over the death of both services, before and after it is decided.
async fn outlives_everything(script: &str, label: &str, answer: &str) -> Result<()> {
    let world = world().await?;
    let question = world.say(script)?;
    asks(&world, question, label).await?;
    all_restart(&world).await?;
    let ask = asks(&world, question, label).await?;
    click(&world, "alice", &ask).await?;
    all_restart(&world).await?;
    ends(question, answer).await?;
    assert_eq!(world.ledger().count("begin"), 1);
    let follow_up = question.follow_up("[[say the second]]").await?;
    ends(follow_up, "the second").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_outlives_the_death_of_both_services() -> Result<()> {
    outlives_everything(&touch("made"), "Allow once", "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_outlives_the_death_of_both_services() -> Result<()> {
    let script = ask(&[question("Which?", &["Red", "Blue"], false)]);
    outlives_everything(&script, "Blue", "\"Which?\"=\"Blue\"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_outlives_the_death_of_both_services() -> Result<()> {
    outlives_everything(&plan("do it"), "Approve", "ExitPlanMode is not").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_while_the_runner_is_away_counts_when_it_is_back() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    world.kill_runner().await?;
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    says(&world, &allow, "Allowed by alice.").await?;
    assert!(!question.worktree().join("made").exists());
    world.start_runner().await?;
    ends(question, "it says:").await?;
    assert!(question.worktree().join("made").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_while_the_bus_is_away_counts_when_it_is_back() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    world.kill_nats().await?;
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    world.start_nats().await?;
    ends(question, "it says:").await?;
    assert_eq!(world.ledger().count("tool"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_click_at_once_at_two_gateways_one_decides() -> Result<()> {
    let server = Postgres::start()?;
    let world = patient().without_gateway().start().await?;
    world.store_on(&server).await;
    world.start_gateway().await?;
    let mut second = world.gateway_beside().await?;
    world.start_second(&mut second).await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let deny = asks(&world, question, "Deny").await?;
    let (one, other) = (clicks(&world, "alice", &allow)?, clicks(&world, "bob", &deny)?);
    let lines = [told(&world, one).await?, told(&world, other).await?];
    let is_allowed = lines[0] == "Allowed by alice.";
    let expected = if is_allowed {
        ["Allowed by alice.", "That is decided already: Allowed by alice."]
    } else {
        ["That is decided already: Denied by bob.", "Denied by bob."]
    };
    assert_eq!(lines, expected);
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(question.worktree().join("made").exists(), is_allowed);
    world.stop_second(&mut second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_taken_away_meanwhile_decides_nothing() -> Result<()> {
    let builder = patient();
    let world = builder.without_gateway().start().await?;
    let discord = world.discord();
    let dev = discord.role("dev");
    let bob = discord.user_with_roles("bob", &["dev"]);
    add_to_project(&world, &format!("decide = {{ roles = [\"{dev}\"] }}"))?;
    world.start_gateway().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    assert_eq!(click(&world, "alice", &allow).await?, "You may not decide this.");
    let taken = discord.take_role(bob, dev);
    taken.map_err(|error| anyhow!("{error:?}"))?;
    assert_eq!(click(&world, "bob", &allow).await?, "You may not decide this.");
    let given = discord.give_role(bob, dev);
    given.map_err(|error| anyhow!("{error:?}"))?;
    assert_eq!(click(&world, "bob", &allow).await?, "Allowed by bob.");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_may_be_kept_from_deciding() -> Result<()> {
    let world = patient().without_gateway().start().await?;
    add_to_project(&world, "decide = { not_the_asker = true }")?;
    world.start_gateway().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let line = click(&world, "alice", &allow).await?;
    assert!(line.starts_with("Somebody else than you"), "{line}");
    assert_eq!(click(&world, "bob", &allow).await?, "Allowed by bob.");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_comes_too_late_hears_what_was_decided() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let deny = asks(&world, question, "Deny").await?;
    crate::scene::keep_buttons(&world);
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    world.notes("the tool", |ledger| ledger.count("tool") == 1).await?;
    let late = click(&world, "bob", &deny).await?;
    assert_eq!(late, "That is decided already: Allowed by alice.");
    world.discord().clear_faults();
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_person_is_waited_for_ends_the_run_and_what_was_asked() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let stop = question.follow_up("!stop").await?;
    assert_eq!(stop.refusal().await?, "Stopping it.");
    crate::scene::keep_buttons(&world);
    world.logs("gateway-svc", "phase=Ended").await?;
    let late = click(&world, "bob", &allow).await?;
    assert_eq!(late, "Nobody waits for this any more; nothing was done.");
    world.discord().clear_faults();
    says(&world, &allow, "Nobody decided; it is over.").await?;
    assert_eq!(question.mark().await?, "⏹️");
    let next = question.follow_up("[[say still here]]").await?;
    ends(next, "still here").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_run_asked_is_over() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    world.kill_runner().await?;
    assert_eq!(order(question, "!end").await?, "Ended.");
    says(&world, &allow, "Nobody decided; it is over.").await?;
    world.start_runner().await?;
    let next = question.follow_up("[[say still here]]").await?;
    ends(next, "still here").await?;
    assert!(!question.worktree().join("made").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_died_waiting_asks_anew_and_the_old_question_is_over() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let old = asks(&world, question, "Allow once").await?;
    kill_claude(&world).await?;
    says(&world, &old, "Nobody decided; it is over.").await?;
    let new = asks(&world, question, "Allow once").await?;
    assert_ne!(new.message, old.message);
    assert_eq!(click(&world, "alice", &new).await?, "Allowed by alice.");
    ends(question, "it says:").await?;
    assert_eq!((world.ledger().count("begin"), world.ledger().count("tool")), (2, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_asked_before_it_was_rebooted_is_over_and_asked_anew() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let old = asks(&world, question, "Allow once").await?;
    world.kill_runner().await?;
    while kill_all(&world, "").await != 0 {}
    world.start_runner().await?;
    says(&world, &old, "Nobody decided; it is over.").await?;
    let new = asks(&world, question, "Allow once").await?;
    assert_eq!(click(&world, "alice", &new).await?, "Allowed by alice.");
    ends(question, "it says:").await?;
    assert_eq!((world.ledger().count("begin"), world.ledger().count("tool")), (2, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_host_asked_is_over_and_asked_anew_by_the_next() -> Result<()> {
    let world = patient().shared().without_runner().start().await?;
    let mut second = world.colleague().await?;
    second.start().await?;
    let question = world.say(&touch("made"))?;
    let old = asks(&world, question, "Allow once").await?;
    world.start_runner().await?;
    second.is_lost()?;
    says(&world, &old, "Nobody decided; it is over.").await?;
    let new = asks(&world, question, "Allow once").await?;
    assert_eq!(click(&world, "alice", &new).await?, "Allowed by alice.");
    ends(question, "it says:").await?;
    assert_eq!(world.ledger().count("tool"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_person_leaves_the_slot_to_others_for_longer_than_ack_wait() -> Result<()> {
    let world = patient().slots(1).scaled().start().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    for _ in 0..3 {
        let other = world.say("[[delay 2500ms]] [[say another]]")?;
        ends(other, "another").await?;
    }
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    ends(question, "it says:").await?;
    assert_eq!(world.ledger().count("begin"), 4, "nothing was begun twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_one_too_many_to_wait_is_denied_with_a_word() -> Result<()> {
    let world = patient().runner_toml("max_waiting_runs = 1").start().await?;
    let first = world.say(&touch("made"))?;
    let allow = asks(&world, first, "Allow once").await?;
    let second = world.say(&touch("other"))?;
    ends(second, "Too many runs wait for a person's word").await?;
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    ends(first, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_a_person_takes_is_not_the_runs_own() -> Result<()> {
    let world = patient().runner_toml("run_max_s = 8").start().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let other = world.say("[[delay 60s]] [[say too late]]")?;
    assert!(other.failure().await?.contains("still running after 8 s"));
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_be_asked_a_tool_is_denied_at_once() -> Result<()> {
    let world = World::builder().project_toml("ask = false").start().await?;
    ends(world.say(&touch("made"))?, "not on the list").await?;
    let world = World::builder().without_gateway().start().await?;
    add_to_project(&world, "ask = false")?;
    world.start_gateway().await?;
    ends(world.say(&touch("made"))?, "not on the list").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_claude_asks_at_any_length_can_be_decided() -> Result<()> {
    let world = world().await?;
    let long = "x".repeat(60_000);
    let script = NewFile::text("script.txt", touch(&long));
    let question = world.say_with("please", vec![script])?;
    let deny = asks(&world, question, "Deny").await?;
    let said = question.said_in_thread()?.join("\n");
    assert!(said.contains("too long to be shown here"), "{said}");
    click(&world, "alice", &deny).await?;
    ends(question, "said no").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_meanwhile_can_be_sent_in_place_of_a_yes() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let meanwhile = question.follow_up("use the other").await?;
    let send = asks(&world, question, "Deny and send this").await?;
    let line = click(&world, "alice", &send).await?;
    assert_eq!(line, "It is denied, and claude is told this.");
    says(&world, &allow, "Denied by alice, who wrote something else.").await?;
    says(&world, &send, "alice sent it.").await?;
    ends(question, "\nuse the other").await?;
    assert_eq!(meanwhile.mark().await?, "✅");
    let next = question.follow_up("[[say the next]]").await?;
    ends(next, "the next").await?;
    assert_eq!(world.ledger().count("begin"), 2, "what was sent is not run as well");
    assert!(!question.worktree().join("made").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_meanwhile_is_else_answered_in_its_turn() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    let meanwhile = question.follow_up("[[say the second]]").await?;
    let send = asks(&world, question, "Deny and send this").await?;
    all_restart(&world).await?;
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    says(&world, &send, "It is answered in its turn.").await?;
    ends(question, "it says:").await?;
    ends(meanwhile, "the second").await
}

/// The same on the real claude, with a restart of both services while it waits.
async fn with_real_claude(script: &str, label: &str) -> Result<World> {
    let world = patient().claude(Claude::Real).start().await?;
    let question = world.say(script)?;
    let first = asks(&world, question, label).await?;
    all_restart(&world).await?;
    let ask = asks(&world, question, label).await?;
    assert_eq!(ask.message, first.message, "it was asked once");
    click(&world, "alice", &ask).await?;
    assert_eq!(question.mark().await?, "✅");
    Ok(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_waits_for_leave_over_a_restart() -> Result<()> {
    let world = with_real_claude(&touch("made"), "Allow once").await?;
    let question = world.channel();
    let said = world.discord().messages(question);
    let asked = said.first().context("nobody asked")?;
    let worktree = world.folder().runner_state().join("worktrees/app").join(asked.id.to_string());
    assert!(worktree.join("made").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_takes_the_answer_to_its_question_over_a_restart() -> Result<()> {
    let script = ask(&[question("Which?", &["Red", "Blue"], false)]);
    let world = with_real_claude(&script, "Blue").await?;
    let requests = world.anthropic().requests();
    ensure!(requests.iter().any(|it| 0 < it.tools_done), "no tool was done");
    let thread = world.discord().messages(world.channel())[0].id.into();
    let said = world.discord().messages(thread);
    assert!(said.iter().any(|it| it.content.contains("\"Which?\"=\"Blue\"")), "{said:?}");
    Ok(())
}

/// claude writes its plan into a file whose name it makes up; the script cannot know it.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_has_its_plan_approved_over_a_restart() -> Result<()> {
    let world = patient().claude(Claude::Real).start().await?;
    let question = world.say(
        "[[think hm]] [[tool EnterPlanMode {}]] [[think hm]] [[wait plan]] \
         [[tool ExitPlanMode {}]] [[say it says: {result}]]",
    )?;
    world.reached("plan").await?;
    let home = world.folder().home().join(".claude");
    let slug = || slug(&home.join("projects"));
    world.until("the name of the plan", || slug().is_some()).await?;
    let plans = home.join("plans");
    fs::create_dir_all(&plans)?;
    let name = slug().context("no name")?;
    fs::write(plans.join(format!("{name}.md")), "# The plan\n1. do it\n")?;
    world.release("plan")?;
    asks(&world, question, "Approve").await?;
    assert!(question.said_in_thread()?[0].contains("1. do it"));
    all_restart(&world).await?;
    let approve = asks(&world, question, "Approve").await?;
    assert_eq!(click(&world, "alice", &approve).await?, "Approved by alice.");
    ends(question, "User has approved your plan").await
}

/// What claude calls its plan, by its transcript.
fn slug(projects: &std::path::Path) -> Option<String> {
    let folders = fs::read_dir(projects).ok()?.flatten();
    let files = folders.filter_map(|it| fs::read_dir(it.path()).ok()).flat_map(Iterator::flatten);
    let texts = files.filter_map(|it| fs::read_to_string(it.path()).ok());
    texts.into_iter().find_map(|text| {
        let (_, rest) = text.split_once("\"slug\":\"")?;
        rest.split_once('"').map(|(slug, _)| slug.to_owned())
    })
}
