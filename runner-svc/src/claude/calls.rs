//! Which tools claude used and when, from its own lines: for the trace of a run.
//!
//! claude says the time in each line of its conversation, so the journal alone tells when a tool was
//! called and when it was done, whoever was there to see it. Pure, bounded, and about nothing that
//! is decided.

use serde::Deserialize;

use super::{Block, Event};

/// The most calls of one claude that are told; a longer run is told by its first ones.
pub(crate) const CALLS_MAX: usize = 1000;

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The call's id.
    pub(crate) id: String,
    /// The tool.
    pub(crate) tool: String,
    /// What it was called with, in a line.
    pub(crate) object: String,
    /// The call that a sub-agent makes it for.
    pub(crate) within: Option<String>,
    /// When, in milliseconds since 1970.
    pub(crate) begin_ms: i64,
    /// When it was done, if it was.
    pub(crate) end_ms: Option<i64>,
    /// Whether it failed or was denied.
    pub(crate) failed: bool,
}

/// The calls of one claude.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    calls: Vec<Call>,
    /// The first and the last time that was said.
    times: Option<(i64, i64)>,
}

/// What every line of the conversation has.
#[derive(Deserialize)]
struct Stamped {
    timestamp: String,
}

impl Calls {
    /// Takes the next line of the journal.
    pub(crate) fn fold(&mut self, line: &[u8]) {
        let Ok(Stamped { timestamp }) = serde_json::from_slice(line) else { return };
        let Some(at_ms) = millis(&timestamp) else { return };
        let (first, _) = *self.times.get_or_insert((at_ms, at_ms));
        self.times = Some((first, at_ms));
        match Event::parse(line) {
            Event::Said { blocks, within, .. } => {
                for block in &blocks {
                    self.block(block, within.as_ref(), at_ms);
                }
            }
            Event::ToolResults(results) => {
                for result in &results {
                    let open = |call: &&mut Call| call.id == result.id && call.end_ms.is_none();
                    if let Some(call) = self.calls.iter_mut().find(open) {
                        (call.end_ms, call.failed) = (Some(at_ms), result.is_error);
                    }
                }
            }
            Event::Init(_)
            | Event::Lifecycle { .. }
            | Event::Echo { .. }
            | Event::Ask(_)
            | Event::OtherRequest { .. }
            | Event::AskCancelled { .. }
            | Event::ControlResponse(_)
            | Event::Result(_)
            | Event::RateLimit { .. }
            | Event::ApiRetry { .. }
            | Event::Compacted
            | Event::Other { .. }
            | Event::NotJson => {}
        }
    }

    fn block(&mut self, block: &Block, within: Option<&String>, begin_ms: i64) {
        let Block::ToolUse { id, name, object, .. } = block else { return };
        if self.calls.len() < CALLS_MAX {
            self.calls.push(Call {
                id: id.clone(),
                tool: name.clone(),
                object: object.clone(),
                within: within.cloned(),
                begin_ms,
                end_ms: None,
                failed: false,
            });
        }
    }

    /// The calls, in the order in which they were made.
    pub(crate) fn all(&self) -> &[Call] {
        &self.calls
    }

    /// When claude first and last said something that has a time, in milliseconds since 1970.
    pub(crate) fn times(&self) -> Option<(i64, i64)> {
        self.times
    }
}

/// A time as claude says it, `2026-11-22T14:36:49.858Z`, in milliseconds since 1970. Days after Howard
/// Hinnant's `days_from_civil`.
fn millis(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let fits = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1000 + number(&thousandths)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_milliseconds_since_1970() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T00:00:00.007Z", 951_782_400_007),
            ("2026-11-22T14:25:02.036Z", 1_795_357_502_036),
            ("2026-11-22T14:25:02Z", 1_795_357_502_000),
            ("2026-11-22T14:25:02.5Z", 1_795_357_502_500),
        ] {
            assert_eq!(millis(text), Some(ms), "{text}");
        }
        for bad in ["", "2026-11-22", "2026-13-22T14:25:02Z", "2026-11-22T14:25:02+01:00", "xTy.zZ"]
        {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_call_lasts_from_its_line_to_its_result() {
        let mut calls = Calls::default();
        for line in include_bytes!("../../testdata/claude/two-tools.jsonl").split(|it| *it == b'\n')
        {
            calls.fold(line);
        }
        let told: Vec<_> = calls.all().iter().map(|it| (it.tool.as_str(), it.end_ms)).collect();
        let begin = millis("2026-11-22T14:36:49.937Z").unwrap();
        assert_eq!(calls.all()[0].begin_ms, begin);
        assert_eq!(told[0], ("Read", Some(begin + 57)));
        assert_eq!(told[1], ("Bash", millis("2026-11-22T14:36:50.086Z")));
        assert!(!calls.all()[1].failed);
        let times = (millis("2026-11-22T14:36:49.858Z"), millis("2026-11-22T14:36:50.113Z"));
        assert_eq!(calls.times(), times.0.zip(times.1));
    }

    #[test]
    fn only_so_many_are_kept_and_what_is_no_line_of_it_is_nothing() {
        let mut calls = Calls::default();
        calls.fold(b"not json");
        calls.fold(b"{\"type\":\"assistant\"}");
        assert_eq!(calls, Calls::default());
        let call = br#"{"type":"assistant","timestamp":"2026-11-22T14:36:49.937Z","message":{"content":[{"type":"tool_use","id":"a","name":"Read","input":{}}]}}"#;
        for _ in 0..=CALLS_MAX {
            calls.fold(call);
        }
        assert_eq!(calls.all().len(), CALLS_MAX);
        assert_eq!(calls.all()[0].end_ms, None);
    }
}
