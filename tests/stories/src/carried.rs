//! A conversation goes on at another runner: its transcript comes along through FILES, and what of it
//! does not is said.
//!
//! The first runner is the world's own, the second one `build-2`. A runner that drains leaves the next
//! question of its threads to the other.

use std::fs;
use std::path::Path;

use anyhow::Result;
use harness::project::git;
use harness::{COLLEAGUE, Claude, Colleague, Question, World};
use serde_json::json;

use crate::handed_over::{given_to_the_second, owned};
use crate::scene::ends_well;
use crate::secured::VIOLATION;

/// The stream below the project's FILES.
const FILES: &str = "OBJ_FILES_app";
/// What is said when the second runner goes on.
const RESUMED: &str = "-# Resumed on **build-2**.";

/// A world with both runners' hosts, of which the first serves.
async fn two_hosts() -> Result<(World, Colleague)> {
    let tools = ["Bash", "Read", "Write"];
    let world = World::builder().shared().tools(&tools).without_runner().start().await?;
    let second = world.colleague().await?;
    world.start_runner().await?;
    Ok((world, second))
}

/// The first runner takes nothing new from now on, and says so.
async fn the_first_drains(world: &World) -> Result<()> {
    world.is_quiet().await?;
    world.stop_runner().await?;
    assert!(world.runner_command(&["drain"]).await?.status.success());
    world.launch_runner().await
}

/// The first question is answered at the first runner; the second one is asked when only the other
/// takes work.
async fn handed_over<'w>(
    world: &'w World,
    second: &mut Colleague,
    question: Question<'w>,
    text: &str,
) -> Result<Question<'w>> {
    the_first_drains(world).await?;
    second.start().await?;
    question.follow_up(text).await
}

/// How often something of this kind was said in the thread.
fn said(question: Question<'_>, text: &str) -> Result<usize> {
    Ok(question.said_in_thread()?.iter().filter(|said| said.contains(text)).count())
}

/// Whether each claude so far resumed its session.
fn resumed(world: &World) -> Vec<bool> {
    let ledger = world.ledger();
    let begun = ledger.all("begin");
    begun.iter().map(|it| it.fields["resumed"] == true).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_question_of_a_thread_goes_on_at_another_runner() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    let next = handed_over(&world, &mut second, question, "[[recall]]").await?;
    assert!(next.answer().await?.contains("the first"));
    assert_eq!(resumed(&world), [false, true]);
    assert_eq!(said(question, RESUMED)?, 1);
    // And back again, with what was said at the other one.
    assert!(world.runner_command(&["drain", "--off"]).await?.status.success());
    ends_well(&world, second).await?;
    world.stop_runner().await?;
    world.start_runner().await?;
    let moved = world.gateway_command(&["move", &question.thread().to_string(), "host"]).await?;
    assert!(moved.status.success(), "{moved:?}");
    let last = question.follow_up("[[recall]] [[say at last]]").await?;
    let recalled = last.answer().await?;
    assert!(recalled.contains("the first") && recalled.contains("[[recall]]"), "{recalled}");
    assert_eq!(resumed(&world), [false, true, true]);
    assert_eq!(said(question, RESUMED)?, 1);
    assert_eq!(said(question, "-# Resumed on **host**.")?, 1, "nothing was open when it was moved");
    assert_eq!(said(question, "⚠️")?, 0, "{:?}", question.said_in_thread()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_of_a_project_goes_on_with_its_conversations() -> Result<()> {
    let (world, mut second) = owned().await?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    world.is_quiet().await?;
    let given = given_to_the_second(&world, &mut second).await?;
    assert_eq!(given, format!("{COLLEAGUE} owns app; 0 runs were moved\n"));
    let next = question.follow_up("[[recall]]").await?;
    let recalled = next.answer().await?;
    assert!(recalled.contains("the first"), "{recalled}");
    assert_eq!(resumed(&world), [false, true]);
    assert_eq!(said(question, RESUMED)?, 1);
    assert_eq!(said(question, "⚠️")?, 0, "{:?}", question.said_in_thread()?);
    // It is said once, and not again by what goes on where it was.
    assert_eq!(question.follow_up("[[say more]]").await?.answer().await?, "more");
    assert_eq!(said(question, RESUMED)?, 1);
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_moved_from_a_lost_host_goes_on_with_its_conversation() -> Result<()> {
    let world = World::builder().shared().without_runner().start().await?;
    let mut second = world.colleague().await?;
    second.start().await?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    let next = question.follow_up("[[wait go]] [[recall]]").await?;
    world.reached("go").await?;
    world.start_runner().await?;
    second.is_lost()?;
    let moved = world.gateway_command(&["move", &question.thread().to_string(), "host"]).await?;
    assert!(moved.status.success(), "{moved:?}");
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert!(next.answer().await?.contains("the first"));
    assert_eq!(resumed(&world), [false, true, true]);
    assert_eq!(said(question, "⚠️")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_files_has_no_more_begins_anew_and_that_is_said_once() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    world.is_quiet().await?;
    world.jetstream(&format!("STREAM.PURGE.{FILES}"), &json!({})).await?;
    let next = handed_over(&world, &mut second, question, "[[say two]]").await?;
    assert_eq!(next.mark().await?, "✅");
    let last = question.follow_up("[[recall]]").await?;
    assert_eq!(last.mark().await?, "✅");
    assert_eq!(resumed(&world), [false, false, true]);
    assert_eq!(said(question, "begins anew, and knows nothing of it")?, 1);
    assert_eq!(said(question, RESUMED)?, 1);
    assert!(!question.said_in_thread()?.iter().any(|said| said.contains("the first")));
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_for_a_transcript_that_files_does_not_take() -> Result<()> {
    let world = World::start().await?;
    let info = world.jetstream(&format!("STREAM.INFO.{FILES}"), &json!(null)).await?;
    let mut config = info["config"].clone();
    config["max_bytes"] = 1.into();
    config["discard"] = "new".into();
    world.jetstream(&format!("STREAM.UPDATE.{FILES}"), &config).await?;
    let question = world.say("[[say one]]")?;
    assert_eq!(question.mark().await?, "✅");
    let next = question.follow_up("[[say two]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(said(question, "What was said here stays on host")?, 1);
    assert_eq!(resumed(&world), [false, true], "it is there all the same");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_goes_on_at_another_runner() -> Result<()> {
    let world = World::builder().claude(Claude::Real).shared().without_runner().start().await?;
    let mut second = world.colleague().await?;
    world.start_runner().await?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    let next = handed_over(&world, &mut second, question, "[[recall]]").await?;
    let recalled = next.answer().await?;
    assert!(recalled.contains("the first"), "{recalled}");
    assert_eq!(said(question, RESUMED)?, 1);
    for log in ["runner-svc", COLLEAGUE] {
        assert!(!world.log(log).contains("may lack the last words"), "{log}");
    }
    ends_well(&world, second).await
}

/// What claude does to a worktree: a commit, a change, a new file, and one that git ignores.
const WORK: &str = r#"the first [[tool Bash {"command":"git -c user.name=Ada -c user.email=ada@example.org commit --quiet --allow-empty --message=Empty"}]]
[[tool Write {"file_path":".gitignore","content":"ignored.txt\n"}]]
[[tool Write {"file_path":"ignored.txt","content":"a build\n"}]]
[[tool Write {"file_path":"new.txt","content":"new\n"}]]
[[tool Write {"file_path":"README.md","content":"changed\n"}]] [[say one]]"#;

/// What git says of a worktree, and the subject of its commit.
fn status(worktree: &Path) -> Result<(String, String)> {
    let status = git(worktree, &["status", "--porcelain", "--untracked-files=all"])?;
    Ok((status, git(worktree, &["log", "-1", "--format=%H %s"])?))
}

#[tokio::test(flavor = "multi_thread")]
async fn uncommitted_work_of_a_shared_project_comes_along_and_stays_uncommitted() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = world.say(WORK)?;
    assert_eq!(question.answer().await?, "one");
    world.is_quiet().await?;
    let [here, there] = world.worktrees_of(&second, &question.thread().to_string());
    let left = status(&here)?;
    assert!(left.1.ends_with(" Empty"), "{left:?}");
    let next = r#"[[tool Read {"file_path":"new.txt"}]] [[say {result}]]"#;
    let next = handed_over(&world, &mut second, question, next).await?;
    assert!(next.answer().await?.contains("new"));
    assert_eq!(status(&there)?, left);
    assert_eq!(fs::read_to_string(there.join("README.md"))?, "changed\n");
    assert!(!there.join("ignored.txt").exists(), "what git ignores stays");
    // Nothing happened to the first one's.
    assert_eq!(status(&here)?, left);
    assert!(here.join("ignored.txt").exists());
    let project = world.folder().project();
    assert_eq!(git(&project, &["for-each-ref", "refs/holdfast"])?, "");
    assert_eq!(said(question, RESUMED)?, 1);
    assert_eq!(said(question, "⚠️")?, 0, "{:?}", question.said_in_thread()?);
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_with_keys_of_their_own_hand_a_conversation_over() -> Result<()> {
    let tools = ["Bash", "Read", "Write"];
    let world = World::builder().secured().shared().tools(&tools).without_runner().start().await?;
    world.more_keys(&[COLLEAGUE]).await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    let mut second = world.colleague().await?;
    world.start_runner().await?;
    let question = world.say(WORK)?;
    assert_eq!(question.answer().await?, "one");
    let next = handed_over(&world, &mut second, question, "[[recall]]").await?;
    assert!(next.answer().await?.contains("the first"));
    let [_, there] = world.worktrees_of(&second, &question.thread().to_string());
    assert_eq!(fs::read_to_string(there.join("README.md"))?, "changed\n");
    for service in ["gateway-svc", "runner-svc", COLLEAGUE] {
        let log = world.log(service);
        assert!(!log.contains(VIOLATION), "{service} needs more than it may:\n{log}");
    }
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_too_large_stays_and_that_is_said_once() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let large = r#"[[tool Bash {"command":"truncate -s 60M large"}]]"#;
    let question = world.say(&format!("the first {large} [[say one]]"))?;
    assert_eq!(question.mark().await?, "✅");
    let again = question.follow_up("[[say again]]").await?;
    assert_eq!(again.mark().await?, "✅");
    let [here, there] = world.worktrees_of(&second, &question.thread().to_string());
    assert!(here.join("large").exists());
    let next = handed_over(&world, &mut second, question, "[[recall]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert!(!there.join("large").exists());
    assert_eq!(said(question, "What was changed in this conversation stays on host")?, 1);
    assert_eq!(said(question, "it is too large")? + said(question, "are too large (62 MB)")?, 1);
    assert_eq!(resumed(&world), [false, true, true], "the conversation came along");
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn work_of_a_lost_attempt_is_kept_beside_what_comes_along() -> Result<()> {
    let world = World::builder().shared().without_runner().start().await?;
    let mut second = world.colleague().await?;
    second.start().await?;
    let question = world.say("[[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    let lost =
        r#"[[tool Write {"file_path":"lost.txt","content":"half\n"}]] [[wait go]] [[say two]]"#;
    let next = question.follow_up(lost).await?;
    world.reached("go").await?;
    world.start_runner().await?;
    second.is_lost()?;
    let thread = question.thread().to_string();
    let to = |runner| {
        let (world, thread) = (&world, thread.clone());
        async move {
            let moved = world.gateway_command(&["move", &thread, runner]).await?;
            anyhow::ensure!(moved.status.success(), "{moved:?}");
            anyhow::Ok(())
        }
    };
    to("host").await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(next.mark().await?, "✅");
    let whole = r#"[[tool Write {"file_path":"lost.txt","content":"whole\n"}]] [[say two]]"#;
    assert_eq!(question.follow_up(whole).await?.mark().await?, "✅");
    // Back at the one that was lost, whose worktree is as its claude left it.
    second.start().await?;
    to("build-2").await?;
    let third = question.follow_up("[[say three]]").await?;
    assert_eq!(third.mark().await?, "✅");
    let [_, there] = world.worktrees_of(&second, &thread);
    assert_eq!(fs::read_to_string(there.join("lost.txt"))?, "whole\n");
    assert_eq!(said(question, "build-2 had changes of its own here")?, 1);
    let kept = git(&there, &["for-each-ref", "--format=%(refname)", "refs/holdfast/kept"])?;
    assert!(!kept.is_empty() && said(question, &kept)? == 1, "{kept}");
    assert_eq!(git(&there, &["show", &format!("{kept}:lost.txt")])?, "half");
    ends_well(&world, second).await
}
