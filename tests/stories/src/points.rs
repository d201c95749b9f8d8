//! A service dies between two steps of the protocol, at every such place: what was asked is
//! answered once, and nothing is left in the queue or on the disk.
//!
//! The place is a named point in the service, which kills itself there. `runner.rs` has the points
//! of the runner, `asks.rs` those at which claude asks, `leases.rs` those of a runner that shares its
//! project, `carried.rs` those at which a conversation comes along, `files.rs` those at which files do;
//! `gateway.rs`, `late.rs`, `threads.rs`, `control.rs`, `rights.rs` and `status.rs` those of the gateway,
//! `moves.rs` and `keys.rs` those of its commands, by the rules of `docs/protocol.md`.

mod asks;
mod carried;
mod control;
mod files;
mod gateway;
mod keys;
mod late;
mod leases;
mod moves;
mod rights;
mod runner;
mod status;
mod threads;

use anyhow::Result;
use harness::{Question, World};

use crate::scene::is_big_text;

/// A question whose claude is at work until a gate is opened.
const AT_WORK: &str = "[[think hm]] [[wait go]] [[say the answer]]";
/// A question whose answer takes three messages.
const THREE_PAGES: &str = "[[big 4500]]";
/// A question whose answer is too long for a record.
const LONG: &str = "[[big 30000]]";
/// It comes in pages and not as a file.
const ALL_PAGES: &str = "[answers]\nmax_pages = 100\n";

/// The answer comes once; a second answer behind it proves that no more is to come, since what is
/// owed to a thread is done in order. Each question had one claude.
async fn is_answered_once(world: &World, question: Question<'_>) -> Result<()> {
    assert_eq!(question.answer().await?, "the answer");
    nothing_more_comes(world, question, &["the answer"]).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

/// The answer of so many characters comes whole, once.
async fn is_whole(world: &World, question: Question<'_>, characters: usize) -> Result<()> {
    let pages = question.pages().await?;
    is_big_text(&pages, characters);
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    nothing_more_comes(world, question, &pages).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

/// These are all words of the bot in the thread, also after a further answer, and nothing is left.
async fn nothing_more_comes(world: &World, question: Question<'_>, said: &[&str]) -> Result<()> {
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, [said, &["the second"]].concat());
    world.nothing_is_left().await
}
