//! The gateway dies at each of its points.

use anyhow::Result;
use harness::discord_sim::{BOT_ID, FaultKind, FaultRule};
use harness::{Question, World};

use super::{
    ALL_PAGES, AT_WORK, LONG, THREE_PAGES, is_answered_once, is_whole, nothing_more_comes,
};

/// A gateway that is to die at a point; the world is ready but for that.
async fn world_with_a_gateway_to_die_at(point: &str) -> Result<World> {
    let world = World::builder().gateway_toml(ALL_PAGES).without_gateway().start().await?;
    world.start_gateway_to_die_at(point).await?;
    Ok(world)
}

/// The gateway dies where it is to die, then at these further points, and then goes on.
async fn dies_and_then_at(world: &World, further: &[&str]) -> Result<()> {
    world.gateway_dies().await?;
    for point in further {
        world.start_gateway_to_die_at(point).await?;
        world.gateway_dies().await?;
    }
    world.start_gateway().await
}

async fn an_answer_survives(points: &[&str]) -> Result<()> {
    let world = world_with_a_gateway_to_die_at(points[0]).await?;
    let question = world.say("[[say the answer]]")?;
    dies_and_then_at(&world, &points[1..]).await?;
    is_answered_once(&world, question).await
}

async fn three_pages_survive(points: &[&str]) -> Result<()> {
    let world = world_with_a_gateway_to_die_at(points[0]).await?;
    let question = world.say(THREE_PAGES)?;
    dies_and_then_at(&world, &points[1..]).await?;
    is_whole(&world, question, 4500).await
}

macro_rules! survives {
    ($story:ident { $($name:ident: $($point:literal),+;)+ }) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            $story(&[$($point),+]).await
        }
    )+ };
}

// Rule 1: accepting; rule 3: publishing; the feed of rule 7.
survives! { an_answer_survives {
    a_question_survives_a_death_before_it_is_stored: "accept.heard";
    a_question_survives_a_death_after_it_is_stored: "accept.stored";
    a_question_survives_a_death_after_its_place_is_stored: "publish.placed";
    a_question_survives_a_death_before_it_is_published: "publish.read";
    a_question_survives_a_death_after_it_is_published: "publish.sent";
    an_answer_survives_a_death_when_a_record_came: "feed.got";
    an_answer_survives_a_death_before_it_is_folded: "feed.answer";
    an_answer_survives_a_death_after_it_is_folded: "feed.folded";
    an_answer_survives_two_deaths_before_it_is_folded: "feed.answer", "feed.answer";
} }

// Rule 10: posting. The rows of an answer of three pages are: 👀, the thread, three pages, the mark,
// and 👀 taken away.
survives! { three_pages_survive {
    three_pages_survive_a_death_with_the_thread_leased: "post.leased";
    three_pages_survive_a_death_before_the_first_is_sent: "post.noted:3";
    three_pages_survive_a_death_before_the_second_is_sent: "post.noted:4";
    three_pages_survive_a_death_after_the_eyes: "post.sent:1";
    three_pages_survive_a_death_after_the_thread_was_begun: "post.sent:2";
    three_pages_survive_a_death_after_the_first_was_sent: "post.sent:3";
    three_pages_survive_a_death_after_the_second_was_sent: "post.sent:4";
    three_pages_survive_a_death_after_the_third_was_sent: "post.sent:5";
    three_pages_survive_a_death_after_the_mark: "post.sent:6";
    three_pages_survive_a_death_after_the_first_was_stored: "post.stored:3";
    three_pages_survive_two_deaths_after_one_was_sent: "post.sent:3", "post.sent:1";
} }

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_survives_a_death_before_it_is_folded() -> Result<()> {
    let world = world_with_a_gateway_to_die_at("feed.answer").await?;
    let question = world.say(LONG)?;
    dies_and_then_at(&world, &[]).await?;
    is_whole(&world, question, 30_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_after_a_death_at_the_very_first_start_is_answered() -> Result<()> {
    let world = world_with_a_gateway_to_die_at("read.mapped").await?;
    world.gateway_dies().await?;
    let question = world.say("[[say the answer]]")?;
    world.start_gateway().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_survives_a_death_after_it_was_read_and_stored() -> Result<()> {
    let world = World::start().await?;
    world.kill_gateway().await?;
    let question = world.say("[[say the answer]]")?;
    world.start_gateway_to_die_at("read.stored").await?;
    dies_and_then_at(&world, &[]).await?;
    is_answered_once(&world, question).await
}

/// A question in a thread, from the time without a gateway, survives a death on the way to its
/// release.
async fn a_release_survives(point: &str) -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say the answer]]")?;
    assert_eq!(first.answer().await?, "the answer");
    world.kill_gateway().await?;
    let second = first.follow_up("[[say another]]").await?;
    world.start_gateway_to_die_at(point).await?;
    dies_and_then_at(&world, &[]).await?;
    assert_eq!(second.answer().await?, "another");
    nothing_more_comes(&world, first, &["the answer", "another"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_survives_a_death_before_its_thread_is_open() -> Result<()> {
    a_release_survives("gate.read").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_survives_a_death_after_its_thread_was_opened() -> Result<()> {
    a_release_survives("gate.opened").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_whose_owner_was_noted_by_a_dead_gateway_is_served() -> Result<()> {
    let world = world_with_a_gateway_to_die_at("owner.stored").await?;
    dies_and_then_at(&world, &[]).await?;
    let question = world.say("[[say the answer]]")?;
    is_answered_once(&world, question).await
}

/// How often the bot has replied to a message in the channel.
fn replies(world: &World, question: Question<'_>) -> usize {
    let said = world.discord().messages(world.channel()).into_iter();
    let replies = said.filter(|it| {
        let to = it.reference.and_then(|reference| reference.message);
        it.author == BOT_ID && to == Some(question.message())
    });
    replies.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = world_with_a_gateway_to_die_at("decline.stored").await?;
    let refused = world.say("one\0two")?;
    dies_and_then_at(&world, &[]).await?;
    assert!(refused.refusal().await?.contains("NUL"));
    is_answered_once(&world, world.say("[[say the answer]]")?).await?;
    assert_eq!(replies(&world, refused), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_commands_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = world_with_a_gateway_to_die_at("order.told").await?;
    let help = world.say("!help")?;
    dies_and_then_at(&world, &[]).await?;
    assert!(help.refusal().await?.contains("`!stop`"));
    is_answered_once(&world, world.say("[[say the answer]]")?).await?;
    assert_eq!(replies(&world, help), 1);
    Ok(())
}

/// A stop that is ordered survives a death on its way to the runner.
async fn a_stop_survives(point: &str) -> Result<()> {
    let world = world_with_a_gateway_to_die_at(point).await?;
    let question = world.say(AT_WORK)?;
    world.reached("go").await?;
    question.follow_up("!stop").await?;
    dies_and_then_at(&world, &[]).await?;
    assert_eq!(question.mark().await?, "⏹️");
    let said = question.said_in_thread()?;
    assert_eq!(said.len(), 2, "a word to the order, and one about the stop: {said:?}");
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    nothing_more_comes(&world, question, &said).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_survives_a_death_after_it_is_stored() -> Result<()> {
    a_stop_survives("order.stored").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_survives_a_death_after_it_is_published() -> Result<()> {
    a_stop_survives("publish.controlled").await
}

/// Discord takes the first page in no form; what is said instead survives this death.
async fn a_plain_page_survives(point: &str) -> Result<()> {
    let world = world_with_a_gateway_to_die_at(point).await?;
    let posts = "/channels/{id}/messages";
    // For the first try, and for the same row after a death before it was given up.
    let times = if point == "post.refused" { 2 } else { 1 };
    world
        .discord()
        .fault(FaultRule::once("POST", posts, FaultKind::StatusBefore(400)).times(times));
    let question = world.say("[[say the answer]]")?;
    dies_and_then_at(&world, &[]).await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_page_survives_a_death_before_the_first_is_given_up() -> Result<()> {
    a_plain_page_survives("post.refused").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_page_survives_a_death_after_the_first_was_given_up() -> Result<()> {
    a_plain_page_survives("post.given_up").await
}
