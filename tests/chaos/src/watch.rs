//! What can be seen from outside: Discord, the ledger of the claudes, and what was left behind.

use std::collections::BTreeMap;
use std::iter;

use anyhow::Result;
use harness::Ledger;
use harness::discord_sim::MessageId;
use harness::{jetstream, said};

use crate::check::{Asked, Did, Observed};
use crate::fleet::Fleet;
use crate::plan::PROJECTS;

/// The mark of a message that was accepted; it says nothing of an outcome.
const ACCEPTED: &str = "👀";
/// The streams that hold work.
const WORK: &str = "$JS.API.STREAM.INFO.WORK";

/// Whether nothing is at work and everything has its mark.
pub(crate) async fn is_at_rest(fleet: &Fleet, asked: &BTreeMap<u32, MessageId>) -> Result<bool> {
    let ended =
        asked.values().all(|message| marks(fleet, *message).iter().any(|it| it != ACCEPTED));
    Ok(ended && left(fleet).await?.is_empty())
}

/// Everything that is to be checked.
pub(crate) async fn observe(fleet: &Fleet, asked: &BTreeMap<u32, MessageId>) -> Result<Observed> {
    let discord = fleet.discord();
    let bot = discord.bot();
    let mut seen = Observed { left: left(fleet).await?, ..Observed::default() };
    let channels = PROJECTS.map(|name| discord.channel(name));
    let unsent = discord.unsent();
    for (number, message) in asked {
        let channel = discord.message(*message).map(|message| message.channel);
        let thread = discord.thread_of(*message).or(channel);
        for place in thread.into_iter().chain(channels) {
            let posts = discord.messages(place).into_iter().filter(|post| post.author == bot);
            let posts = posts.filter_map(|post| said(&post).map(str::to_owned)).collect();
            seen.threads.entry(place.to_string()).or_insert(posts);
        }
        let thread = thread.map(|thread| thread.to_string());
        let unsent = unsent.contains(&message.to_string());
        seen.asked.insert(*number, Asked { thread, marks: marks(fleet, *message), unsent });
    }
    let ledger = Ledger::read(&fleet.folder().ledger());
    seen.did = ledger
        .iter()
        .map(|noted| Did {
            event: noted.event.clone(),
            pid: noted.pid,
            session: noted.session.clone(),
            prompt: noted.text("prompt").to_owned(),
        })
        .collect();
    Ok(seen)
}

/// The bot's marks under a message.
fn marks(fleet: &Fleet, message: MessageId) -> Vec<String> {
    let bot = fleet.discord().bot();
    let reactions = fleet.discord().reactions(message).into_iter();
    reactions.filter(|it| it.users.contains(&bot)).map(|it| it.emoji).collect()
}

/// What is still there, each in a few words.
async fn left(fleet: &Fleet) -> Result<Vec<String>> {
    let processes = fleet.besides().into_iter().map(|it| format!("{} {}", it.pid, it.command));
    let spools = fleet.spools().into_iter().map(|spool| format!("spool {}", spool.display()));
    let mut left: Vec<String> = processes.chain(spools).collect();
    let work = jetstream::ask(&fleet.bus().into(), WORK).await?;
    let messages = work["state"]["messages"].as_u64().unwrap_or(u64::MAX);
    left.extend(iter::once(messages).filter(|it| *it != 0).map(|it| format!("{it} in WORK")));
    Ok(left)
}
