//! Who may do what, and how much: tools that are denied or added, `!unsafe`, roles that were taken away,
//! questions that come too fast, money that is used up; each over the death of both services.

use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use harness::discord_sim::{ApiError, FaultKind, FaultRule};
use harness::{Builder, Claude, People, Question, World};
use serde_json::json;

use crate::asking::{Ask, add_to_project, all_restart, asks, click, ends, says, touch};

/// A world whose project has these lines more in `gateway.toml`, and these in `runner.toml`.
async fn limited(builder: Builder, gateway: &str, runner: &str) -> Result<World> {
    let world = builder.project_toml(runner).without_gateway().start().await?;
    add_to_project(&world, gateway)?;
    world.start_gateway().await?;
    Ok(world)
}

/// A world in which carol alone may say `!unsafe`, and the runner permits it; its gateway is to be started.
pub(crate) async fn to_be_unsafe(builder: Builder) -> Result<World> {
    let world = builder.project_toml("unsafe = true").without_gateway().start().await?;
    let carol = world.discord().user("carol");
    add_to_project(&world, &format!("unsafe = {{ users = [\"{carol}\"] }}"))?;
    Ok(world)
}

/// The same, with its gateway.
async fn may_be_unsafe(builder: Builder) -> Result<World> {
    let world = to_be_unsafe(builder).await?;
    world.start_gateway().await?;
    Ok(world)
}

pub(crate) fn patient() -> Builder {
    World::builder().discord(|it| it.interaction_window = std::time::Duration::from_secs(80))
}

/// Carol says `!unsafe` in the thread of a question, and has the button.
pub(crate) async fn wishes(world: &World, question: Question<'_>) -> Result<Ask> {
    question.follow_up_as("carol", "!unsafe").await?;
    asks(world, question, "Make it unsafe").await
}

/// The thread of a question was made unsafe.
pub(crate) async fn is_made_unsafe(world: &World, question: Question<'_>) -> Result<()> {
    let button = wishes(world, question).await?;
    let line = click(world, "carol", &button).await?;
    ensure!(line.starts_with("Unsafe until <t:") && line.contains("by carol"), "{line}");
    says(world, &button, &line).await
}

/// How often the bot has said something with these words in the thread.
pub(crate) fn said_with(question: Question<'_>, words: &str) -> Result<usize> {
    Ok(question.said_in_thread()?.iter().filter(|it| it.contains(words)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_tool_stays_denied_over_leave_for_the_thread() -> Result<()> {
    let world = patient().start().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks(&world, question, "Allow for this thread").await?;
    click(&world, "bob", &allow).await?;
    ends(question, "it says:").await?;
    fs::remove_file(question.worktree().join("made"))?;
    add_to_project(&world, "tools = { deny = [\"Bash(touch:*)\"] }")?;
    all_restart(&world).await?;
    let again = question.follow_up(&touch("made")).await?;
    ends(again, "has been denied").await?;
    ensure!(!question.worktree().join("made").exists(), "it was done");
    ensure!(said_with(question, "not allowed here: `Bash(touch made)`")? == 1, "it is not named");
    assert_eq!(said_with(question, "claude asks to use")?, 1, "nobody is asked about it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_adds_is_narrowed_to_what_the_runner_permits() -> Result<()> {
    let tools = "tools = { extra = [\"Bash(touch made)\", \"Bash(rm:*)\"] }";
    let world = limited(patient(), tools, "may_allow = [\"Bash(touch:*)\"]").await?;
    let question = world.say(&touch("made"))?;
    ends(question, "it says:").await?;
    ensure!(question.worktree().join("made").exists(), "it was not done");
    all_restart(&world).await?;
    let other = question.follow_up(&touch("other")).await?;
    let deny = asks(&world, question, "Deny").await?;
    click(&world, "alice", &deny).await?;
    assert_eq!(other.mark().await?, "✅");
    let told = "⚠️ This runner does not permit `Bash(rm:*)` to be allowed for the project.";
    assert_eq!(said_with(question, told)?, 1, "once a thread: {:?}", question.said_in_thread()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_may_take_tools_away() -> Result<()> {
    let world = limited(patient(), "tools = { allow = [\"Read\"] }", "").await?;
    let write = json!({"file_path": "made", "content": "x"});
    let question = world.say(&format!("[[think hm]] [[tool Write {write}]] [[say {{result}}]]"))?;
    let deny = asks(&world, question, "Deny").await?;
    all_restart(&world).await?;
    click(&world, "alice", &deny).await?;
    ends(question, "said no").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_keeps_to_what_is_denied_and_what_is_added() -> Result<()> {
    let tools = "tools = { extra = [\"Bash(touch:*)\"], deny = [\"Bash(touch denied:*)\"] }";
    let builder = patient().claude(Claude::Real);
    let world = limited(builder, tools, "may_allow = [\"Bash(touch:*)\"]").await?;
    let bash = |command: &str| json!({"command": command, "description": "Make a file"});
    let question = world.say(&format!(
        "[[think hm]] [[tool Bash {}]] [[think hm]] [[wait go]] [[tool Bash {}]] [[say it says: {{result}}]]",
        bash("touch made"),
        bash("git --version && touch denied"),
    ))?;
    world.reached("go").await?;
    all_restart(&world).await?;
    world.release("go")?;
    ends(question, "has been denied").await?;
    ensure!(question.worktree().join("made").exists(), "what is added was not done");
    ensure!(!question.worktree().join("denied").exists(), "what is denied was done");
    assert_eq!(said_with(question, "claude asks to use")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_is_for_who_may_and_holds_over_restarts_until_somebody_says_safe() -> Result<()> {
    let world = may_be_unsafe(patient()).await?;
    let question = world.say("[[say here]]")?;
    ends(question, "here").await?;
    let refused = question.follow_up("!unsafe").await?.refusal().await?;
    assert_eq!(refused, "You may not say `!unsafe` in **app**. Nothing was changed.");
    let button = wishes(&world, question).await?;
    all_restart(&world).await?;
    assert_eq!(click(&world, "bob", &button).await?, refused);
    let line = click(&world, "carol", &button).await?;
    ensure!(line.starts_with("Unsafe until <t:"), "{line}");
    says(&world, &button, &line).await?;
    assert_eq!(click(&world, "carol", &button).await.ok(), None, "the button is gone");
    all_restart(&world).await?;
    let free = question.follow_up(&touch("made")).await?;
    ends(free, "it says:").await?;
    ensure!(question.worktree().join("made").exists(), "it was not done");
    assert_eq!(said_with(question, "Nobody is asked for leave in this run")?, 1);
    assert_eq!(said_with(question, "claude asks to use")?, 0);
    // Elsewhere it was never unsafe.
    let elsewhere = world.say(&touch("made"))?;
    let deny = asks(&world, elsewhere, "Deny").await?;
    click(&world, "alice", &deny).await?;
    ends(elsewhere, "it says:").await?;
    let safe = question.follow_up("!safe").await?;
    assert_eq!(safe.refusal().await?, "Safe again: leave is asked for in this thread.");
    all_restart(&world).await?;
    let asked = question.follow_up(&touch("other")).await?;
    let deny = asks(&world, question, "Deny").await?;
    click(&world, "alice", &deny).await?;
    assert_eq!(asked.mark().await?, "✅");
    ensure!(!question.worktree().join("other").exists(), "it was done");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_ends_it_in_a_run_at_work() -> Result<()> {
    let world = may_be_unsafe(patient()).await?;
    let question = world.say("[[say here]]")?;
    ends(question, "here").await?;
    is_made_unsafe(&world, question).await?;
    let tool = |name: &str| {
        let command = json!({"command": format!("touch {name}"), "description": "Make a file"});
        format!("[[tool Bash {command}]]")
    };
    let (one, two) = (tool("one"), tool("two"));
    let free =
        format!("[[think hm]] {one} [[think hm]] [[wait go]] {two} [[say it says: {{result}}]]");
    let free = question.follow_up(&free).await?;
    world.reached("go").await?;
    ensure!(question.worktree().join("one").exists(), "the first was not done");
    world.kill_runner().await?;
    let safe = question.follow_up("!safe").await?.refusal().await?;
    assert_eq!(safe, "Safe again: leave is asked for in this thread, also in the run at work.");
    world.kill_gateway().await?;
    world.start_gateway().await?;
    world.stream_is("KV_CONTROL", |state| state["messages"] == 2).await?;
    world.start_runner().await?;
    world.release("go")?;
    let deny = asks(&world, question, "Deny").await?;
    click(&world, "alice", &deny).await?;
    ends(free, "it says:").await?;
    ensure!(!question.worktree().join("two").exists(), "the second was done");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_channel_is_made_unsafe_and_its_threads_with_it() -> Result<()> {
    let world = may_be_unsafe(patient()).await?;
    let question = world.say("[[say here]]")?;
    ends(question, "here").await?;
    question.follow_up_as("carol", "!unsafe channel").await?;
    let button = asks(&world, question, "Make it unsafe").await?;
    let line = click(&world, "carol", &button).await?;
    ensure!(line.starts_with("Unsafe until <t:"), "{line}");
    all_restart(&world).await?;
    let other = world.say(&touch("made"))?;
    ends(other, "it says:").await?;
    ensure!(other.worktree().join("made").exists(), "it was not done");
    let safe = question.follow_up("!safe channel").await?.refusal().await?;
    assert_eq!(safe, "Safe again: leave is asked for in this channel and its threads.");
    let asked = other.follow_up(&touch("other")).await?;
    let deny = asks(&world, other, "Deny").await?;
    click(&world, "alice", &deny).await?;
    assert_eq!(asked.mark().await?, "✅");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_of_unsafe_that_is_pressed_too_late_says_so() -> Result<()> {
    let builder = patient().every_env("HOLDFAST_UNSAFE_CONFIRM_MS", "1");
    let world = may_be_unsafe(builder).await?;
    let question = world.say("[[say here]]")?;
    ends(question, "here").await?;
    let button = wishes(&world, question).await?;
    all_restart(&world).await?;
    let line = click(&world, "carol", &button).await?;
    ensure!(line.starts_with("Too late: the button counts for"), "{line}");
    says(&world, &button, &line).await?;
    let asked = question.follow_up(&touch("made")).await?;
    let deny = asks(&world, question, "Deny").await?;
    click(&world, "alice", &deny).await?;
    ends(asked, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_does_not_permit_unsafe_goes_on_asking_and_says_so() -> Result<()> {
    let builder = patient();
    let world = builder.without_gateway().start().await?;
    add_to_project(&world, "unsafe = \"everyone\"")?;
    world.start_gateway().await?;
    let question = world.say("[[say here]]")?;
    ends(question, "here").await?;
    is_made_unsafe(&world, question).await?;
    let asked = question.follow_up(&touch("made")).await?;
    let deny = asks(&world, question, "Deny").await?;
    all_restart(&world).await?;
    click(&world, "alice", &deny).await?;
    ends(asked, "it says:").await?;
    assert_eq!(said_with(question, "This runner does not permit `!unsafe`")?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_is_nobodys_unless_the_project_says_whose_and_takes_no_other_word() -> Result<()> {
    let world = World::start().await?;
    let line = world.say("!unsafe")?.refusal().await?;
    ensure!(line.starts_with("Nobody may say `!unsafe` in **app**"), "{line}");
    for hostile in
        ["!unsafe now", "!UNSAFE <@&1> $(rm -rf /)", "!safe \u{202e}lennahc", "!unsafe channel 5"]
    {
        let line = world.say(hostile)?.refusal().await?;
        ensure!(line.ends_with("Nothing was done."), "{hostile}: {line}");
    }
    let safe = world.say("!safe")?.refusal().await?;
    assert_eq!(safe, "It was safe: leave is asked for in this channel and its threads.");
    world.say("[[say here]]")?.answer().await?;
    assert_eq!(world.ledger().prompts(), ["[[say here]]"], "none of it is a prompt");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_role_may_press_no_button_stop_nothing_and_ask_nothing() -> Result<()> {
    let world = patient().people(People::Role("dev".into())).start().await?;
    let discord = world.discord();
    let dev = discord.role("dev");
    let bob = discord.user_with_roles("bob", &["dev"]);
    discord.user_with_roles("carol", &["dev"]);
    let question = world.say_as("bob", &touch("made"))?;
    let allow = asks(&world, question, "Allow once").await?;
    discord.take_role(bob, dev).map_err(|error| anyhow!("{error:?}"))?;
    all_restart(&world).await?;
    assert_eq!(click(&world, "bob", &allow).await?, "You may not decide this.");
    discord.react(question.message(), bob, "⏹️").map_err(|error| anyhow!("{error:?}"))?;
    world.logs("gateway-svc", "may not use the project any more").await?;
    for text in ["!stop", "!safe", "[[say no]]"] {
        let line = question.follow_up_as("bob", text).await?.refusal().await?;
        ensure!(line.starts_with("You may not use **app** here"), "{text}: {line}");
    }
    assert_eq!(click(&world, "carol", &allow).await?, "Allowed by carol.");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_the_server_gets_no_run_and_holds_nobody_up() -> Result<()> {
    let world = World::builder().people(People::Role("dev".into())).start().await?;
    let discord = world.discord();
    discord.user_with_roles("bob", &["dev"]);
    discord.user_with_roles("carol", &["dev"]);
    world.kill_gateway().await?;
    world.kill_runner().await?;
    let question = world.say_as("bob", "[[say no]]")?;
    let member = format!("/guilds/{}/members/{}", discord.guild_id(), discord.user("bob"));
    let gone = FaultKind::Refuse(ApiError::UnknownMember);
    discord.fault(FaultRule::once("GET", &member, gone).times(1000));
    world.start_runner().await?;
    world.start_gateway().await?;
    let line = question.refusal().await?;
    ensure!(line.starts_with("You may not use **app** here"), "{line}");
    world.say_as("carol", "[[say yes]]")?.answer().await?;
    assert_eq!(world.ledger().prompts(), ["[[say yes]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_fast_is_told_when_again_and_a_restart_forgets_nothing() -> Result<()> {
    let rate = "rate = { per_person = 2, per_project = 3, window_s = 3600 }";
    let world = limited(World::builder(), rate, "").await?;
    let first = world.say("[[say one]]")?;
    ends(first, "one").await?;
    ends(first.follow_up("[[say two]]").await?, "two").await?;
    world.kill_gateway().await?;
    world.kill_runner().await?;
    let third = world.say("[[say three]]")?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let line = third.refusal().await?;
    for part in ["in **app** you may ask 2 questions within 3600 s", "Nothing was started", ":R>"] {
        ensure!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert_eq!(
        first.follow_up("!retry").await?.refusal().await?,
        "Nothing in this thread failed or was stopped."
    );
    world.say_as("bob", "[[say four]]")?.answer().await?;
    let line = world.say_as("carol", "[[say five]]")?.refusal().await?;
    ensure!(line.contains("all together may ask 3 questions"), "{line}");
    assert_eq!(world.ledger().count("result"), 3);
    Ok(())
}

/// What a plain answer of claude-sim costs is some 0.0005 dollars.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_used_up_its_budget_is_ended_and_says_so() -> Result<()> {
    let world = limited(World::builder(), "budget = { run_usd = 0.0009 }", "").await?;
    let question = world.say("[[say cheap]]")?;
    ends(question, "cheap").await?;
    let git = json!({"command": "git --version"});
    let dear =
        format!("[[think hm]] [[wait go]] [[tool Bash {git}]] [[tool Bash {git}]] [[say dear]]");
    let dear = question.follow_up(&dear).await?;
    world.reached("go").await?;
    all_restart(&world).await?;
    world.release("go")?;
    let why = dear.failure().await?;
    ensure!(why.contains("It has used up the budget of one run ($0.0009) and was ended."), "{why}");
    // What the session had cost before does not count.
    let next = question.follow_up("[[say cheap again]]").await?;
    ends(next, "cheap again").await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_used_up_the_budget_of_the_day_is_refused_and_others_are_not() -> Result<()> {
    let world = limited(World::builder(), "budget = { person_day_usd = 0.0008 }", "").await?;
    let question = world.say("[[say one]]")?;
    ends(question, "one").await?;
    all_restart(&world).await?;
    let second = question.follow_up("[[say two]]").await?;
    let why = second.failure().await?;
    ensure!(why.contains("what was left of its asker's budget for the day"), "{why}");
    ensure!(why.contains("Its last words:\ntwo"), "what it said is lost: {why}");
    all_restart(&world).await?;
    let line = question.follow_up("[[say three]]").await?.refusal().await?;
    for part in [
        "Your budget in **app** is used up: $0.00",
        "of $0.0008 today",
        "UTC",
        "Nothing was started",
    ] {
        ensure!(line.contains(part), "{part:?} is not in {line:?}");
    }
    question.follow_up("!retry").await?;
    let find = |words: &str| {
        let found = said_with(question, words);
        found.map(|count| count == 1).context("no thread")
    };
    world
        .until("the line of the run", || {
            find("⚠️ Your budget in **app** is used up").unwrap_or(false)
        })
        .await?;
    let other = question.follow_up_as("bob", "[[say four]]").await?;
    ends(other, "four").await?;
    assert_eq!(world.ledger().count("result"), 3, "the second ended, the third never began");
    Ok(())
}
