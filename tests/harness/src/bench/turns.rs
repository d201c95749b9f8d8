//! Follow-ups, one after another, in threads that have their worktrees: where the time of a run goes.
//!
//! | moment | taken where |
//! |---|---|
//! | the message's frame is sent | before it is handed to the simulated Discord |
//! | work published, record claimed, record ended | when a listener beside the services hears it from nats-server; it is stored a moment later |
//! | claude is there | the first line of claude-sim's `main` |
//! | claude's result line | right before claude-sim prints it |
//! | the answer is posted | when the simulated Discord has taken it |
//!
//! Before each follow-up the one before it is swept, so none waits for another.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::Noted;
use harness::discord_sim::ChannelId;
use schemas::streams::{RUNS, bucket_subject};
use serde_json::Value;
use tokio::time::timeout;

use crate::nats::Nats;
use crate::place::Place;
use crate::samples::{Samples, now_ns};

/// Threads that the follow-ups are written in, in turn.
const THREADS: usize = 5;
/// What a follow-up publishes: its work, and the record claimed, running and ended.
const PUBLISHED: usize = 4;
/// How long that may take.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// How long each part of a follow-up took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    /// From the message's frame to claude's first line of code.
    pub(crate) exec: Samples,
    /// The first part of it: until the work is published.
    pub(crate) work: Samples,
    /// The second: until the record is claimed.
    pub(crate) claim: Samples,
    /// The third: until claude is there.
    pub(crate) claude: Samples,
    /// From claude's result line to the answer in Discord.
    pub(crate) post: Samples,
    /// The first part of it: until the record is ended.
    pub(crate) record: Samples,
    /// The second: until the answer is posted.
    pub(crate) answer: Samples,
}

/// Measures so many follow-ups.
///
/// # Errors
///
/// When one of them gets no answer.
pub(crate) async fn measure(place: &mut Place, count: usize) -> Result<Turns> {
    let threads = open_threads(place).await?;
    let mut ear = Nats::connect(place.stack.nats_address()).await?;
    ear.subscribe("work.>").await?;
    ear.subscribe(&bucket_subject(RUNS, &">")).await?;
    let mut turns = Turns::default();
    for turn in 0..count {
        place.is_swept().await?;
        place.noted()?;
        turns.one(place, &mut ear, threads[turn % threads.len()]).await?;
    }
    place.is_swept().await?;
    Ok(turns)
}

/// Threads that have a worktree each.
async fn open_threads(place: &mut Place) -> Result<Vec<ChannelId>> {
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let message = place.ask(place.channel(0))?;
        threads.push(ChannelId::from(message));
    }
    let wanted: Vec<_> = threads.iter().map(|thread| (*thread, 1)).collect();
    place.posted(&wanted).await?;
    Ok(threads)
}

impl Turns {
    async fn one(&mut self, place: &mut Place, ear: &mut Nats, thread: ChannelId) -> Result<()> {
        let before = place.posts(thread);
        let sent = now_ns();
        place.ask(thread)?;
        let wanted = [(thread, before + 1)];
        let (heard, posted) = tokio::join!(hear(ear), place.posted(&wanted));
        let ([work, claimed, ended], posted) = (heard?, posted?);
        let noted = place.noted()?;
        let begun = time(&noted, "begin", "started_ns")?;
        let result = time(&noted, "result", "time_ns")?;
        self.exec.between(sent, begun);
        self.work.between(sent, work);
        self.claim.between(work, claimed);
        self.claude.between(claimed, begun);
        self.post.between(result, posted);
        self.record.between(result, ended);
        self.answer.between(ended, posted);
        Ok(())
    }
}

/// The moments at which the work, the claimed record and the ended one were published.
async fn hear(ear: &mut Nats) -> Result<[i64; 3]> {
    let mut moments = Vec::new();
    while moments.len() < PUBLISHED {
        let message = timeout(HEARD_WITHIN, ear.next()).await.context("nothing is published")??;
        let is_ours = message.subject.starts_with("work.") || is_record(&message.body);
        // Runners say in RUNS that they have their names, too; publishing again changes nothing.
        if is_ours && (moments.is_empty() || !message.subject.starts_with("work.")) {
            moments.push(now_ns());
        }
    }
    Ok([moments[0], moments[1], moments[PUBLISHED - 1]])
}

fn is_record(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|it| it["run"].is_string())
}

/// A moment of the one claude that there was.
fn time(noted: &[Noted], event: &str, field: &str) -> Result<i64> {
    let found = noted.iter().find(|noted| noted.event == event);
    let moment = found.and_then(|noted| noted.fields.get(field)?.as_i64());
    moment.with_context(|| format!("claude-sim noted no {event}"))
}
