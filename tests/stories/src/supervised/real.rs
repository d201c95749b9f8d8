//! Services under the real systemd, with our units as they are: where systemd is installed, and we are
//! root. Elsewhere these stories say what is missing, and are told no further.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use harness::{Builder, Environment, Part, Systemd, World, processes};

use super::{say_without, units};
use crate::scene::in_the_middle;

const RUNNER: &str = "holdfast-runner.service";
const GATEWAY: &str = "holdfast-gateway.service";

/// A world whose runner is started by systemd, and that systemd; `None` where there is none.
async fn world(builder: Builder) -> Result<Option<(World, Systemd)>> {
    let world = builder.start().await?;
    match Systemd::start(world.folder()) {
        Ok(systemd) => Ok(Some((world, systemd))),
        Err(error) => {
            say_without(&format!("no systemd of our own, so not told at all: {error:#}"));
            Ok(None)
        }
    }
}

/// Puts a unit where systemd finds it, with what else it is to be told.
fn install(systemd: &Systemd, unit: &str, program: &str, more: &str) -> Result<()> {
    let drop_in = systemd.units().join(format!("{unit}.d"));
    fs::create_dir_all(&drop_in)?;
    fs::write(systemd.units().join(unit), units::with_program(unit, program)?)?;
    fs::write(drop_in.join("test.conf"), format!("[Service]\n{more}"))?;
    systemd.does(&["daemon-reload"]).map(drop)
}

/// An environment as a file that systemd reads.
fn write_env(file: &Path, env: &Environment) -> Result<()> {
    let lines =
        env.iter().map(|(name, value)| format!("{}=\"{}\"\n", name.display(), value.display()));
    fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
    Ok(fs::write(file, lines.collect::<String>())?)
}

/// The runner of the world as the service of a person: its configuration where it looks for it.
async fn install_runner(world: &World, systemd: &Systemd, more: &str) -> Result<()> {
    let config = world.folder().home().join(".config/holdfast");
    write_env(&config.join("runner.env"), &world.plan(Part::Runner).await.env)?;
    fs::copy(world.folder().runner_toml(), config.join("runner.toml"))?;
    install(systemd, RUNNER, "runner-svc", more)
}

/// Where claude's keeper lives.
async fn home_of_keeper(world: &World) -> Result<String> {
    let all = world.processes().await;
    let keeper = all.iter().find(|process| process.command.starts_with("holdfast-keeper"));
    let pid = keeper.with_context(|| format!("there is no keeper: {all:?}"))?.pid;
    Ok(fs::read_to_string(format!("/proc/{pid}/cgroup"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_goes_on_while_systemd_restarts_the_runner() -> Result<()> {
    let Some((world, systemd)) = world(World::builder().without_runner()).await? else {
        return Ok(());
    };
    install_runner(&world, &systemd, "").await?;
    systemd.does(&["start", RUNNER])?;
    assert_eq!(systemd.property(RUNNER, "StatusText")?, "ready");
    let question = in_the_middle(&world).await?;
    let home = home_of_keeper(&world).await?;
    assert!(home.contains("/holdfast-claude.slice/"), "claude is not in its slice: {home}");
    systemd.does(&["restart", RUNNER])?;
    // The hard way: all that is in its cgroup, at once.
    systemd.does(&["kill", "--signal=KILL", RUNNER])?;
    world
        .until("the runner's next start", || {
            let is = |name, value: &str| systemd.property(RUNNER, name).is_ok_and(|it| it == value);
            is("NRestarts", "1") && is("ActiveState", "active")
        })
        .await?;
    assert_eq!(home_of_keeper(&world).await?, home, "it is the same keeper");
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(question.said_in_thread()?, ["the answer"]);
    assert_eq!(world.ledger().count("begin"), 1, "claude was started again");
    systemd.does(&["stop", RUNNER])?;
    assert_eq!(systemd.property(RUNNER, "Result")?, "success");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_has_the_configuration_read_again_and_shows_that_it_is_refused() -> Result<()> {
    let Some((world, systemd)) = world(World::builder().without_runner()).await? else {
        return Ok(());
    };
    install_runner(&world, &systemd, "").await?;
    systemd.does(&["start", RUNNER])?;
    let pid = systemd.property(RUNNER, "MainPID")?;
    let config = world.folder().home().join(".config/holdfast/runner.toml");
    let right = fs::read_to_string(&config)?;
    let shows = |words: &str| {
        systemd.property(RUNNER, "StatusText").is_ok_and(|text| text.starts_with(words))
            && systemd.property(RUNNER, "ActiveState").is_ok_and(|state| state == "active")
    };
    fs::write(&config, right.replace("slots = 2", "slots = 0"))?;
    systemd.does(&["reload", RUNNER])?;
    world
        .until("the status of a refusal", || shows("not ready: configuration: is refused"))
        .await?;
    fs::write(&config, right)?;
    systemd.does(&["reload", RUNNER])?;
    world.until("the status of a service that is ready", || shows("ready")).await?;
    assert_eq!(systemd.property(RUNNER, "MainPID")?, pid, "it is the same runner");
    systemd.does(&["stop", RUNNER])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_starts_a_runner_anew_that_stands_still() -> Result<()> {
    let Some((world, systemd)) = world(World::builder().without_runner()).await? else {
        return Ok(());
    };
    // Without a slice: claude is in the unit's own cgroup.
    let more = "WatchdogSec=2\nRestartSec=0\nEnvironment=HOLDFAST_SLICE=\n";
    install_runner(&world, &systemd, more).await?;
    systemd.does(&["start", RUNNER])?;
    let question = in_the_middle(&world).await?;
    let home = home_of_keeper(&world).await?;
    assert!(home.contains("/holdfast-runner.service"), "claude is not in the unit: {home}");
    processes::freeze(systemd.property(RUNNER, "MainPID")?.parse()?);
    world
        .until("the runner's next start", || {
            let is = |name, value: &str| systemd.property(RUNNER, name).is_ok_and(|it| it == value);
            is("NRestarts", "1") && is("ActiveState", "active")
        })
        .await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(question.said_in_thread()?, ["the answer"]);
    assert_eq!(world.ledger().count("begin"), 1, "claude was started again");
    systemd.does(&["stop", RUNNER])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_lives_with_all_that_its_unit_takes_from_it() -> Result<()> {
    let Some((world, systemd)) = world(World::builder().without_gateway()).await? else {
        return Ok(());
    };
    let plan = world.plan(Part::Gateway).await;
    let env = world.folder().root().join("gateway.env");
    write_env(&env, &plan.env)?;
    // Its user is not on this machine, and what it uses lies elsewhere than on a host.
    // A person's systemd has no inaccessible folder to put over homes; an empty one hides them as well.
    let (root, program) = (world.folder().root().display(), plan.program.display());
    let config = world.folder().gateway_toml();
    let more = format!(
        "User=\nGroup=\nProtectHome=tmpfs\nEnvironmentFile={}\nBindPaths={root}\nBindReadOnlyPaths={program}\n\
         ExecStart=\nExecStart={program} serve --config {}\n",
        env.display(),
        config.display()
    );
    install(&systemd, GATEWAY, "gateway-svc", &more)?;
    systemd.does(&["start", GATEWAY])?;
    assert_eq!(systemd.property(GATEWAY, "StatusText")?, "ready");
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    systemd.does(&["stop", GATEWAY])?;
    assert_eq!(systemd.property(GATEWAY, "Result")?, "success");
    Ok(())
}
