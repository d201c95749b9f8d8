//! A host on which something is missing or wrong: the thread says what.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use harness::builder::path_of;
use harness::{Claude, Content, World};

/// What a person is told when this program is claude.
async fn told_with(program: &str) -> Result<String> {
    let claude = Claude::Program(program.into());
    let world = World::builder().claude(claude).without_runner().start().await?;
    world.launch_runner().await?;
    let question = world.say("hello")?;
    question.is_seen().await?;
    let reason = question.failure().await?;
    assert!(reason.starts_with("⚠️"), "{reason}");
    let log = world.log("runner-svc");
    assert!(log.contains(&format!("`{program}`")), "the log does not say so: {log}");
    Ok(reason)
}

/// The runner's `/readyz` says what is wrong, as `doctor` does.
async fn says_why(world: &World, why: &str) -> Result<()> {
    let says = |(status, page): (u16, String)| status == 503 && page.contains(why);
    world.runner_page_is("/readyz", why, says).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_claude_is_told() -> Result<()> {
    let reason = told_with("/nonexistent/claude").await?;
    assert!(reason.contains("`/nonexistent/claude` did not start"), "{reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_exits_at_once_is_tried_again_and_told() -> Result<()> {
    let reason = told_with("false").await?;
    assert!(reason.contains("ended with code 1") && reason.contains("3 times"), "{reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_speaks_no_json_is_told() -> Result<()> {
    let reason = told_with("echo").await?;
    assert!(reason.contains("said nothing that claude would say"), "{reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_claude_complains_of_is_told() -> Result<()> {
    let reason = told_with("ls").await?;
    assert!(reason.contains("ended with code 2") && reason.contains("option"), "{reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_is_not_logged_in_is_told() -> Result<()> {
    let world = World::builder().claude(Claude::LoggedOut).without_runner().start().await?;
    world.launch_runner().await?;
    says_why(&world, "claude's login: none was found").await?;
    let reason = world.say("hello")?.failure().await?;
    assert!(reason.contains("Not logged in"), "{reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_json_do_no_harm() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[garbage]] [[say fine]]")?;
    assert_eq!(question.answer().await?, "fine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_five_megabytes_does_no_harm() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[bigline 5000000]] [[say fine]]")?;
    assert_eq!(question.answer().await?, "fine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_died_is_started_again() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[die KILL]]")?;
    let reason = question.failure().await?;
    assert!(reason.contains("signal 9") && reason.contains("3 times"), "{reason}");
    assert_eq!(world.ledger().count("begin"), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_is_told() -> Result<()> {
    let plain = World::builder().content(Content::Plain).project_toml("worktree = false");
    let world = plain.start().await?;
    let question = world.say("[[say here]]")?;
    assert_eq!(question.answer().await?, "here");
    fs::remove_dir_all(world.folder().project())?;
    let reason = question.follow_up("[[say still here]]").await?.failure().await?;
    assert!(reason.contains("directory of **app** is gone"), "{reason}");
    assert!(world.log("runner-svc").contains("directory of **app** is gone"));
    let doctor = world.runner_command(&["doctor"]).await?;
    assert!(String::from_utf8(doctor.stdout)?.contains("there is no directory"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_tmux_says_so() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let path = path_of(world.folder(), &["git", "sh"])?;
    world.set_runner_env("PATH", path).await;
    world.launch_runner().await?;
    let reason = world.say("hello")?.failure().await?;
    assert!(reason.contains("tmux does not start"), "{reason}");
    assert!(world.log("runner-svc").contains("tmux does not start"));
    says_why(&world, "tmux: tmux does not start").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_an_old_tmux_says_so() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let path = path_of(world.folder(), &["git", "sh"])?;
    let tmux = world.folder().root().join("bin/tmux");
    fs::write(&tmux, "#!/bin/sh\necho tmux 2.9\n")?;
    fs::set_permissions(&tmux, fs::Permissions::from_mode(0o755))?;
    world.set_runner_env("PATH", path).await;
    world.launch_runner().await?;
    let reason = world.say("hello")?.failure().await?;
    assert!(reason.contains("tmux 2.9") && reason.contains("oldest"), "{reason}");
    says_why(&world, "tmux 2.9").await
}
