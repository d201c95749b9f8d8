//! The harness itself: a story that leaves something behind fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use harness::{World, processes};

/// Enough for what is there already, and no wait for what never comes.
const SOON: Duration = Duration::from_millis(500);

/// What the world says when it is dropped.
fn complaint(world: World) -> String {
    let folder = world.folder().root().to_owned();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(world)));
    assert_eq!(processes::naming(&folder), [], "it cleans up all the same");
    assert!(!folder.exists());
    let panic = dropped.err().and_then(|panic| panic.downcast::<String>().ok());
    panic.map(|text| *text).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_without_an_answer_fails() -> Result<()> {
    let world = World::builder().without_runner().quiet_within(SOON).start().await?;
    world.say("nobody is there")?.is_seen().await?;
    assert!(complaint(world).contains("a question has no answer"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_leaves_a_claude_fails() -> Result<()> {
    let world = World::builder().quiet_within(SOON).start().await?;
    world.say("[[think hm]] [[wait forever]] [[say done]]")?;
    world.reached("forever").await?;
    let complaint = complaint(world);
    assert!(complaint.contains("still there") && complaint.contains("claude-sim"), "{complaint}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_leaves_a_process_fails() -> Result<()> {
    let world = World::builder().quiet_within(SOON).start().await?;
    let mut command = Command::new("sleep");
    command.arg("600").current_dir(world.folder().root()).stdin(Stdio::null());
    let mut child = command.spawn()?;
    assert!(complaint(world).contains("sleep 600"));
    child.wait()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_ends_well_says_nothing() -> Result<()> {
    let world = World::start().await?;
    world.say("[[say done]]")?;
    assert_eq!(complaint(world), "");
    Ok(())
}
