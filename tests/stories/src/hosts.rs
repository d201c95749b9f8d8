//! Faults of hosts: a runner that is there twice, a host that is rebooted.

use anyhow::{Context as _, Result};
use harness::{Part, Question, World, processes};

use crate::scene::in_the_middle;

/// The answer comes once, after these lines; a second answer behind it proves that no more is to
/// come. Returns how often claude was started for the first.
async fn is_answered_once(
    world: &World,
    question: Question<'_>,
    before: &[String],
) -> Result<usize> {
    assert_eq!(question.mark().await?, "✅");
    let begun = world.ledger().count("begin");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.mark().await?, "✅");
    let mut expected = before.to_vec();
    expected.extend(["the answer".into(), "the second".into()]);
    assert_eq!(question.said_in_thread()?, expected);
    Ok(begun)
}

/// The line that says that the runner exists twice.
async fn twin_is_told(world: &World, question: Question<'_>) -> Result<String> {
    let find = |view: &harness::discord_sim::View<'_>| {
        let mut said = view.guild.messages(question.thread()).map(|it| it.content.clone());
        said.find(|text| text.contains("exists twice"))
    };
    world.sees("that the runner exists twice", find).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_runner_on_one_state_directory_refuses_to_start() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let dir = world.folder().runner_state();
    let said = world.twin(&dir).await?.is_refused()?;
    assert!(
        said.contains("another runner uses") && said.contains(&*dir.to_string_lossy()),
        "{said}"
    );
    world.release("go")?;
    assert_eq!(is_answered_once(&world, question, &[]).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_runner_of_the_same_name_gets_no_work_and_the_thread_is_told_once() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let mut twin = world.twin(&world.folder().root().join("other")).await?;
    let said = twin.is_refused()?;
    assert!(said.contains("host exists twice") && said.contains("accept-name"), "{said}");
    let told = twin_is_told(&world, question).await?;
    assert!(told.contains("**host**") && told.contains("no work"), "{told}");
    // It may be started again and again.
    twin.is_refused()?;
    assert!(world.log("gateway-svc").contains("a runner exists twice"));
    let doctor = twin.command(&["doctor"])?;
    let doctor = String::from_utf8(doctor.stdout)?;
    assert!(doctor.contains("BAD   name: the runner host exists twice"), "{doctor}");
    let content = String::from_utf8(world.runner_command(&["doctor"]).await?.stdout)?;
    assert!(content.contains("ok    name"), "{content}");
    world.release("go")?;
    assert_eq!(is_answered_once(&world, question, &[told]).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_state_directory_gets_no_work() -> Result<()> {
    let world = World::start().await?;
    assert_eq!(world.say("[[say before]]")?.answer().await?, "before");
    world.is_quiet().await?;
    world.stop_runner().await?;
    let copy = world.copy_of_state()?;
    world.start_runner().await?;
    let question = in_the_middle(&world).await?;
    let said = world.twin(&copy).await?.is_refused()?;
    assert!(said.contains("host exists twice") && said.contains("is a copy"), "{said}");
    let told = twin_is_told(&world, question).await?;
    world.release("go")?;
    assert_eq!(is_answered_once(&world, question, &[told]).await?, 2, "one for each question");
    Ok(())
}

/// The copy has the spool of the run, and would take the claude in it for dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_made_in_the_middle_of_a_run_touches_nothing() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_runner().await?;
    let copy = world.copy_of_state()?;
    world.start_runner().await?;
    world.twin(&copy).await?.is_refused()?;
    let told = twin_is_told(&world, question).await?;
    world.release("go")?;
    assert_eq!(is_answered_once(&world, question, &[told]).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_refused_also_while_the_first_is_away() -> Result<()> {
    let world = World::start().await?;
    world.stop_runner().await?;
    let copy = world.copy_of_state()?;
    world.start_runner().await?;
    let question = in_the_middle(&world).await?;
    world.kill_runner().await?;
    world.twin(&copy).await?.is_refused()?;
    world.release("go")?;
    world.start_runner().await?;
    let told = twin_is_told(&world, question).await?;
    assert_eq!(is_answered_once(&world, question, &[told]).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_can_be_given_to_a_new_state_directory() -> Result<()> {
    // A branch that is checked out in the old one is not taken from it.
    let world = World::builder().project_toml("worktree = false").start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    world.is_quiet().await?;
    world.stop_runner().await?;
    let mut other = world.twin(&world.folder().root().join("other")).await?;
    other.is_refused()?;
    let accepted = other.command(&["accept-name"])?;
    assert!(accepted.status.success(), "{accepted:?}");
    other.start().await?;
    assert_eq!(first.follow_up("[[say second]]").await?.answer().await?, "second");
    world.is_quiet_besides(&other).await?;
    // The one that had it before is the second one now.
    let refused = world.twin(&world.folder().runner_state()).await?.is_refused()?;
    assert!(refused.contains("host exists twice"), "{refused}");
    assert!(other.stop()?.success());
    Ok(())
}

/// Every process of the host and of the bus at once, as a power failure ends them.
async fn power_fails(world: &World) -> Result<()> {
    world.kill_runner().await?;
    world.kill_gateway().await?;
    world.kill_nats().await?;
    loop {
        let left = world.processes().await;
        if left.is_empty() {
            return Ok(());
        }
        for process in left {
            processes::kill(process.pid);
        }
    }
}

async fn power_is_back(world: &World) -> Result<()> {
    world.start_nats().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_reboot() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    power_fails(&world).await?;
    power_is_back(&world).await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(is_answered_once(&world, question, &[]).await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_answer_was_not_reported_yet_survives_a_reboot() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Runner).await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    power_fails(&world).await?;
    power_is_back(&world).await?;
    is_answered_once(&world, question, &[]).await?;
    Ok(())
}

/// However often the power fails: claude did not die of itself.
#[tokio::test(flavor = "multi_thread")]
async fn reboots_are_no_deaths_of_claude() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    for times in 2..=4 {
        power_fails(&world).await?;
        power_is_back(&world).await?;
        world.notes("another claude", |ledger| ledger.count("wait") == times).await?;
    }
    world.release("go")?;
    assert_eq!(is_answered_once(&world, question, &[]).await?, 4);
    Ok(())
}

/// After a reboot the numbers that a spool holds are other processes'.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_an_old_number_is_left_alone() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    power_fails(&world).await?;
    let mut command = std::process::Command::new("sleep");
    let mut other = command.arg("600").env_clear().stdin(std::process::Stdio::null()).spawn()?;
    let mut written = 0;
    for spool in world.spools()? {
        for name in ["used", "started"] {
            let file = spool.join(name);
            let text = std::fs::read_to_string(&file).context("a spool without its keeper")?;
            let lines = text.lines().map(|line| match line.split_once('=') {
                Some(("boot", _)) => "boot=another\n".to_owned(),
                Some((key, _)) => format!("{key}={}\n", other.id()),
                None => format!("{line}\n"),
            });
            std::fs::write(&file, lines.collect::<String>())?;
            written += 1;
        }
    }
    assert_eq!(written, 2);
    power_is_back(&world).await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    is_answered_once(&world, question, &[]).await?;
    assert!(other.try_wait()?.is_none(), "it was ended");
    other.kill()?;
    other.wait()?;
    Ok(())
}
