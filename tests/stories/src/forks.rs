//! Threads that begin with what was said elsewhere: in another thread, or in a terminal of the runner's
//! host.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use harness::discord_sim::{BOT_ID, ChannelId, View};
use harness::{Claude, Question, World};
use serde_json::json;

use crate::deciding::order;

/// A session that nobody has begun.
const UNKNOWN: &str = "0c6f8d1e-4a57-4c7b-9a50-9d2ad0a1c111";

/// The services die and come back.
async fn all_restart(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

/// A conversation in which something was said, and a file made that is not committed.
async fn something_said(world: &World) -> Result<Question<'_>> {
    let made = json!({"command": "touch made", "description": "Make a file"});
    let first = world.say(&format!("my number is seven [[tool Bash {made}]] [[say noted]]"))?;
    assert_eq!(first.mark().await?, "✅");
    Ok(first)
}

/// Waits until it is told where the fork is.
pub(crate) async fn forked(world: &World, from: Question<'_>) -> Result<ChannelId> {
    let find = |view: &View<'_>| {
        let said = view.guild.messages(from.thread()).filter(|it| it.author == BOT_ID);
        let mut told =
            said.filter_map(|it| it.content.strip_prefix("-# Forked: <#")?.strip_suffix('>'));
        let thread: ChannelId = told.next()?.parse().ok()?;
        view.guild.channel(thread).ok().map(|_| thread)
    };
    world.sees("a fork", find).await
}

/// The last that was said in the thread of a question.
fn last_words(question: Question<'_>) -> Result<String> {
    question.said_in_thread()?.last().cloned().context("nothing was said")
}

async fn both_go_on(world: &World) -> Result<()> {
    let first = something_said(world).await?;
    let line = order(first, "!fork").await?;
    assert!(line.starts_with("The fork begins as a thread of its own"), "{line}");
    let later = first.follow_up("my colour is blue [[say noted too]]").await?;
    let fork = forked(world, first).await?;
    assert_eq!(later.mark().await?, "✅");
    all_restart(world).await?;
    let there = world.say_in(fork, "bob", "what is my number? [[recall]]")?;
    assert_eq!(there.mark().await?, "✅");
    let told = last_words(there)?;
    assert!(told.contains("my number is seven") && !told.contains("blue"), "{told}");
    let of_fork = world.folder().runner_state().join("worktrees/app").join(fork.to_string());
    assert!(of_fork.join("made").exists(), "the files came along");
    fs::write(of_fork.join("only-there"), "")?;
    let here = first.follow_up("[[recall]]").await?;
    assert_eq!(here.mark().await?, "✅");
    let told = last_words(first)?;
    assert!(told.contains("blue") && !told.contains("what is my number"), "{told}");
    assert!(!first.worktree().join("only-there").exists());
    let again = world.say_in(fork, "alice", "[[recall]]")?;
    assert_eq!(again.mark().await?, "✅");
    let told = last_words(there)?;
    assert!(told.contains("what is my number") && !told.contains("blue"), "{told}");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_knows_what_was_said_and_both_go_on_by_themselves() -> Result<()> {
    both_go_on(&World::builder().tools(&["Bash"]).start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_the_real_claude_knows_what_was_said_over_a_restart() -> Result<()> {
    both_go_on(&World::builder().claude(Claude::Real).tools(&["Bash"]).start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_without_an_answer_is_not_forked() -> Result<()> {
    let world = World::start().await?;
    let first = crate::scene::in_the_middle(&world).await?;
    let line = order(first, "!fork").await?;
    assert!(line.starts_with("Nothing was answered in this thread yet"), "{line}");
    let line = world.say("!fork")?.refusal().await?;
    assert_eq!(line, "Say that in the thread that it is about.");
    world.release("go")?;
    assert_eq!(first.mark().await?, "✅");
    Ok(())
}

/// Where claude keeps what was said in a directory, as it is called there.
fn sessions_of(world: &World, directory: &std::path::Path) -> Result<PathBuf> {
    let real = fs::canonicalize(directory)?;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = real.to_string_lossy().chars().map(plain).collect();
    Ok(world.folder().home().join(".claude/projects").join(name))
}

/// A session of the project's directory that no thread knows: what was said in a thread, under a name of
/// its own.
fn in_a_terminal(world: &World, said: Question<'_>, name: &str) -> Result<()> {
    let from = sessions_of(world, &said.worktree())?;
    let transcript = fs::read_dir(&from)?.flatten().map(|it| it.path());
    let mut transcript = transcript.filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
    let transcript = transcript.next().context("no transcript")?;
    let to = sessions_of(world, &world.folder().project())?;
    fs::create_dir_all(&to)?;
    fs::copy(transcript, to.join(format!("{name}.jsonl")))?;
    Ok(())
}

async fn is_brought_in(world: &World) -> Result<()> {
    let said = something_said(world).await?;
    in_a_terminal(world, said, UNKNOWN)?;
    let resume = world.say(&format!("!resume {UNKNOWN}"))?;
    let line = resume.refusal().await?;
    assert!(line.starts_with("The next question here goes on with the session"), "{line}");
    resume.thread_name().await?;
    all_restart(world).await?;
    let next = resume.follow_up("[[recall]]").await?;
    assert_eq!(next.mark().await?, "✅");
    let told = last_words(next)?;
    assert!(told.contains("my number is seven"), "{told}");
    let taken = order(said, &format!("!resume {UNKNOWN}")).await?;
    assert!(taken.starts_with("That session is the one of <#"), "{taken}");
    let third = resume.follow_up("[[recall]]").await?;
    assert_eq!(third.mark().await?, "✅");
    assert!(last_words(next)?.contains("2. [[recall]]"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_a_terminal_goes_on_in_a_thread() -> Result<()> {
    is_brought_in(&World::builder().tools(&["Bash"]).start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_real_claude_goes_on_in_a_thread_over_a_restart() -> Result<()> {
    is_brought_in(&World::builder().claude(Claude::Real).tools(&["Bash"]).start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_the_projects_is_named_and_nothing_is_asked() -> Result<()> {
    let world = World::builder().tools(&["Bash"]).start().await?;
    let first = something_said(&world).await?;
    order(first, &format!("!resume {UNKNOWN}")).await?;
    let unknown = first.follow_up("[[recall]]").await?;
    let why = unknown.failure().await?;
    assert!(why.contains(&format!("There is no session `{UNKNOWN}` on host")), "{why}");
    in_a_terminal(&world, first, UNKNOWN)?;
    let own = sessions_of(&world, &world.folder().project())?.join(format!("{UNKNOWN}.jsonl"));
    let elsewhere =
        own.parent().and_then(|it| it.parent()).context("no folder")?.join("-elsewhere");
    fs::create_dir_all(&elsewhere)?;
    fs::copy(&own, elsewhere.join(format!("{UNKNOWN}.jsonl")))?;
    order(first, "!retry").await?;
    world.until("another failure", || failures(first) == 2).await?;
    fs::remove_file(&own)?;
    order(first, "!retry").await?;
    world.until("a third failure", || failures(first) == 3).await?;
    let said = first.said_in_thread()?.join("\n");
    assert!(
        said.contains("There are several sessions") && said.contains("was not begun in"),
        "{said}"
    );
    order(first, "!restart").await?;
    let next = first.follow_up("[[say still here]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}

/// How often a failure was told in a thread.
fn failures(question: Question<'_>) -> usize {
    let said = question.said_in_thread().map_err(|error| anyhow!("{error:#}"));
    said.unwrap_or_default().iter().filter(|it| it.starts_with("⚠️")).count()
}
