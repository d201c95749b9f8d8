//! Two runners that share a project: who gets the work, who goes on with it when the other dies, stands
//! still or is cut off, and that there is one answer and one claude at work at a time.
//!
//! The second runner, `build-2`, mostly holds the run, so that it can be cut off alone; the first one
//! takes over. A take-over needs the times of tests, which the harness sets.

use anyhow::{Context as _, Result};
use harness::{Colleague, Question, Way, World, processes};

use crate::scene::ends_well;

/// A question whose claude is held by the gate `go` at the second runner, the first one is there too.
pub(crate) async fn held_by_the_second<'w>(
    world: &'w World,
    second: &mut Colleague,
) -> Result<Question<'w>> {
    second.start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    world.start_runner().await?;
    Ok(question)
}

/// A world without its runner, and a second one that is not started.
pub(crate) async fn two_hosts() -> Result<(World, Colleague)> {
    let world = World::builder().shared().slots(1).without_runner().start().await?;
    let second = world.colleague().await?;
    Ok((world, second))
}

/// The answer comes once; a second answer behind it proves that no more is to come.
pub(crate) async fn is_answered_once(question: Question<'_>) -> Result<()> {
    assert_eq!(question.mark().await?, "✅");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let times = |text: &str| said.iter().filter(|said| *said == text).count();
    assert_eq!((times("the answer"), times("the second")), (1, 1), "{said:?}");
    Ok(())
}

/// Waits for the claude that the other runner starts, lets it go on, and waits for the one answer.
async fn is_taken_over(world: &World, question: Question<'_>) -> Result<()> {
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 3, "two for the first question");
    Ok(())
}

/// The claude of the second runner was gone, for good, before the other one began.
fn was_gone_before(world: &World, second: &Colleague) -> Result<()> {
    let ledger = world.ledger();
    let begun = ledger.all("begin");
    let begun = begun.get(1).context("no second claude")?.fields.get("time_ns");
    let begun = begun.and_then(serde_json::Value::as_u64).context("no time in the ledger")?;
    let gone = second.claude_gone_ns()?;
    assert!(gone < u128::from(begun), "two at once: one until {gone}, one from {begun}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runners_of_a_shared_project_divide_its_work() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let one = held_by_the_second(&world, &mut second).await?;
    // The second one's only slot is in use.
    let two = world.say("[[wait go]] [[say the answer]]")?;
    world.notes("two claudes", |ledger| ledger.count("wait") == 2).await?;
    let there = world.worktrees_of(&second, &one.thread().to_string()).map(|it| it.is_dir());
    assert_eq!(there, [false, true]);
    let there = world.worktrees_of(&second, &two.thread().to_string()).map(|it| it.is_dir());
    assert_eq!(there, [true, false]);
    world.release("go")?;
    is_answered_once(one).await?;
    is_answered_once(two).await?;
    assert_eq!(world.ledger().count("begin"), 4);
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_waits_for_another_uses_no_slot() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let held = held_by_the_second(&world, &mut second).await?;
    // The bus forgets whom it has given what; the holder is well.
    loop {
        world.deliver_shared_again().await?;
        let seen = || world.log("runner-svc").contains("it is watched");
        if processes::wait_until(std::time::Duration::from_secs(10), seen) {
            break;
        }
    }
    let other = world.say("[[say the other]]")?;
    assert_eq!(other.answer().await?, "the other");
    world.release("go")?;
    is_answered_once(held).await?;
    assert_eq!(world.ledger().count("begin"), 3, "one for each question");
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_of_a_shared_project_that_was_killed_goes_on_with_its_claude() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.kill()?;
    second.start().await?;
    world.logs(harness::COLLEAGUE, "adopted").await?;
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_host_held_is_taken_over() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.is_lost()?;
    is_taken_over(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stands_still_loses_its_claude_first_and_its_run_then() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.freeze()?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    was_gone_before(&world, &second)?;
    second.thaw()?;
    world.logs(harness::COLLEAGUE, "the record was taken over").await?;
    is_taken_over(&world, question).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_without_its_runner_is_ended_at_the_fence() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.kill()?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    was_gone_before(&world, &second)?;
    second.start().await?;
    is_taken_over(&world, question).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stands_still_ends_its_old_claude_when_it_goes_on() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    let old = world.ledger().all("begin").first().context("no claude")?.pid;
    second.freeze()?;
    let host = second.beside();
    for process in &host {
        processes::freeze(process.pid);
    }
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    assert!(processes::is_alive(old));
    for process in &host {
        processes::thaw(process.pid);
    }
    world.until("the end of the old claude", || !processes::is_alive(old)).await?;
    second.thaw()?;
    is_taken_over(&world, question).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_cut_off_loses_its_claude_first_and_its_run_then() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.proxy.make(Way::Silent);
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    was_gone_before(&world, &second)?;
    second.proxy.make(Way::Open);
    is_taken_over(&world, question).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_runners_die_the_first_that_returns_goes_on() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    world.kill_runner().await?;
    second.is_lost()?;
    second.start().await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.start_runner().await?;
    is_taken_over(&world, question).await?;
    ends_well(&world, second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_whose_shared_consumer_is_missing_refuses_to_start() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    world.forget_shared_consumer().await?;
    let said = second.is_refused()?;
    assert!(said.contains("provision --runner build-2 --shared app"), "{said}");
    assert!(said.contains("consumer project-app of WORK is missing"), "{said}");
    world.provision().await?;
    second.start().await?;
    assert_eq!(world.say("[[say hello]]")?.answer().await?, "hello");
    ends_well(&world, second).await
}
