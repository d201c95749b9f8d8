//! Answers that are longer than a message of Discord, than a record, and than a thread should have.

use anyhow::{Context as _, Result, anyhow};
use harness::anthropic_sim::script::big_text;
use harness::discord_sim::{FaultKind, FaultRule, Message, Permissions};
use harness::{Question, World};

use crate::scene::{in_the_middle, is_big_text};

/// As many pages as there are.
const ALL_PAGES: &str = "[answers]\nmax_pages = 100\n";

/// Discord's limit for a bot's message.
const PAGE_MAX: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_longer_than_a_record_arrives_whole_in_pages() -> Result<()> {
    let world = World::builder().gateway_toml(ALL_PAGES).start().await?;
    let question = world.say("[[big 100000]]")?;
    let pages = question.pages().await?;
    assert!(pages.iter().all(|page| page.chars().count() <= PAGE_MAX));
    is_big_text(&pages, 100_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_in_order_under_the_rate_limits_of_discord() -> Result<()> {
    let world = World::builder().rate_limits().start().await?;
    let question = world.say("[[big 12000]]")?;
    let pages = question.pages().await?;
    is_big_text(&pages, 12_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_once_and_in_order_when_both_services_die_between_them() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    // At the third page: behind the mark of having seen it, the thread and two pages.
    world.start_gateway_to_die_at("post.sent:5").await?;
    let question = world.say("[[big 12000]]")?;
    world.gateway_dies().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let pages = question.pages().await?;
    is_big_text(&pages, 12_000);
    Ok(())
}

/// The one message that an answer with a file became, and what is in the file.
fn file_of(world: &World, question: Question<'_>) -> Result<(Message, String)> {
    let said = world.discord().messages(question.thread()).into_iter();
    let mut said = said.filter(|it| it.is_bot && !it.attachments.is_empty());
    let message = said.next().context("no file")?;
    assert!(said.next().is_none(), "the file came twice");
    let file = &message.attachments[0];
    let bytes = world.discord().view(|view| view.guild.file(file.id).cloned());
    let bytes = bytes.context("the file is nowhere")?;
    assert_eq!((file.filename.as_str(), file.size), ("answer.md", bytes.len() as u64));
    Ok((message, String::from_utf8(bytes.to_vec())?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_answer_is_its_first_page_and_a_file_with_the_whole() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[big 300000]]")?;
    let pages = question.pages().await?;
    assert_eq!(pages.len(), 1, "{pages:?}");
    let (message, file) = file_of(&world, question)?;
    assert!(message.content.chars().count() <= PAGE_MAX && message.nonce.is_some());
    assert_eq!(file, big_text(300_000));
    let (first, _) = pages[0].split_once("\n-# 📄").context("the page says nothing of a file")?;
    assert!(file.starts_with(first), "{first}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_posted_once_whatever_the_gateway_meets() -> Result<()> {
    let posts = "/channels/{id}/messages";
    for kind in [FaultKind::StatusAfter(502), FaultKind::CutAfter, FaultKind::CutBefore] {
        let world = World::start().await?;
        world.discord().fault(FaultRule::once("POST", posts, kind.clone()));
        let question = world.say("[[big 60000]]")?;
        assert_eq!(question.mark().await?, "✅");
        assert_eq!(file_of(&world, question)?.1, big_text(60_000), "{kind:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_killed_gateway_had_posted_is_not_posted_again() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    // Behind the mark of having seen it, and the thread.
    world.start_gateway_to_die_at("post.sent:3").await?;
    let question = world.say("[[big 60000]]")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(file_of(&world, question)?.1, big_text(60_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_waits_until_the_bot_may_attach_one() -> Result<()> {
    let world = World::builder().gateway_toml("[posting]\nparked_pause_s = 1\n").start().await?;
    world.discord().deny_bot(world.channel(), Permissions::ATTACH_FILES)?;
    let question = world.say("[[big 60000]]")?;
    world
        .sees("that the channel is told", |view| {
            let mut said = view.guild.messages(world.channel());
            said.any(|it| it.content.contains("I have no permission for that")).then_some(())
        })
        .await?;
    world.discord().deny_bot(world.channel(), Permissions::default())?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(file_of(&world, question)?.1, big_text(60_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fences_and_tables_of_an_answer_are_whole_on_each_page() -> Result<()> {
    let world = World::start().await?;
    let code = "let x = 1;\n".repeat(300);
    let text = format!("Look:\n```rust\n{code}```\n\n| a | b |\n|---|---|\n| one | two |\n");
    let question = world.say(&format!("[[say {text}]]"))?;
    let pages = question.pages().await?;
    assert!(1 < pages.len());
    assert!(pages.iter().all(|page| page.matches("```").count().is_multiple_of(2)), "{pages:?}");
    assert!(pages[1].starts_with("```rust\nlet x = 1;\n"), "{}", pages[1]);
    assert!(pages.concat().contains("a   | b\n----+----\none | two"), "{pages:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_answer_pings_nobody() -> Result<()> {
    let world = World::start().await?;
    let alice = world.discord().user("alice");
    let question = world.say(&format!("[[say @everyone and <@{alice}>, look]]"))?;
    assert!(question.answer().await?.contains("@everyone"));
    for message in world.discord().messages(question.thread()).iter().filter(|it| it.is_bot) {
        assert!(!message.mention_everyone && message.mentions.is_empty(), "{message:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_took_stands_under_it() -> Result<()> {
    let world = World::start_real().await?;
    let question = in_the_middle(&world).await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    let said = world.discord().messages(question.thread()).into_iter();
    let feet: Vec<String> = said
        .filter(|it| it.is_bot)
        .filter_map(|it| Some(it.content.rsplit_once('\n')?.1.to_owned()))
        .collect();
    let [first, second] = &feet[..] else { return Err(anyhow!("{feet:?}")) };
    for foot in [first, second] {
        assert!(harness::is_footer(foot) && foot.ends_with(" · host"), "{foot}");
        assert!(foot.contains(" · <$0.01 · opus"), "{foot}");
    }
    Ok(())
}
