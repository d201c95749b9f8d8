//! Answers that are longer than a message of Discord, and longer than a record.

use anyhow::Result;
use harness::World;
use harness::anthropic_sim::script::big_text;

/// Discord's limit for a bot's message.
const PAGE_MAX: usize = 2000;

fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_longer_than_a_record_arrives_whole_in_pages() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[big 100000]]")?;
    let pages = question.pages().await?;
    assert!(pages.iter().all(|page| page.chars().count() <= PAGE_MAX));
    assert_eq!(without_space(&pages.concat()), without_space(&big_text(100_000)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_in_order_under_the_rate_limits_of_discord() -> Result<()> {
    let world = World::builder().rate_limits().start().await?;
    let question = world.say("[[big 12000]]")?;
    let pages = question.pages().await?;
    assert_eq!(without_space(&pages.concat()), without_space(&big_text(12_000)));
    Ok(())
}
