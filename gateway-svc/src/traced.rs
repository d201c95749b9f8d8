//! What the gateway tells the trace of a message: it was accepted, published, folded, posted.
//!
//! All ids are made from the `traceparent` that is stored with the run, so whichever gateway does a
//! thing, in whatever life, tells it of the same trace. It waits for nobody and decides nothing, and
//! no word of a person is in it unless the operator wants that.

use platform::clock::now_ms;
use platform::telemetry::{self, Ids, Kind, Span};
use schemas::ids::RunId;
use schemas::names::{attribute as is, span};
use schemas::record::{Outcome, Record};
use schemas::streams::{RUNS, RunKey, WORK};

use crate::outbox::{Action, Row};
use crate::store::{NewRun, Released, Store};

/// Who is asked where something is posted.
const DISCORD: &str = "discord.com";

/// The root of a new trace, as it is stored with its run.
pub(crate) fn root() -> String {
    Ids::root().traceparent()
}

/// A message became a run, which was looked at since `heard_ms` and stored since `storing_ms`.
pub(crate) fn accepted(new: &NewRun, store: &Store, (heard_ms, storing_ms): (i64, i64)) {
    let Some(root) = new.trace.as_deref().and_then(Ids::parse) else { return };
    let now = now_ms();
    Span::new(span::STORE_RUN, root.named("store"), Some(&root), (storing_ms, now))
        .kind(Kind::Client)
        .with(is::DB_SYSTEM, store.system())
        .with(is::DB_SUMMARY, span::STORE_RUN)
        .tell();
    Span::new(span::ACCEPT, root, None, (heard_ms, now))
        .kind(Kind::Consumer)
        .with(is::MESSAGING_SYSTEM, "discord")
        .with(is::MESSAGING_TYPE, "process")
        .with(is::MESSAGING_NAME, "process")
        .with(is::DESTINATION, new.asked.0.to_string())
        .with(is::MESSAGE, new.asked.1.to_string())
        .with(is::RUN, new.run.to_string())
        .with(is::PROJECT, new.project.to_string())
        .with_message(is::QUESTION, "user", &new.prompt)
        .tell();
}

/// The span of a run's publishing in its generation, whose child the run is at its runner.
pub(crate) fn publishing(released: &Released) -> Option<Ids> {
    let root = Ids::parse(released.trace.as_deref()?)?;
    Some(root.named(&format!("publish/{}", released.request.generation)))
}

/// The work is in WORK since now.
pub(crate) fn published(released: &Released, began_ms: i64) {
    let Some(ids) = publishing(released) else { return };
    let root = released.trace.as_deref().and_then(Ids::parse);
    let request = &released.request;
    Span::new(span::PUBLISH, ids, root.as_ref(), (began_ms, now_ms()))
        .kind(Kind::Producer)
        .with(is::MESSAGING_SYSTEM, "nats")
        .with(is::MESSAGING_TYPE, "send")
        .with(is::MESSAGING_NAME, "publish")
        .with(is::DESTINATION, WORK)
        .with(is::RUN, request.run.to_string())
        .with(is::PROJECT, request.project.to_string())
        .with(is::GENERATION, i64::from(request.generation.0))
        .tell();
}

/// An outcome became what Discord is owed.
pub(crate) fn folded(key: &RunKey, record: &Record, began_ms: i64) {
    let Some(run) = record.trace.as_deref().and_then(Ids::parse) else { return };
    let Some(outcome) = record.outcome() else { return };
    Span::new(span::FOLD, run.named("fold"), Some(&run), (began_ms, now_ms()))
        .kind(Kind::Consumer)
        .with(is::MESSAGING_SYSTEM, "nats")
        .with(is::MESSAGING_TYPE, "process")
        .with(is::MESSAGING_NAME, "process")
        .with(is::DESTINATION, RUNS)
        .with(is::RUN, key.run.to_string())
        .with(is::PROJECT, key.project.to_string())
        .with(is::OUTCOME, word(outcome))
        .tell();
}

/// How a run ended, in a word.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered { .. } => "answered",
        Outcome::Failed { .. } => "failed",
        Outcome::Stopped { .. } => "stopped",
    }
}

/// A row of a run was tried since `began_ms`, for the first time when `tries` is 0.
pub(crate) async fn posted(store: &Store, row: &Row, tries: i64, began_ms: i64, went_well: bool) {
    if !telemetry::is_sent() {
        return;
    }
    let Some(run) = run_of(row) else { return };
    // What cannot be read now is missing in the trace, and nowhere else.
    let Ok(Some(trace)) = store.trace_of(&run).await else { return };
    let Some(root) = Ids::parse(&trace) else { return };
    let (method, template) = request(&row.action);
    let ids = root.named(&format!("row/{}/{tries}", row.name));
    let span = Span::new(format!("{method} {template}"), ids, Some(&root), (began_ms, now_ms()))
        .kind(Kind::Client)
        .with(is::METHOD, method)
        .with(is::TEMPLATE, template)
        .with(is::SERVER, DISCORD)
        .with(is::PORT, 443)
        .with(is::RUN, run.to_string())
        .with(is::ROW, row.name.clone())
        .with_some(is::RESENDS, (0 < tries).then_some(tries));
    if went_well { span.tell() } else { span.failed("refused").tell() }
}

/// The run that a row belongs to; what belongs to a thread has none.
fn run_of(row: &Row) -> Option<RunId> {
    row.name.split('/').next()?.parse().ok()
}

/// The request that a row becomes: its method, and its path with names in place of ids.
fn request(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::React { .. } => {
            ("PUT", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me")
        }
        Action::Unreact { .. } => {
            ("DELETE", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me")
        }
        Action::Thread { .. } => ("POST", "/channels/{channel}/messages/{message}/threads"),
        Action::Post { .. }
        | Action::Ask { .. }
        | Action::Upload { .. }
        | Action::Files { .. }
        | Action::Status { .. } => ("POST", "/channels/{channel}/messages"),
        Action::Delete { .. } => ("DELETE", "/channels/{channel}/messages/{message}"),
        Action::Edit { .. } => ("PATCH", "/channels/{channel}/messages/{message}"),
        Action::Rename { .. } => ("PATCH", "/channels/{channel}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_run_says_whose_it_is() {
        let action = Action::Rename { channel: "7".parse().unwrap(), name: "a".into() };
        let row = |name: &str| Row { name: name.into(), action: action.clone() };
        assert_eq!(run_of(&row("m7/1/answer")), Some("m7".parse().unwrap()));
        assert_eq!(run_of(&row("t7/notice")), None);
        assert_eq!(run_of(&row("away/7/1")), None);
    }
}
