//! Services that systemd looks after: what it is told, and what it may end and must not.
//!
//! Where the real systemd can be started it is (`supervised/real.rs`); elsewhere the story is told by
//! what its units say and what it does then.

mod install;
mod real;
mod units;

use anyhow::Result;
use harness::{Cgroup, Notified, Part, World, on_path, processes};

use crate::scene::in_the_middle;

/// A watchdog's time, in microseconds: a sign of life is due each half second.
const WATCHDOG: &str = "1500000";

/// Says that a story is told without a part of it.
#[expect(clippy::print_stderr, reason = "whoever reads the log of the tests is to know")]
fn say_without(why: &str) {
    eprintln!("WITHOUT: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_a_service_is_ready_and_when_it_ends() -> Result<()> {
    let (mut gateway, mut runner) = (Notified::listen()?, Notified::listen()?);
    let builder = gateway.of(World::builder(), Part::Gateway, WATCHDOG);
    let world = runner.of(builder, Part::Runner, WATCHDOG).start().await?;
    for service in [&mut gateway, &mut runner] {
        let before = service.hears("READY=1").await?;
        let ready = before.last().cloned().unwrap_or_default();
        assert!(ready.contains("STATUS=ready\n"), "{before:?}");
        assert!(before.len() < 2 || before[0].contains("STATUS=not ready: "), "{before:?}");
        service.hears("WATCHDOG=1").await?;
    }
    world.stop_runner().await?;
    runner.hears("STOPPING=1").await?;
    assert_eq!(runner.rest(), [""; 0], "it has said its last");
    world.stop_gateway().await?;
    gateway.hears("STOPPING=1").await?;
    world.start_gateway().await?;
    world.start_runner().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stands_still_gives_no_sign_of_life() -> Result<()> {
    let (mut gateway, mut runner) = (Notified::listen()?, Notified::listen()?);
    let builder = gateway.of(World::builder(), Part::Gateway, WATCHDOG);
    let world = runner.of(builder, Part::Runner, WATCHDOG).start().await?;
    runner.hears("WATCHDOG=1").await?;
    world.freeze(Part::Runner).await?;
    // What it said before it stood still.
    gateway.rest();
    gateway.hears("WATCHDOG=1").await?;
    runner.rest();
    for _ in 0..4 {
        gateway.hears("WATCHDOG=1").await?;
    }
    assert_eq!(runner.rest(), [""; 0], "it stands still, and the gateway gave four signs");
    world.thaw(Part::Runner).await?;
    runner.hears("WATCHDOG=1").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_for_nats_is_started_and_says_so() -> Result<()> {
    let mut runner = Notified::listen()?;
    let builder = runner.of(World::builder(), Part::Runner, WATCHDOG).without_runner();
    let world = builder.start().await?;
    world.kill_nats().await?;
    world.launch_runner().await?;
    let before = runner.hears("READY=1").await?;
    assert!(before[0].contains("STATUS=not ready: "), "{before:?}");
    assert!(before.iter().any(|said| said.contains("nats: cannot connect")), "{before:?}");
    assert!(before.iter().any(|said| said.contains("WATCHDOG=1")), "it lives meanwhile");
    world.start_nats().await?;
    runner.hears("STATUS=ready\n").await?;
    Ok(())
}

/// What is told of one reload: that it begins, and when; then that it is over, with this status.
async fn reloads(service: &mut Notified, status: &[&str]) -> Result<()> {
    let begins = service.hears("RELOADING=1").await?;
    let begins = begins.last().cloned().unwrap_or_default();
    let micros = begins.split_once("MONOTONIC_USEC=").and_then(|(_, it)| it.trim().parse().ok());
    assert!(micros.is_some_and(|micros: u64| 0 < micros), "{begins}");
    let over = service.hears("READY=1").await?.pop().unwrap_or_default();
    assert!(status.iter().all(|words| over.contains(words)), "{over} has not all of {status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_a_reload_and_of_what_was_refused() -> Result<()> {
    let (mut gateway, mut runner) = (Notified::listen()?, Notified::listen()?);
    let builder = gateway.of(World::builder(), Part::Gateway, WATCHDOG);
    let world = runner.of(builder, Part::Runner, WATCHDOG).start().await?;
    for (part, service) in [(Part::Gateway, &mut gateway), (Part::Runner, &mut runner)] {
        service.hears("STATUS=ready\n").await?;
        world.rewrite(part, |toml| format!("slotz = 1\n{toml}"))?;
        world.hang_up(part).await?;
        reloads(service, &["STATUS=not ready: configuration: is refused", "slotz"]).await?;
        world.rewrite(part, |toml| toml.replace("slotz = 1\n", ""))?;
        world.hang_up(part).await?;
        reloads(service, &["STATUS=ready\n"]).await?;
    }
    Ok(())
}

/// What systemd does at a restart of this unit, by its `KillMode`: SIGTERM to the runner alone.
#[tokio::test(flavor = "multi_thread")]
async fn claude_outlives_the_runner_in_the_cgroup_of_its_unit() -> Result<()> {
    assert_eq!(units::setting("holdfast-runner@.service", "KillMode"), "process");
    let cgroup = match Cgroup::make("unit") {
        Ok(cgroup) => Some(cgroup),
        Err(error) => {
            say_without(&format!("no cgroup, told by processes alone: {error:#}"));
            None
        }
    };
    let world = World::builder().without_runner().start().await?;
    if let Some(cgroup) = &cgroup {
        world.runner_in(cgroup).await;
    }
    world.start_runner().await?;
    let question = in_the_middle(&world).await?;
    world.stop_runner().await?;
    let keeper = |all: &[processes::Process]| {
        all.iter().any(|process| process.command.starts_with("holdfast-keeper"))
    };
    if let Some(cgroup) = &cgroup {
        let left = cgroup.processes();
        assert!(keeper(&left), "the keeper stays in the cgroup: {left:?}");
    }
    assert!(keeper(&world.processes().await));
    world.start_runner().await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(question.said_in_thread()?, ["the answer"]);
    assert_eq!(world.ledger().count("begin"), 1, "claude was started again");
    Ok(())
}

/// A `systemd-run` that makes the scope itself: it goes into a cgroup and becomes what it was given.
const STAND_IN: &str = "#!/bin/sh\n\
    echo $$ > \"$SCOPE_OF_TEST/cgroup.procs\" || exit 9\n\
    while [ \"$1\" != -- ]; do echo \"$1\" >> \"$WORDS_OF_TEST\"; shift; done\n\
    shift\nexec \"$@\"\n";

/// The unit's cgroup is ended as a whole, as by `systemctl kill`, or for its memory.
#[tokio::test(flavor = "multi_thread")]
async fn claude_outlives_the_end_of_the_whole_unit_in_a_scope_of_its_own() -> Result<()> {
    let (unit, scope) = match (Cgroup::make("service"), Cgroup::make("scope")) {
        (Ok(unit), Ok(scope)) => (unit, scope),
        (Err(error), _) | (_, Err(error)) => {
            say_without(&format!("no cgroup, so not told at all: {error:#}"));
            return Ok(());
        }
    };
    let world = World::builder().without_runner().start().await?;
    let bin = world.folder().root().join("stand-in");
    let words = world.folder().root().join("systemd-run.words");
    units::program(&bin.join("systemd-run"), &stand_in(&scope, &words))?;
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(world.runner_env("PATH").await);
    world.set_runner_env("PATH", path).await;
    world.set_runner_env("XDG_RUNTIME_DIR", world.folder().root()).await;
    let slice = units::setting("holdfast-runner.service", "Environment=HOLDFAST_SLICE");
    world.set_runner_env("HOLDFAST_SLICE", slice.clone()).await;
    world.runner_in(&unit).await;
    world.start_runner().await?;
    let question = in_the_middle(&world).await?;
    let inside = unit.processes();
    assert!(inside.iter().all(|it| it.command.contains(" serve")), "the runner alone: {inside:?}");
    unit.kill()?;
    world.has_ended(Part::Runner).await?;
    world.start_runner().await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(question.said_in_thread()?, ["the answer"]);
    assert_eq!(world.ledger().count("begin"), 1, "claude was started again");
    let words = std::fs::read_to_string(words)?;
    assert!(words.contains(&format!("--slice={slice}\n")), "{words}");
    assert!(words.contains("--scope\n") && words.contains("--property=Delegate=yes\n"), "{words}");
    Ok(())
}

fn stand_in(scope: &Cgroup, words: &std::path::Path) -> String {
    STAND_IN
        .replace("$SCOPE_OF_TEST", &scope.path().display().to_string())
        .replace("$WORDS_OF_TEST", &words.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_given_no_scope_answers_all_the_same() -> Result<()> {
    if on_path("systemd-run").is_none() {
        say_without("systemd-run is not here: told by its absence, not by its refusal");
    }
    let world = World::builder()
        .runner_env("HOLDFAST_SLICE", "holdfast-claude.slice")
        .runner_env("XDG_RUNTIME_DIR", "/nonexistent/holdfast")
        .start()
        .await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    world.logs("runner-svc", "tmux gets no scope of its own").await?;
    Ok(())
}
