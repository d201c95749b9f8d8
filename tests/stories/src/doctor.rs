//! `runner-svc doctor`: what a host lacks, by name.

use std::fs;

use anyhow::Result;
use harness::builder::path_of;
use harness::{Claude, World};

/// What doctor prints, and whether it is content.
async fn doctor(world: &World) -> Result<(bool, String)> {
    let output = world.runner_command(&["doctor"]).await?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_is_content_with_a_host_that_works() -> Result<()> {
    let world = World::start_real().await?;
    let (content, said) = doctor(&world).await?;
    assert!(content, "{said}");
    for word in ["tmux", "Claude Code", "app", "nats-server"] {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_all_that_is_wrong() -> Result<()> {
    let missing = Claude::Program("/nonexistent/claude".into());
    let world = World::builder().claude(missing).without_gateway().without_runner().start().await?;
    world.set_runner_env("PATH", path_of(world.folder(), &["git"])?).await;
    fs::remove_dir_all(world.folder().project())?;
    world.kill_nats().await?;
    let (content, said) = doctor(&world).await?;
    assert!(!content, "{said}");
    for word in ["tmux", "/nonexistent/claude", "ANTHROPIC_API_KEY", "no directory", "NATS"] {
        let named = said.lines().any(|line| line.starts_with("BAD") && line.contains(word));
        assert!(named, "{word:?} is not in\n{said}");
    }
    Ok(())
}
