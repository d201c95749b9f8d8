//! A conversation goes on at another runner: its transcript comes along through FILES, and what of it
//! does not is said.
//!
//! The first runner is the world's own, the second one `build-2`. A runner that drains leaves the next
//! question of its threads to the other.

use anyhow::Result;
use harness::builder::Claude;
use harness::{COLLEAGUE, Colleague, Question, World};
use serde_json::json;

/// The stream below the project's FILES.
const FILES: &str = "OBJ_FILES_app";
/// What is said when the second runner goes on.
const RESUMED: &str = "-# Resumed on **build-2**.";

/// A world with both runners' hosts, of which the first serves.
async fn two_hosts() -> Result<(World, Colleague)> {
    let world = World::builder().shared().without_runner().start().await?;
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
    assert!(second.stop()?.success());
    world.stop_runner().await?;
    world.start_runner().await?;
    let moved = world.gateway_command(&["move", &question.thread().to_string(), "host"]).await?;
    assert!(moved.status.success(), "{moved:?}");
    let last = question.follow_up("[[recall]] [[say at last]]").await?;
    let recalled = last.answer().await?;
    assert!(recalled.contains("the first") && recalled.contains("[[recall]]"), "{recalled}");
    assert_eq!(resumed(&world), [false, true, true]);
    assert_eq!(said(question, RESUMED)?, 1);
    assert_eq!(said(question, "⚠️")?, 0, "{:?}", question.said_in_thread()?);
    Ok(())
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
    Ok(())
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
    Ok(())
}
