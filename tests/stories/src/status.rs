//! The message that shows what becomes of a run while it lasts: one a run, never edited too often, and
//! gone when the answer is there.

use anyhow::{Context as _, Result, ensure};
use harness::discord_sim::{BOT_ID, FaultKind, FaultRule, Message, View};
use harness::{Builder, Claude, Postgres, Question, World, is_footer};
use serde_json::json;

use crate::scene::{in_the_middle, is_answered_once};

/// Discord's flag of a message that notifies nobody.
const SILENT: u64 = 1 << 12;
/// The shortest time between two edits of a message, in milliseconds of Discord's clock.
const EDITS_APART_MS: u64 = 2_000;

/// A world that shows what claude does, and lets it use its tools.
fn world() -> Builder {
    World::builder().status().tools(&["Bash"])
}

/// A call of a tool that lasts until the gate is open.
fn long_tool(world: &World, gate: &str) -> String {
    let gate = world.folder().gates().join(gate);
    let command = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    format!("[[tool Bash {}]]", json!({"command": command, "description": "wait"}))
}

/// Every status message that the question's thread ever had, oldest first.
fn statuses(view: &View<'_>, question: Question<'_>) -> Vec<Message> {
    let all = view.guild.history(question.thread());
    all.filter(|it| it.is_bot && it.flags & SILENT != 0).cloned().collect()
}

/// Waits for a status message that is there and says this.
async fn shows(world: &World, question: Question<'_>, words: &str) -> Result<Message> {
    world
        .sees(&format!("a status with {words}"), |view| {
            let mut all = statuses(view, question).into_iter();
            all.find(|it| it.is_visible() && it.content.contains(words))
        })
        .await
}

/// Waits until no status message is there any more, and gives those that there were. None of them was
/// edited too often.
async fn gone(world: &World, question: Question<'_>) -> Result<Vec<Message>> {
    let all = world
        .sees("no status any more", |view| {
            let all = statuses(view, question);
            all.iter().all(|it| !it.is_visible()).then_some(all)
        })
        .await?;
    for message in &all {
        let edits: Vec<u64> = message.before.iter().map(|shown| shown.until_ms).collect();
        let paced = edits.windows(2).all(|pair| pair[0] + EDITS_APART_MS <= pair[1]);
        ensure!(paced, "edited at {edits:?}");
    }
    Ok(all)
}

/// The answer is there once, what it took stands under it, and of so many status messages none is left.
async fn ends_with(world: &World, question: Question<'_>, count: usize) -> Result<Vec<Message>> {
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?.last().map(String::as_str), Some("the answer"));
    let all = gone(world, question).await?;
    assert_eq!(all.len(), count, "{all:?}");
    let said = world.discord().messages(question.thread());
    let answer = said.iter().rfind(|it| it.is_bot).context("no answer")?;
    let foot = answer.content.lines().last().unwrap_or_default();
    assert!(is_footer(foot) && foot.ends_with(" · host"), "{foot}");
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_claude_does_is_shown_until_the_answer_is_there() -> Result<()> {
    let world = world().start().await?;
    let git = json!({"command": "git --version", "description": "hm"});
    let tool = long_tool(&world, "tool");
    let question =
        world.say(&format!("[[tool Bash {git}]] {tool} [[wait go]] [[say the answer]]"))?;
    let status = shows(&world, question, "🔧 **Bash** `until [").await?;
    assert!(status.content.contains("✓ **Bash** `git --version`"), "{}", status.content);
    assert!(status.content.contains(" · host"), "{}", status.content);
    assert!(status.mentions.is_empty() && !status.mention_everyone);
    world.release("tool")?;
    let same = shows(&world, question, "💭 Thinking").await?;
    assert_eq!(same.id, status.id);
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_never_edited_too_often() -> Result<()> {
    let world = world().start().await?;
    let git = json!({"command": "git --version", "description": "hm"});
    let steps = format!("[[tool Bash {git}]] [[delay 400ms]] ").repeat(30);
    let question = world.say(&format!("{steps} [[say the answer]]"))?;
    let all = ends_with(&world, question, 1).await?;
    assert!(2 <= all[0].before.len(), "it was edited: {:?}", all[0].before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_both_services_finds_the_message_again() -> Result<()> {
    let world = world().start().await?;
    let tool = long_tool(&world, "tool");
    let question = world.say(&format!("{tool} [[wait go]] [[say the answer]]"))?;
    let status = shows(&world, question, "**Bash**").await?;
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.release("tool")?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let same = shows(&world, question, "💭 Thinking").await?;
    assert_eq!(same.id, status.id);
    world.kill_gateway().await?;
    world.release("go")?;
    world.start_gateway().await?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_keep_one_message_whichever_of_them_is_left() -> Result<()> {
    let server = Postgres::start()?;
    let world = world().without_gateway().start().await?;
    world.store_on(&server).await;
    world.start_gateway().await?;
    let mut second = world.gateway_beside().await?;
    world.start_second(&mut second).await?;
    let tool = long_tool(&world, "tool");
    let question = world.say(&format!("{tool} [[wait go]] [[say the answer]]"))?;
    let status = shows(&world, question, "**Bash**").await?;
    world.kill_gateway().await?;
    world.release("tool")?;
    assert_eq!(shows(&world, question, "💭 Thinking").await?.id, status.id);
    world.start_gateway().await?;
    world.kill_second(&mut second)?;
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_person_took_away_stays_away() -> Result<()> {
    let world = world().start().await?;
    let tool = long_tool(&world, "tool");
    let question = world.say(&format!("{tool} [[wait go]] [[say the answer]]"))?;
    let status = shows(&world, question, "**Bash**").await?;
    world.discord().delete(status.id)?;
    let edits = world.discord().requests_of("PATCH /channels/{id}/messages/{id}");
    world.release("tool")?;
    world
        .sees("an edit that finds nothing", |view| {
            let now = view.requests.get("PATCH /channels/{id}/messages/{id}").copied();
            (edits < now.unwrap_or_default()).then_some(())
        })
        .await?;
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_discord_does_to_edits_holds_no_answer_back() -> Result<()> {
    let world = world().start().await?;
    let wait = std::time::Duration::from_secs(4);
    let edits = "/channels/{id}/messages/{id}";
    let limit = FaultKind::RateLimited { retry_after: wait };
    for kind in [limit, FaultKind::CutAfter] {
        world.discord().fault(FaultRule::once("PATCH", edits, kind));
    }
    let tool = long_tool(&world, "tool");
    let question = world.say(&format!("{tool} [[wait go]] [[say the answer]]"))?;
    shows(&world, question, "**Bash**").await?;
    world.release("tool")?;
    world.sees("both faults", |view| (view.faults_left == 0).then_some(())).await?;
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    assert_eq!(world.discord().view(|view| view.early_requests), 0, "Discord was obeyed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_tool_is_seen_to_go_on() -> Result<()> {
    let world = world().start().await?;
    let tool = long_tool(&world, "tool");
    let question = world.say(&format!("{tool} [[say the answer]]"))?;
    let status = shows(&world, question, "` · 10 s").await?;
    assert_eq!(shows(&world, question, "` · 20 s").await?.id, status.id);
    world.release("tool")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_shown_the_bot_is_seen_typing() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let types = |view: &View<'_>| {
        let mut signs = view.guild.typing().iter();
        signs.any(|it| (it.channel, it.user) == (question.thread(), BOT_ID)).then_some(())
    };
    world.sees("the bot typing", types).await?;
    world.release("go")?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_says_behind_how_many_and_gets_a_fresh_message_when_it_begins() -> Result<()> {
    let world = world().start().await?;
    let first = in_the_middle(&world).await?;
    let second = first.follow_up("[[wait second]] [[say the second]]").await?;
    let third = second.follow_up("[[say the answer]]").await?;
    shows(&world, second, "Queued behind 1.").await?;
    let waits = shows(&world, third, "Queued behind 2.").await?;
    world
        .sees("one for each of them", |view| {
            let all = statuses(view, first).into_iter().filter(Message::is_visible);
            (all.count() == 3).then_some(())
        })
        .await?;
    // Both services are killed while they wait.
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let before = world.discord().view(|view| statuses(view, second));
    let before: Vec<_> = before.iter().map(|it| it.id).collect();
    world.release("go")?;
    assert_eq!(first.mark().await?, "✅");
    world
        .sees("that one less is before it", |view| {
            let message = view.guild.message(waits.id)?;
            message.content.contains("Queued behind 1.").then_some(())
        })
        .await?;
    let begun = world
        .sees("a fresh message", |view| {
            statuses(view, second).into_iter().find(|it| !before.contains(&it.id))
        })
        .await?;
    let answer = world.discord().messages(first.thread()).into_iter();
    let answer = answer.filter(|it| it.is_bot).find(|it| it.content.starts_with("the answer"));
    assert!(answer.context("no answer")?.id < begun.id, "it is where people read");
    world.release("second")?;
    assert_eq!(third.mark().await?, "✅");
    assert_eq!(first.said_in_thread()?, ["the answer", "the second", "the answer"]);
    gone(&world, third).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_runner_says_so_until_one_comes() -> Result<()> {
    let world = world().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    shows(&world, question, "No runner of **app** is there; it waits.").await?;
    world.start_runner().await?;
    assert_eq!(question.mark().await?, "✅");
    gone(&world, question).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_grows_old_is_replaced_by_a_fresh_one_over_a_restart_as_well() -> Result<()>
{
    let world = world().every_env("HOLDFAST_STATUS_FRESH_MS", "8000").start().await?;
    let question = in_the_middle(&world).await?;
    let first = shows(&world, question, "💭 Thinking").await?;
    let next = async |old: &Message| {
        let is_next = |it: &Message| it.is_visible() && old.id < it.id;
        world
            .sees("a fresh status", |view| statuses(view, question).into_iter().find(is_next))
            .await
    };
    let second = next(&first).await?;
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let third = next(&second).await?;
    for old in [first.id, second.id] {
        world
            .sees("that the old one is gone", |view| {
                (!view.guild.message(old)?.is_visible()).then_some(())
            })
            .await?;
    }
    assert!(first.id < second.id && second.id < third.id);
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["the answer"]);
    gone(&world, question).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_not_heard_of_is_named_until_it_is_back() -> Result<()> {
    let world = world().start().await?;
    let question = in_the_middle(&world).await?;
    let status = shows(&world, question, "💭 Thinking").await?;
    world.kill_runner().await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    let silent = shows(&world, question, "No word from **host** since <t:").await?;
    assert!(silent.content.ends_with("claude may still be at work."), "{}", silent.content);
    assert_eq!(silent.id, status.id);
    world.start_runner().await?;
    assert_eq!(shows(&world, question, "💭 Thinking").await?.id, status.id);
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_slot_says_who_is_busy() -> Result<()> {
    let world = world().slots(1).start().await?;
    let first = in_the_middle(&world).await?;
    let second = world.say("[[say the answer]]")?;
    shows(&world, second, "**host** has no free slot (1 at work); it waits.").await?;
    world.release("go")?;
    ends_with(&world, first, 1).await?;
    assert_eq!(second.mark().await?, "✅");
    gone(&world, second).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_after_a_death_is_shown_as_resumed() -> Result<()> {
    let world = world().start().await?;
    let question = in_the_middle(&world).await?;
    let status = shows(&world, question, "💭 Thinking").await?;
    for process in world.processes().await {
        if process.command.starts_with(&harness::built("claude-sim")?.display().to_string()) {
            harness::processes::kill(process.pid);
        }
    }
    assert_eq!(shows(&world, question, "resumed, attempt 2").await?.id, status.id);
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_and_a_failed_one_leave_no_status() -> Result<()> {
    let world = world().start().await?;
    let question = in_the_middle(&world).await?;
    shows(&world, question, "💭 Thinking").await?;
    question.follow_up("!stop").await?;
    assert_eq!(question.mark().await?, "⏹️");
    gone(&world, question).await?;
    let failed = world.say("[[wait fail]] [[error 400 no]]")?;
    shows(&world, failed, " · host").await?;
    world.release("fail")?;
    failed.failure().await?;
    assert_eq!(gone(&world, failed).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_has_no_secret_in_it() -> Result<()> {
    let secret = "a-secret-of-the-runner";
    let world = world().runner_env("DEPLOY_PASSWORD", secret).start().await?;
    let gate = world.folder().gates().join("tool");
    let command = format!("echo {secret}; until [ -e {} ]; do sleep 0.1; done", gate.display());
    let tool = json!({"command": command, "description": "wait"});
    let question = world.say(&format!("[[tool Bash {tool}]] [[say the answer]]"))?;
    shows(&world, question, "`echo [redacted: DEPLOY_PASSWORD]; until").await?;
    world.release("tool")?;
    let all = ends_with(&world, question, 1).await?;
    assert!(!format!("{all:?}").contains(secret));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_takes_no_status_still_gets_its_answer() -> Result<()> {
    let world = world().start().await?;
    let refused = FaultKind::Refuse(harness::discord_sim::ApiError::MissingPermissions);
    world.discord().fault(FaultRule::once("POST", "/channels/{id}/messages", refused));
    let question = in_the_middle(&world).await?;
    world.sees("that no status was taken", |view| (view.faults_left == 0).then_some(())).await?;
    world.release("go")?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_and_the_sub_agents_of_the_real_claude_are_shown() -> Result<()> {
    let world = world().claude(Claude::Real).tools(&["Bash", "Task", "Agent"]);
    // Without it this claude has its list with older models alone.
    let world = world.claude_env("CLAUDE_CODE_ENABLE_TODO_TOOLS", "1").start().await?;
    let task = |subject: &str| json!({"subject": subject, "description": "hm"});
    let begin = json!({"taskId": "1", "status": "completed"});
    let tool = long_tool(&world, "tool");
    let agent =
        json!({"description": "look around", "prompt": tool, "subagent_type": "general-purpose"});
    // A script in a script: its brackets are JSON's own.
    let agent = agent.to_string().replace('[', r"\u005b").replace(']', r"\u005d");
    let question = world.say(&format!(
        "[[tool TaskCreate {}]] [[tool TaskCreate {}]] [[tool TaskUpdate {begin}]] [[wait list]] \
         [[tool Task {agent}]] [[wait go]] [[say the answer]]",
        task("Find it"),
        task("Mend it"),
    ))?;
    let status = shows(&world, question, "**1 of 2 done**").await?;
    assert!(status.content.contains("▫️ Mend it"), "{}", status.content);
    world.release("list")?;
    let inside = shows(&world, question, "🤖 `look around`").await?;
    assert_eq!(inside.id, status.id);
    world.release("tool")?;
    world.release("go")?;
    ends_with(&world, question, 1).await?;
    Ok(())
}
