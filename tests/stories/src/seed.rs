//! What was seen to go wrong in the program that this one replaces, and is told in no other file:
//! a restart at a bad moment, a limit that is met, a neighbour on the same machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, anyhow};
use harness::discord_sim::{FaultKind, FaultRule, View};
use harness::{People, World, said};

use crate::scene::{in_the_middle, is_answered_once};

/// The route by which all is posted.
const POSTS: &str = "/channels/{id}/messages";

/// More requests than a story ever makes.
const ALL: u32 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_due_at_a_start_waits_for_the_end_of_an_outage() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    question.thread_name().await?;
    world.kill_gateway().await?;
    world.release("go")?;
    world.is_quiet().await?;
    let discord = world.discord();
    discord.fault(FaultRule::once("POST", POSTS, FaultKind::StatusBefore(503)).times(ALL));
    world.start_gateway().await?;
    world
        .sees("a post that was refused", |view| {
            let posts = view.requests.get(&format!("POST {POSTS}")).copied();
            (posts.unwrap_or_default() != 0).then_some(())
        })
        .await?;
    discord.clear_faults();
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_into_a_run_that_is_taken_up_again_waits_for_it() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    world.kill_runner().await?;
    let second = first.follow_up("[[say the second]]").await?;
    second.is_seen().await?;
    world.start_runner().await?;
    let third = first.follow_up("[[say the third]]").await?;
    third.is_seen().await?;
    assert_eq!(world.ledger().count("begin"), 1, "the others wait");
    world.release("go")?;
    assert_eq!(third.answer().await?, "the answer\nthe second\nthe third");
    assert_eq!(world.ledger().count("begin"), 3, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_word_is_told_as_such() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say  ]]")?;
    assert_eq!(question.answer().await?, "*claude ended without a word.*");
    let follow_up = question.follow_up("[[say still here]]").await?;
    assert_eq!(follow_up.answer().await?, "still here");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_the_end_of_an_outage() -> Result<()> {
    let world = World::start().await?;
    let outage = FaultRule::once("POST", POSTS, FaultKind::StatusBefore(503));
    world.discord().fault(outage.times(4));
    world.say("one\0two")?.refusal().await?;
    assert_eq!(world.say("[[say the next]]")?.answer().await?, "the next");
    let in_channel = world.discord().messages(world.channel());
    assert_eq!(in_channel.iter().filter(|message| message.is_bot).count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_is_ended_and_not_begun_again() -> Result<()> {
    let world = World::builder().runner_toml("run_max_s = 5").start().await?;
    let question = world.say("[[think hm]] [[wait forever]]")?;
    let reason = question.failure().await?;
    assert!(reason.contains("still running after 5 s"), "{reason}");
    world.is_quiet().await?;
    let begun = world.ledger().count("begin");
    assert!(begun <= 1, "claude was started {begun} times");
    let next = question.follow_up("[[say the next]]").await?;
    assert_eq!(next.answer().await?, "the next");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_api_costs_neither_the_session_nor_a_second_run() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("my number is seven [[say noted]]")?;
    assert_eq!(first.answer().await?, "noted");
    for error in ["[[error 529 overloaded]]", "[[error 429 slow down]]", "[[error 401 who]]"] {
        first.follow_up(error).await?.failure().await?;
    }
    let last = first.follow_up("[[recall]]").await?;
    let answer = last.answer().await?;
    assert!(answer.contains("my number is seven"), "{answer}");
    assert_eq!(world.ledger().count("begin"), 5, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_starts_nothing_and_a_person_may_ask_under_what_it_wrote() -> Result<()> {
    let world = World::builder().people(People::Role("dev".into())).start().await?;
    let discord = world.discord();
    let alice = discord.user_with_roles("alice", &["dev"]);
    let says = |place, text: &str| {
        let said = discord.webhook_says(place, "builds", text);
        said.map_err(|error| anyhow!("Discord refuses the webhook: {error:?}"))
    };
    let members = || discord.requests_of("GET /guilds/{id}/members/{id}");
    let before = members();
    let alarm = says(world.channel(), "[[say the alarm's]]")?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    says(question.thread(), "[[say the thread's]]")?;
    let under = discord.start_thread(alarm, alice, "why?");
    let under = under.map_err(|error| anyhow!("no thread: {error:?}"))?;
    says(under, "[[say the other's]]")?;
    let asked = discord.say(under, alice, "[[say because]]");
    asked.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
    let answered = |view: &View<'_>| {
        view.guild.messages(under).any(|it| said(it) == Some("because")).then_some(())
    };
    world.sees("an answer under the webhook's message", answered).await?;
    let next = question.follow_up("[[say the next]]").await?;
    assert_eq!(next.answer().await?, "the next");
    let prompts = ["[[say the answer]]", "[[say because]]", "[[say the next]]"];
    assert_eq!(world.ledger().prompts(), prompts, "what people asked alone");
    assert_eq!(members(), before, "a webhook has no roles");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_systems_with_one_tmux_folder_leave_each_other_alone() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let other = World::builder().without_runner().start().await?;
    other.set_runner_env("TMUX_TMPDIR", world.folder().tmux()).await;
    other.start_runner().await?;
    assert_eq!(other.say("[[say the other]]")?.answer().await?, "the other");
    other.kill_runner().await?;
    other.start_runner().await?;
    assert_eq!(other.say("[[say once more]]")?.answer().await?, "once more");
    drop(other);
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_after_a_restart_goes_on_in_the_same_session() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("my number is seven [[say noted]]")?;
    assert_eq!(first.answer().await?, "noted");
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let answer = first.follow_up("[[recall]]").await?.answer().await?;
    assert!(answer.contains("my number is seven"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runner_keeps_is_for_its_owner_alone() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let state = world.folder().runner_state();
    let mode = fs::metadata(&state)?.permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", state.display());
    world.release("go")?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_the_project_may_not_stop_it() -> Result<()> {
    let world = World::builder().people(People::User("alice".into())).start().await?;
    let question = in_the_middle(&world).await?;
    question.thread_name().await?;
    let discord = world.discord();
    let order = discord.say(question.thread(), discord.user("bob"), "!stop");
    let order = order.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
    let line = world
        .sees("an answer to the order", |view| {
            let mut said = view.guild.messages(question.thread());
            said.find(|it| it.reference.is_some_and(|to| to.message == Some(order)))
                .map(|it| it.content.clone())
        })
        .await?;
    assert!(line.contains("You may not"), "{line}");
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    assert!(question.texts().contains(&"the answer".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tmux_configuration_of_the_user_changes_nothing() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let was_read = world.folder().root().join("was-read");
    let config = format!(
        "run-shell 'touch {}'\nset -g default-command false\nset -g default-shell /bin/false\n",
        was_read.display()
    );
    fs::write(world.folder().home().join(".tmux.conf"), config)?;
    world.start_runner().await?;
    is_answered_once(world.say("[[say the answer]]")?).await?;
    assert!(!was_read.exists(), "tmux read it");
    Ok(())
}
