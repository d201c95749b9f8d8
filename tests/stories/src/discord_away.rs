//! Discord is away, or does not let the bot in, for as long as it likes: nothing is lost, nothing is
//! said twice, and nobody has to start anything again.

use std::time::Duration;

use anyhow::Result;
use harness::discord_sim::{FaultKind, FaultRule, Permissions};
use harness::{Builder, World, said};

use crate::scene::{in_the_middle, is_answered_once};

/// The route by which all is posted.
const POSTS: &str = "/channels/{id}/messages";
/// More requests than a story ever makes.
const ALL: u32 = 10_000;
/// Short enough to see what comes after each of them.
const SHORT: &str = "[posting]\nlease_s = 4\nnonce_window_s = 5\nlocked_pause_s = 1\n";

fn short() -> Builder {
    World::builder().gateway_toml(SHORT)
}

fn trouble(world: &World, times: u32, kind: FaultKind) {
    world.discord().fault(FaultRule::once("POST", POSTS, kind).times(times));
}

/// How often something was posted, or was looked for that may have been.
fn tries(world: &World) -> u64 {
    let of = |method: &str| world.discord().requests_of(&format!("{method} {POSTS}"));
    of("POST") + of("GET")
}

async fn is_answered_once_despite(times: u32, kind: FaultKind) -> Result<()> {
    let world = short().start().await?;
    trouble(&world, times, kind);
    is_answered_once(world.say("[[say the answer]]")?).await
}

/// Whatever the bot asks is refused like this, until somebody mends it.
async fn waits_for_the_operator(kind: FaultKind) -> Result<()> {
    let world = short().start().await?;
    let first = in_the_middle(&world).await?;
    let second = first.follow_up("[[say the second]]").await?;
    second.is_seen().await?;
    let everything = FaultRule { method: None, path: String::new(), times: ALL, kind };
    world.discord().fault(everything);
    world.release("go")?;
    world.notes("both results", |ledger| ledger.count("result") == 2).await?;
    let stopped = |(status, says): (u16, String)| status == 503 && says.contains("posting: ");
    world.gateway_page_is("/readyz", "that posting stopped", stopped).await?;
    let before = tries(&world);
    world.until("more tries", || before + 2 <= tries(&world)).await?;
    assert_eq!(first.said_in_thread()?, [""; 0]);
    let log = world.log("gateway-svc");
    assert!(log.contains("Discord does not let the bot in"), "{log}");
    world.discord().clear_faults();
    assert_eq!(second.mark().await?, "✅");
    assert_eq!(first.said_in_thread()?, ["the answer", "the second"]);
    world.gateway_page_is("/readyz", "that it is ready", |(status, _)| status == 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_wait_for_a_good_token_and_then_come_in_order() -> Result<()> {
    waits_for_the_operator(FaultKind::StatusBefore(401)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_wait_while_something_in_between_shuts_the_bot_out() -> Result<()> {
    waits_for_the_operator(FaultKind::PageBefore(403)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_in_an_outage_works_when_it_is_over() -> Result<()> {
    let world = World::builder().lenient().without_gateway().start().await?;
    let everything = FaultRule {
        method: None,
        path: String::new(),
        times: ALL,
        kind: FaultKind::StatusBefore(503),
    };
    world.discord().fault(everything);
    let starts = async { world.start_gateway().await };
    let ends = async {
        let asked = || world.log("gateway-svc").matches("where its gateway is").count();
        world.until("two tries", || 2 <= asked()).await?;
        world.discord().clear_faults();
        anyhow::Ok(())
    };
    tokio::try_join!(starts, ends)?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_may_last_as_long_as_it_likes() -> Result<()> {
    let world = short().start().await?;
    let question = in_the_middle(&world).await?;
    world.discord().unavailable();
    world.release("go")?;
    let tries = || world.log("gateway-svc").matches("will be posted again").count();
    world.until("many tries", || 6 <= tries()).await?;
    world.discord().resume();
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_answers_of_an_outage_of_all_are_not_lost() -> Result<()> {
    let world = short().start().await?;
    let question = in_the_middle(&world).await?;
    world.discord().stop_accepting();
    let other = world.say("[[say another]]")?;
    world.release("go")?;
    world.notes("both results", |ledger| ledger.count("result") == 2).await?;
    world.discord().resume();
    assert_eq!(other.answer().await?, "another");
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_proxy_in_place_of_an_answer_loses_nothing() -> Result<()> {
    let world = short().start().await?;
    for status in [400, 404, 502] {
        trouble(&world, 1, FaultKind::PageBefore(status));
    }
    is_answered_once(world.say("[[say the answer]]")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_doubles_nothing() -> Result<()> {
    is_answered_once_despite(2, FaultKind::GarbledAfter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discord_that_answers_too_late_doubles_nothing() -> Result<()> {
    is_answered_once_despite(2, FaultKind::AnswerLate(Duration::from_secs(60))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discord_that_acts_too_late_doubles_nothing() -> Result<()> {
    is_answered_once_despite(2, FaultKind::Delay(Duration::from_secs(3))).await
}

/// Longer than the whole time of a post.
const LONG: Duration = Duration::from_secs(6);

/// Two answers come once each, and no request before Discord wanted it.
async fn waits_as_told(kind: FaultKind) -> Result<()> {
    let world = short().start().await?;
    let first = in_the_middle(&world).await?;
    let second = world.say("[[think hm]] [[wait second]] [[say the answer]]")?;
    world.reached("second").await?;
    second.thread_name().await?;
    trouble(&world, 1, kind);
    world.release("go")?;
    // A request that is on its way at that moment knows of no limit.
    world.sees("the limit", |view| (view.faults_left == 0).then_some(())).await?;
    world.release("second")?;
    for question in [first, second] {
        assert_eq!(question.answer().await?, "the answer");
        assert_eq!(question.said_in_thread()?, ["the answer"]);
    }
    assert_eq!(world.discord().view(|view| view.early_requests), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_longer_than_a_lease_is_obeyed() -> Result<()> {
    waits_as_told(FaultKind::RateLimited { retry_after: LONG }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_others_have_used_up_is_obeyed() -> Result<()> {
    waits_as_told(FaultKind::RateLimitedByOthers { retry_after: LONG }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_whole_bot_is_obeyed_in_every_thread() -> Result<()> {
    waits_as_told(FaultKind::RateLimitedGlobally { retry_after: LONG }).await
}

/// Discord forgets a nonce at once; the gateway trusts it for five seconds.
fn forgetful() -> Builder {
    short().discord(|options| options.nonce_window = Duration::from_millis(1))
}

/// A post of which nobody hears whether it was made, and then no post until Discord's memory of it
/// cannot be trusted any more: four pauses are more than five seconds.
fn of_unknown_fate(world: &World, first: FaultKind) {
    trouble(world, 1, first);
    trouble(world, 4, FaultKind::StatusBefore(503));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_of_unknown_fate_is_found_when_its_nonce_is_forgotten() -> Result<()> {
    let world = forgetful().start().await?;
    of_unknown_fate(&world, FaultKind::StatusAfter(502));
    is_answered_once(world.say("[[say the answer]]")?).await?;
    assert!(world.log("gateway-svc").contains("was posted already"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_answer_a_second_time_is_not_taken_for_the_first() -> Result<()> {
    for made in [FaultKind::StatusBefore(502), FaultKind::StatusAfter(502)] {
        let world = forgetful().start().await?;
        let first = world.say("[[say the same]]")?;
        assert_eq!(first.answer().await?, "the same");
        of_unknown_fate(&world, made);
        let second = first.follow_up("[[say the same]]").await?;
        assert_eq!(second.answer().await?, "the same");
        assert_eq!(first.said_in_thread()?, ["the same", "the same"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_found_behind_more_messages_than_a_page_has() -> Result<()> {
    let world = forgetful().start().await?;
    let question = in_the_middle(&world).await?;
    let discord = world.discord();
    let other = discord.other_bot("chatterbox");
    for number in 0..120 {
        discord.say(question.thread(), other, &format!("number {number}")).expect("a message");
    }
    of_unknown_fate(&world, FaultKind::StatusAfter(502));
    world.release("go")?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_of_unknown_fate_waits_until_it_can_be_looked_for() -> Result<()> {
    let world = forgetful().start().await?;
    let question = in_the_middle(&world).await?;
    let (discord, channel) = (world.discord(), world.channel());
    discord.deny_bot(channel, Permissions::READ_MESSAGE_HISTORY).expect("denied");
    of_unknown_fate(&world, FaultKind::StatusAfter(502));
    world.release("go")?;
    world.logs("gateway-svc", "no right to read the message history").await?;
    discord.deny_bot(channel, Permissions::default()).expect("allowed");
    is_answered_once(question).await?;
    assert!(world.log("gateway-svc").contains("was posted already"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_of_unknown_fate_is_found_by_the_next_gateway() -> Result<()> {
    let world = forgetful().start().await?;
    let question = in_the_middle(&world).await?;
    trouble(&world, 1, FaultKind::StatusAfter(502));
    trouble(&world, ALL, FaultKind::StatusBefore(503));
    world.release("go")?;
    let thread = question.thread();
    let shown = |it: &harness::discord_sim::Message| it.is_bot && said(it) == Some("the answer");
    world.sees("it", |view| view.guild.messages(thread).find(|it| shown(it)).map(|_| ())).await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    // No post is let through: that it was made can only be found.
    assert_eq!(question.mark().await?, "✅");
    world.discord().clear_faults();
    is_answered_once(question).await
}

/// Reactions under the messages of a channel share one limit, and so do threads that begin there.
#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_in_a_channel_run_into_no_limit() -> Result<()> {
    let world = World::builder().rate_limits().start().await?;
    let asked: Result<Vec<_>> = (0..20).map(|_| world.say("[[say the answer]]")).collect();
    for question in asked? {
        assert_eq!(question.mark().await?, "✅");
        assert_eq!(question.said_in_thread()?, ["the answer"]);
    }
    assert_eq!(world.discord().view(|view| view.refused_requests), 0);
    Ok(())
}
