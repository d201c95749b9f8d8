//! What an operator takes from one runner and gives to another while it waits or runs: a conversation
//! of a shared project (`move`), or an exclusive project with all that is asked of it (`owner`).
//!
//! In both, the runner that had it is alive, stands still or is dead. There is one answer, from where
//! the work was given to; the next question goes there too; and who had it before gets nothing more.

use anyhow::{Context as _, Result};
use harness::{COLLEAGUE, Colleague, Part, Question, World, processes};
use tokio::time::{Instant, sleep};

use crate::scene::{ends_well, gets_nothing_of_it, in_the_middle};
use crate::shared::{held_by_the_second, two_hosts};

/// The world's own runner.
pub(crate) const FIRST: &str = "host";

/// Gives a command of the gateway until the gateway knows enough of the runners to carry it out.
/// Returns what it said.
pub(crate) async fn carried_out(world: &World, words: &[&str]) -> Result<String> {
    let end = Instant::now() + harness::PATIENCE;
    loop {
        let output = world.gateway_command(words).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(why.contains("has shown itself"), "{words:?}: {why}");
        assert!(Instant::now() < end, "{words:?}: {why}");
        sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Gives a command that is to die at this point, until the gateway knows enough of the runners for it
/// to come that far.
pub(crate) async fn dies_at(world: &World, words: &[&str], point: &str) -> Result<()> {
    let end = Instant::now() + harness::PATIENCE;
    while !world.gateway_command_dies_at(words, point).await? {
        assert!(Instant::now() < end, "{words:?} never comes to {point}");
        sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The thread of a question goes on at this runner. Returns what the command said.
pub(crate) async fn move_to(world: &World, question: Question<'_>, runner: &str) -> Result<String> {
    carried_out(world, &["move", &question.thread().to_string(), runner]).await
}

/// A claude that has begun, by its number, and where it works.
pub(crate) fn begun(world: &World, second: &Colleague, nth: usize) -> Result<(&'static str, u32)> {
    let ledger = world.ledger();
    let noted = ledger.all("begin").get(nth).copied().cloned().context("no such claude")?;
    let is_there = std::path::Path::new(noted.text("cwd")).starts_with(second.root());
    Ok((if is_there { COLLEAGUE } else { FIRST }, noted.pid))
}

/// Waits for the claude that follows one which is held by the gate `go`. Returns where it works.
pub(crate) async fn another_begins(world: &World, second: &Colleague) -> Result<&'static str> {
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    Ok(begun(world, second, 1)?.0)
}

/// The answer comes once, between what was said of the move and the next answer, which proves that no
/// more is to come. The next question goes to this runner, and `claudes` have begun by then.
pub(crate) async fn goes_on_at(
    world: &World,
    question: Question<'_>,
    second: &Colleague,
    (runner, claudes): (&str, usize),
) -> Result<()> {
    assert_eq!(question.mark().await?, "✅");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let times = |text: &str| said.iter().filter(|said| *said == text).count();
    assert_eq!((times("the answer"), times("the second")), (1, 1), "{said:?}");
    let moved = said.iter().filter(|it| it.starts_with(&format!("-# Moved to **{runner}**.")));
    assert_eq!(moved.count(), 1, "{said:?}");
    assert_eq!(world.ledger().count("begin"), claudes, "{:?}", world.ledger());
    assert_eq!(begun(world, second, claudes - 1)?.0, runner, "the next question goes there");
    Ok(())
}

/// A thread whose first question was answered by the second runner, which is gone now.
pub(crate) async fn left_by_the_second<'w>(
    world: &'w World,
    second: &mut Colleague,
) -> Result<Question<'w>> {
    second.start().await?;
    let first = world.say("[[say the first]]")?;
    assert_eq!(first.answer().await?, "the first");
    assert!(second.stop()?.success());
    Ok(first)
}

/// Waits until work lies in the queue for a runner.
pub(crate) async fn waits_for(world: &World, runner: &str) -> Result<()> {
    let wanted = format!("work.app.at.{runner}.");
    let end = Instant::now() + harness::PATIENCE;
    loop {
        let stored = world.stored("WORK").await?;
        if stored.iter().any(|it| it.subject.starts_with(&wanted)) {
            return Ok(());
        }
        assert!(Instant::now() < end, "nothing waits for {runner}: {stored:?}");
        sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_waits_for_its_runner_is_moved_to_another() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let first = left_by_the_second(&world, &mut second).await?;
    world.start_runner().await?;
    let question = first.follow_up("[[say the answer]]").await?;
    waits_for(&world, COLLEAGUE).await?;
    let said = move_to(&world, first, FIRST).await?;
    assert_eq!(said, format!("{} goes on at {FIRST}; 1 run was moved\n", first.thread()));
    goes_on_at(&world, question, &second, (FIRST, 3)).await?;
    second.start().await?;
    gets_nothing_of_it(&world, second, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_runs_is_moved_away_from_a_runner_that_is_well() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    let (_, old) = begun(&world, &second, 0)?;
    move_to(&world, question, FIRST).await?;
    assert_eq!(another_begins(&world, &second).await?, FIRST);
    world.until("the end of the old claude", || !processes::is_alive(old)).await?;
    world.logs(COLLEAGUE, "the record was taken over").await?;
    world.release("go")?;
    goes_on_at(&world, question, &second, (FIRST, 3)).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_runs_is_moved_away_from_a_runner_that_stands_still() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    let (_, old) = begun(&world, &second, 0)?;
    second.freeze()?;
    move_to(&world, question, FIRST).await?;
    assert_eq!(another_begins(&world, &second).await?, FIRST);
    // Nobody but its keeper can end it: that is the fence.
    world.until("the end of the old claude", || !processes::is_alive(old)).await?;
    world.release("go")?;
    goes_on_at(&world, question, &second, (FIRST, 3)).await?;
    second.thaw()?;
    world.logs(COLLEAGUE, "the record was taken over").await?;
    gets_nothing_of_it(&world, second, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_runs_is_moved_away_from_a_host_that_is_lost() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.is_lost()?;
    move_to(&world, question, FIRST).await?;
    assert_eq!(another_begins(&world, &second).await?, FIRST);
    world.release("go")?;
    goes_on_at(&world, question, &second, (FIRST, 3)).await?;
    second.start().await?;
    gets_nothing_of_it(&world, second, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_moved_there_and_back_while_it_runs() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    move_to(&world, question, FIRST).await?;
    assert_eq!(another_begins(&world, &second).await?, FIRST);
    move_to(&world, question, COLLEAGUE).await?;
    world.notes("a third claude", |ledger| ledger.count("wait") == 3).await?;
    assert_eq!(begun(&world, &second, 2)?.0, COLLEAGUE);
    for nth in [0, 1] {
        let (_, old) = begun(&world, &second, nth)?;
        world.until("the end of an old claude", || !processes::is_alive(old)).await?;
    }
    world.release("go")?;
    goes_on_at(&world, question, &second, (COLLEAGUE, 4)).await?;
    world.nothing_is_left().await?;
    ends_well(&world, second).await
}

/// A world whose exclusive project its own runner owns, and a second runner that serves it too and is
/// not started.
pub(crate) async fn owned() -> Result<(World, Colleague)> {
    let world = World::builder().scaled().start().await?;
    world.logs("gateway-svc", "has an owner").await?;
    let second = world.colleague().await?;
    Ok((world, second))
}

/// The second runner is there, and owns the project from now on. Returns what the command said.
pub(crate) async fn given_to_the_second(world: &World, second: &mut Colleague) -> Result<String> {
    second.start().await?;
    world.logs("gateway-svc", "a second runner claims an exclusive project").await?;
    carried_out(world, &["owner", "app", COLLEAGUE]).await
}

/// Who owned the project before is there, is told in the log that it owns nothing, and gets none of a
/// further question.
async fn gets_nothing(world: &World, second: &Colleague, claudes: usize) -> Result<()> {
    let refused = |line: &str| {
        line.contains("a second runner claims an exclusive project")
            && line.contains("claimant=host")
    };
    world
        .until("a word about the old owner", || world.log("gateway-svc").lines().any(refused))
        .await?;
    assert_eq!(world.say("[[say more]]")?.answer().await?, "more");
    assert_eq!(begun(world, second, claudes)?.0, COLLEAGUE);
    assert_eq!(world.ledger().count("begin"), claudes + 1);
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_owner_goes_to_the_next_one() -> Result<()> {
    let (world, mut second) = owned().await?;
    world.stop_runner().await?;
    let question = world.say("[[say the answer]]")?;
    waits_for(&world, FIRST).await?;
    let said = given_to_the_second(&world, &mut second).await?;
    assert_eq!(said, format!("{COLLEAGUE} owns app; 1 run was moved\n"));
    goes_on_at(&world, question, &second, (COLLEAGUE, 2)).await?;
    world.start_runner().await?;
    gets_nothing(&world, &second, 2).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_at_an_owner_that_is_well_goes_on_at_the_next_one() -> Result<()> {
    let (world, mut second) = owned().await?;
    let question = in_the_middle(&world).await?;
    let (_, old) = begun(&world, &second, 0)?;
    given_to_the_second(&world, &mut second).await?;
    assert_eq!(another_begins(&world, &second).await?, COLLEAGUE);
    world.until("the end of the old claude", || !processes::is_alive(old)).await?;
    world.release("go")?;
    goes_on_at(&world, question, &second, (COLLEAGUE, 3)).await?;
    gets_nothing(&world, &second, 3).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_that_stood_still_answers_too_late_is_not_said() -> Result<()> {
    let (world, mut second) = owned().await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Runner).await?;
    given_to_the_second(&world, &mut second).await?;
    assert_eq!(another_begins(&world, &second).await?, COLLEAGUE);
    // An exclusive project has no fence: the old claude answers as well, and nobody takes it.
    world.release("go")?;
    world.notes("both results", |ledger| ledger.count("result") == 2).await?;
    goes_on_at(&world, question, &second, (COLLEAGUE, 3)).await?;
    world.thaw(Part::Runner).await?;
    world.logs("runner-svc", "the record was taken over").await?;
    gets_nothing(&world, &second, 3).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_owner_left_running_is_ended_when_it_comes_back() -> Result<()> {
    let (world, mut second) = owned().await?;
    let question = in_the_middle(&world).await?;
    let (_, old) = begun(&world, &second, 0)?;
    world.kill_runner().await?;
    given_to_the_second(&world, &mut second).await?;
    assert_eq!(another_begins(&world, &second).await?, COLLEAGUE);
    assert!(processes::is_alive(old), "an exclusive project has no fence");
    world.start_runner().await?;
    world.until("the end of the old claude", || !processes::is_alive(old)).await?;
    world.release("go")?;
    goes_on_at(&world, question, &second, (COLLEAGUE, 3)).await?;
    gets_nothing(&world, &second, 3).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_gets_its_project_back_goes_on() -> Result<()> {
    let (world, mut second) = owned().await?;
    let question = in_the_middle(&world).await?;
    given_to_the_second(&world, &mut second).await?;
    assert_eq!(another_begins(&world, &second).await?, COLLEAGUE);
    let said = carried_out(&world, &["owner", "app", FIRST]).await?;
    assert_eq!(said, "host owns app; 1 run was moved\n");
    world.notes("a third claude", |ledger| ledger.count("wait") == 3).await?;
    assert_eq!(begun(&world, &second, 2)?.0, FIRST);
    world.release("go")?;
    goes_on_at(&world, question, &second, (FIRST, 4)).await?;
    world.nothing_is_left().await?;
    ends_well(&world, second).await
}
