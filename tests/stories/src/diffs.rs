//! `!diff`: what has changed in a conversation's worktree, as a file with counts.

use anyhow::{Context as _, Result};
use harness::project::git;
use harness::{Content, Question, World};

use crate::shared::two_hosts;

/// What claude does to its worktree: a new file of two lines, one changed, one that git ignores.
const WORK: &str = r#"[[tool Write {"file_path":"new.txt","content":"one\ntwo\n"}]]
[[tool Write {"file_path":"README.md","content":"changed\n"}]] [[say done]]"#;

async fn changed(world: &World) -> Result<Question<'_>> {
    let question = world.say(WORK)?;
    assert_eq!(question.answer().await?, "done");
    Ok(question)
}

/// The counts, and the file.
fn is_shown(question: Question<'_>, said: &[String]) -> Result<()> {
    let [counts, file] = said else { panic!("{said:?}") };
    assert!(counts.starts_with("2 files changed, +3 −"), "{counts}");
    assert_eq!(file, "-# 📎 `changes.diff`");
    let files = question.files();
    let (name, diff) = files.last().context("no file")?;
    let diff = String::from_utf8_lossy(diff);
    assert_eq!(name, "changes.diff");
    for line in ["+++ b/new.txt", "+two", "--- a/README.md", "+changed"] {
        assert!(diff.lines().any(|it| it == line), "{line:?} is not in\n{diff}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_a_file_with_counts_committed_or_not() -> Result<()> {
    let world = World::start().await?;
    let question = changed(&world).await?;
    let worktree = question.worktree();
    git(&worktree, &["add", "new.txt"])?;
    git(
        &worktree,
        &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "new"],
    )?;
    let before = git(&worktree, &["status", "--porcelain"])?;
    let asked = question.follow_up("!diff").await?;
    is_shown(question, &asked.pages().await?)?;
    assert_eq!(git(&worktree, &["status", "--porcelain"])?, before, "nothing was touched");
    assert_eq!(world.ledger().count("begin"), 1, "claude was not asked");
    let next = question.follow_up("[[recall]]").await?;
    assert!(next.answer().await?.contains("new.txt"), "claude goes on where it was");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_has_changed_or_there_is_no_worktree_that_is_said() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say hello]]")?;
    assert_eq!(question.answer().await?, "hello");
    let nothing = question.follow_up("!diff").await?.answer().await?;
    assert_eq!(nothing, "Nothing has changed in the worktree of this conversation.");
    assert!(question.files().is_empty());

    let outside = world.say("!diff")?;
    assert_eq!(outside.refusal().await?, "Say that in the thread that it is about.");

    let world = World::builder().content(Content::Plain).start().await?;
    let question = world.say("[[say hello]]")?;
    assert_eq!(question.mark().await?, "✅");
    let said = question.follow_up("!diff").await?.mark().await?;
    assert_eq!(said, "✅");
    let last = question.said_in_thread()?.pop().context("nothing was said")?;
    assert!(last.contains("works in the project's directory itself"), "{last}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_waits_for_its_runner_and_outlives_the_death_of_both_services() -> Result<()> {
    let world = World::start().await?;
    let question = changed(&world).await?;
    world.is_quiet().await?;
    world.kill_runner().await?;
    let asked = question.follow_up("!diff").await?;
    asked.is_seen().await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    for point in ["claim.written", "finish.written"] {
        world.start_runner_to_die_at(point).await?;
        world.runner_dies().await?;
        world.deliver_again().await?;
    }
    world.start_runner().await?;
    is_shown(question, &asked.pages().await?)?;
    assert_eq!(question.files().len(), 1, "once");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_is_shown_while_claude_is_at_work() -> Result<()> {
    let world = World::start().await?;
    let text = WORK.replace("[[say done]]", "[[think hm]] [[wait go]] [[say done]]");
    let question = world.say(&text)?;
    world.reached("go").await?;
    let asked = question.follow_up("!diff").await?;
    is_shown(question, &asked.pages().await?)?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "done");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_is_shown_by_another_runner_when_the_worktree_has_come_along() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    second.start().await?;
    let question = changed(&world).await?;
    world.until("the end of all at the second host", || second.beside().is_empty()).await?;
    assert!(second.stop()?.success());
    world.start_runner().await?;
    let moved = world.gateway_command(&["move", &question.thread().to_string(), "host"]).await?;
    assert!(moved.status.success(), "{moved:?}");
    let asked = question.follow_up("!diff").await?;
    let said = asked.pages().await?;
    assert_eq!(said[0], "-# Resumed on **host**.");
    is_shown(question, &said[1..])
}
