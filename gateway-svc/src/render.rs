//! What happened → what Discord is owed.
//!
//! Pure: from a message and its verdict, and from a run and its outcome, to outbox rows. It does
//! not know whether they were sent.

mod answer;
mod given;

use schemas::carried::{About, Remark};
use schemas::identity::Twin;
use schemas::ids::{
    Attempt, ChannelId, Generation, MessageId, ProjectName, RunId, RunnerId, ThreadId,
};
use schemas::record::{Denial, Outcome};

pub(crate) use answer::{Told, duration, model, spent};
pub(crate) use given::{Gift, names};

use crate::attached::left_out;
use crate::commands::{Left, Order, Press};
use crate::intake::Heard;
use crate::names::{thread_name, titled};
use crate::outbox::{Action, Button, Mark, Row};
use crate::pages::PAGE_MAX;
use crate::placement::Awaited;
use crate::store::NewRun;

/// The most characters of a notice that are shown: whoever wrote it, it fits a message.
const NOTICE_CHARS_MAX: usize = 600;

/// The most characters of one refused object that is shown.
const OBJECT_MAX: usize = 150;

/// The run's place in Discord.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The run.
    pub(crate) run: RunId,
    /// Its generation.
    pub(crate) generation: Generation,
    /// The conversation, where answers go.
    pub(crate) thread: ThreadId,
    /// The message that asked, and where it was written; a run of a schedule has none.
    pub(crate) asked: Option<(ChannelId, MessageId)>,
    /// What its session had cost before, in millionths of a US dollar; known when a record is folded.
    pub(crate) spent: i64,
}

/// What is owed when a message was accepted: 👀, and a thread if it begins one.
pub(crate) fn accepted(heard: &Heard, new: &NewRun) -> Vec<Row> {
    let run = new.run.clone();
    let begins_thread = new.thread == ThreadId::from(heard.id);
    let row = |part, action| Row::of(&run, Generation::FIRST, part, action);
    let (channel, message) = (heard.channel, heard.id);
    let mut rows = vec![row("seen", Action::React { channel, message, emoji: Mark::Seen })];
    if begins_thread {
        let name = thread_name(&heard.content, &heard.author.name);
        rows.push(row("thread", Action::Thread { channel, message, name }));
    }
    let (thread, generation) = (new.thread, Generation::FIRST);
    let place = Place { run: run.clone(), generation, thread, asked: None, spent: 0 };
    rows.extend(files_left_out(&place, new.files.withheld.len(), &left_out(&new.files.withheld)));
    rows
}

/// What is owed when claude is not given some of the files of a message: a line that names them.
/// `count`: how many there are by then, which names the line.
pub(crate) fn files_left_out(place: &Place, count: usize, left_out: &str) -> Vec<Row> {
    if left_out.is_empty() {
        return Vec::new();
    }
    vec![line(place, &format!("files/{count}"), format!("-# 📎 Left out: {left_out}."))]
}

/// What is owed when a message is no run and its author is to hear why, or what became of it: the
/// line, under the message.
pub(crate) fn told(heard: &Heard, part: &str, line: &str) -> Vec<Row> {
    let post = Action::Post {
        channel: heard.channel,
        reply_to: Some(heard.id),
        content: line.to_owned(),
        buttons: Vec::new(),
    };
    vec![Row::of_message(heard.id, part, post)]
}

/// What is owed when a run has its outcome: the answer or the reason with what it took, then the mark.
pub(crate) fn ended(place: &Place, outcome: &Outcome, told: &Told<'_>) -> Vec<Row> {
    let channel = place.thread.into();
    let (title, text) = titled(told.answer);
    let mut rows = match outcome {
        Outcome::Answered { denied, .. } => {
            let said = if text.trim().is_empty() { "*claude ended without a word.*" } else { text };
            let mut posts =
                answer::posts(channel, said, &small_print(denied, told, place), told.pages_max);
            posts.extend(told.gift.iter().flat_map(|gift| gift.posts(channel)));
            finished(place, Mark::Answered, "answer", posts)
        }
        Outcome::Failed { why, denied } => {
            let (said, print) = (format!("⚠️ {why}"), small_print(denied, told, place));
            let posts = answer::posts(channel, &said, &print, told.pages_max);
            finished(place, Mark::Failed, "failed", posts)
        }
        Outcome::Stopped { by } => {
            finished(place, Mark::Stopped, "stopped", lines(place, &format!("⏹️ Stopped by {by}.")))
        }
    };
    rows.extend(title.map(|name| {
        // Once a thread, whichever of its answers names it first.
        Row::of_thread(place.thread, "name", Action::Rename { channel: place.thread.into(), name })
    }));
    rows
}

/// What stands under an answer.
fn small_print(denied: &[Denial], told: &Told<'_>, place: &Place) -> Vec<String> {
    let not_sent = told.gift.and_then(|gift| gift.not_sent());
    denials(denied).into_iter().chain(not_sent).chain(told.footer(place.spent)).collect()
}

/// A text of ours as posts.
fn lines(place: &Place, text: &str) -> Vec<Action> {
    answer::posts(place.thread.into(), text, &[], usize::MAX)
}

/// What is owed when a person ended a run, whoever holds it: a line that says what may be left of
/// it, then the mark.
pub(crate) fn ended_by(place: &Place, by: &str, left: &Left) -> Vec<Row> {
    let left = match left {
        Left::Nothing => String::new(),
        Left::Stopping(runner) => {
            format!(" claude may be at work on **{runner}** until its runner has stopped it.")
        }
        Left::Away(runner) => {
            format!(" claude may still be at work on **{runner}** until its runner is back.")
        }
    };
    finished(place, Mark::Stopped, "stopped", lines(place, &format!("⏹️ Ended by {by}.{left}")))
}

/// The posts, with what may be decided about them, then the mark.
fn finished(place: &Place, mark: Mark, part: &str, posts: Vec<Action>) -> Vec<Row> {
    let row = |part: &str, action| Row::of(&place.run, place.generation, part, action);
    let numbered = posts.into_iter().enumerate();
    let mut rows: Vec<Row> =
        numbered.map(|(n, post)| row(&format!("{part}/{}", n + 1), post)).collect();
    if let Some(Row { action, .. }) = rows.first_mut()
        && let Action::Post { reply_to, .. } | Action::Upload { reply_to, .. } = action
    {
        *reply_to = place.asked.map(|(_, message)| message);
    }
    if mark != Mark::Answered
        && let Some(Row { action: Action::Post { buttons, .. }, .. }) = rows.last_mut()
    {
        *buttons = decisions(place);
    }
    rows.extend(marked(place, mark));
    rows
}

/// What is owed when claude says nothing for long: a line, once for each such silence.
pub(crate) fn quiet(place: &Place, since_ms: i64, now_ms: i64) -> Row {
    let minutes = (now_ms - since_ms).max(0) / 60_000;
    let content = format!(
        "-# claude is at work and has said nothing for {minutes} minutes. `!stop` interrupts it."
    );
    let channel = place.thread.into();
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of(&place.run, place.generation, &format!("quiet/{since_ms}"), post)
}

/// What is owed when a reaction cannot stop a run now: the line and the button that ends it.
pub(crate) fn later(place: &Place, line: &str) -> Row {
    let channel = place.thread.into();
    let buttons = vec![end_it(place)];
    let post = Action::Post { channel, reply_to: None, content: line.to_owned(), buttons };
    Row::of(&place.run, place.generation, "later", post)
}

/// The button that ends a run now.
pub(crate) fn end_it(place: &Place) -> Button {
    button(&place.run, place.generation, Order::End, "End it now")
}

/// What is owed to a run whose runner exists twice: a line, once for each other state directory.
pub(crate) fn twin(place: &Place, twin: &Twin) -> Row {
    let Twin { refused, .. } = twin;
    let what = if twin.is_copy() { "a copy of it" } else { "another under its name" };
    let content = format!(
        "-# ⚠️ The runner **{}** exists twice: {what} was started on `{}`. That one gets no work, and \
         this run stays with the first.",
        refused.runner,
        refused.host.replace('`', "'")
    );
    let channel = place.thread.into();
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of(&place.run, place.generation, &format!("twin/{}", refused.state_id), post)
}

/// What is owed when a runner has something to say about where claude works: a line, once a thread.
pub(crate) fn notice(place: &Place, notice: &str) -> Row {
    let line: String = plain(notice).chars().take(NOTICE_CHARS_MAX).collect();
    let channel = place.thread.into();
    let content = format!("-# {line}");
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of_thread(place.thread, "place", post)
}

/// What is owed when a runner does not permit all that a run was to be allowed: a line, once a thread for
/// each such sentence.
pub(crate) fn narrowed(place: &Place, sentence: &str) -> Row {
    let line: String = plain(sentence).chars().take(NOTICE_CHARS_MAX).collect();
    let name = crate::nonce::nonce(&line);
    let channel = place.thread.into();
    let content = format!("-# ⚠️ {line}");
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of_thread(place.thread, &format!("narrowed/{name}"), post)
}

/// What is owed to a run that may spend nothing: the line, with what may be decided, then the mark.
pub(crate) fn used_up(place: &Place, line: &str) -> Vec<Row> {
    finished(place, Mark::Failed, "failed", lines(place, &format!("⚠️ {line}")))
}

/// What is owed when something of a conversation did not come along: a line.
pub(crate) fn remark(place: &Place, remark: &Remark) -> Row {
    let text: String = plain(&remark.text).chars().take(NOTICE_CHARS_MAX).collect();
    let content = format!("-# ⚠️ {text}");
    let once = |part| {
        let content = content.clone();
        let channel = place.thread.into();
        let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
        Row::of_thread(place.thread, part, post)
    };
    match remark.about {
        About::Transcript => line(place, "transcript", content),
        About::Changes => line(place, "changes", content),
        About::TranscriptStays => once("transcript_stays"),
        About::ChangesStay => once("changes_stay"),
    }
}

/// What is owed when a run goes on elsewhere by a Move: a line, with where claude may still be at
/// work, and whether anybody answers there.
pub(crate) fn moved(place: &Place, to: Option<&RunnerId>, left: Option<(&RunnerId, bool)>) -> Row {
    let to = match to {
        Some(to) => format!("Moved to **{to}**."),
        None => "Moved: another runner goes on.".to_owned(),
    };
    let left = match left {
        Some((from, true)) => {
            format!(" claude may be at work on **{from}** until that has heard of it.")
        }
        Some((from, false)) => {
            format!(" **{from}** does not answer; claude may still be at work there.")
        }
        None => String::new(),
    };
    line(place, "moved", format!("-# {to}{left}"))
}

/// What is owed when another runner than before holds a thread's run.
pub(crate) fn resumed(place: &Place, attempt: Attempt, runner: &RunnerId) -> Row {
    line(place, &format!("moved/{attempt}"), format!("-# Resumed on **{runner}**."))
}

/// What is owed when no runner is there that could take a run: a line, once a generation.
pub(crate) fn waiting(place: &Place, project: &ProjectName, awaited: &Awaited) -> Row {
    let seen = match (&awaited.runner, awaited.seen_ms) {
        (Some(runner), Some(ms)) => {
            format!("**{runner}** was last seen at <t:{}:t>.", ms.div_euclid(1000))
        }
        (None, Some(ms)) => format!("last seen <t:{}:t>.", ms.div_euclid(1000)),
        (Some(runner), None) => format!("**{runner}** was not seen for long."),
        (None, None) => "none was seen yet.".to_owned(),
    };
    line(place, "waiting", format!("-# Waiting for a runner of **{project}**; {seen}"))
}

/// A line of ours in the thread.
fn line(place: &Place, part: &str, content: String) -> Row {
    let channel = place.thread.into();
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of(&place.run, place.generation, part, post)
}

/// What is owed when a run is tried again: 👀 in place of the old mark.
pub(crate) fn again(place: &Place) -> Vec<Row> {
    let Some((channel, message)) = place.asked else { return Vec::new() };
    let row = |part: &str, action| Row::of(&place.run, place.generation, part, action);
    let unreact = |emoji| Action::Unreact { channel, message, emoji };
    vec![
        row("seen", Action::React { channel, message, emoji: Mark::Seen }),
        row("not_failed", unreact(Mark::Failed)),
        row("not_stopped", unreact(Mark::Stopped)),
    ]
}

/// What is owed when a run is dropped that waited: ⏹️ in place of 👀.
pub(crate) fn dropped(place: &Place) -> Vec<Row> {
    marked(place, Mark::Stopped)
}

/// What is owed when it is known what became of a message: its mark in place of 👀.
pub(crate) fn marked(place: &Place, mark: Mark) -> Vec<Row> {
    let Some((channel, message)) = place.asked else { return Vec::new() };
    let row = |part: &str, action| Row::of(&place.run, place.generation, part, action);
    vec![
        row("mark", Action::React { channel, message, emoji: mark }),
        row("unseen", Action::Unreact { channel, message, emoji: Mark::Seen }),
    ]
}

/// What is owed when somebody decided about a generation of a run: its buttons go.
pub(crate) fn decided(place: &Place, generation: Generation, line: String) -> Row {
    let about = format!("/{}/{generation}", place.run);
    let edit = Action::Edit { channel: place.thread.into(), about, line };
    Row::of(&place.run, generation, "decided", edit)
}

/// A text with a line of small print under it, if that still fits a message.
pub(crate) fn with_line(text: &str, line: &str) -> String {
    let both = format!("{text}\n-# {line}");
    if both.encode_utf16().count() <= PAGE_MAX { both } else { text.to_owned() }
}

/// The buttons under what failed or was stopped.
fn decisions(place: &Place) -> Vec<Button> {
    let button = |order, label| button(&place.run, place.generation, order, label);
    vec![button(Order::Retry, "Retry"), button(Order::Discard, "Discard")]
}

/// A button of this label that orders something about a run.
pub(crate) fn button(run: &RunId, generation: Generation, order: Order, label: &str) -> Button {
    let press = Press { order, run: run.clone(), generation };
    Button { id: press.custom_id(), label: label.to_owned() }
}

/// The small print that names what was refused.
fn denials(denied: &[Denial]) -> Vec<String> {
    let line = |denial: &Denial| {
        let object: String = denial.object.chars().take(OBJECT_MAX).collect();
        let cut = if denial.object.chars().count() <= OBJECT_MAX { "" } else { "…" };
        let what = format!("{}({object}{cut})", denial.tool).replace('`', "'");
        format!("-# 🚫 not allowed here: `{what}`")
    };
    denied.iter().map(line).collect()
}

/// Text without control characters, mention markup and runs of space.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, markup) = rest.split_at(at);
        out.push_str(before);
        let is_mention = markup[1..].starts_with(['@', '#', ':']) || markup[1..].starts_with("a:");
        rest = if let Some(end) = markup.find('>').filter(|_| is_mention) {
            &markup[end + 1..]
        } else {
            out.push('<');
            &markup[1..]
        };
    }
    out.push_str(rest);
    let visible = out.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::record::Text;

    fn place() -> Place {
        Place {
            run: "m7".parse().unwrap(),
            generation: Generation(2),
            thread: "7".parse().unwrap(),
            asked: Some(("5".parse().unwrap(), "7".parse().unwrap())),
            spent: 0,
        }
    }

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn an_answer_is_posted_page_by_page_and_then_marked() {
        let answer = "word ".repeat(600);
        let outcome =
            Outcome::Answered { answer: Text::Inline(answer.clone()), denied: Vec::new() };
        let rows = ended(&place(), &outcome, &Told::of(&answer));
        assert_eq!(names(&rows), ["m7/2/answer/1", "m7/2/answer/2", "m7/2/mark", "m7/2/unseen"]);
    }

    #[test]
    fn who_ended_a_run_is_told_with_what_may_be_left_of_it() {
        let rows = ended_by(&place(), "Ada", &Left::Away("host".into()));
        assert_eq!(names(&rows), ["m7/2/stopped/1", "m7/2/mark", "m7/2/unseen"]);
        let Action::Post { content, buttons, .. } = &rows[0].action else { panic!("{rows:?}") };
        assert!(content.starts_with("⏹️ Ended by Ada. claude may still be at work on **host**"));
        let ids: Vec<_> = buttons.iter().map(|button| button.id.as_str()).collect();
        assert_eq!(ids, ["retry/m7/2", "discard/m7/2"]);
    }

    #[test]
    fn who_decided_is_said_where_it_fits() {
        assert_eq!(with_line("⚠️ no", "Discarded by Ada."), "⚠️ no\n-# Discarded by Ada.");
        let full = "x".repeat(PAGE_MAX);
        assert_eq!(with_line(&full, "Discarded by Ada."), full);
    }

    #[test]
    fn a_refused_tool_is_named_in_the_answer() {
        let denied = vec![Denial { tool: "Bash".into(), object: "rm `x`".into() }];
        let outcome = Outcome::Answered { answer: Text::Inline("done".into()), denied };
        let rows = ended(&place(), &outcome, &Told::of("done"));
        let Action::Post { content, .. } = &rows[0].action else { panic!("{rows:?}") };
        assert_eq!(content, "done\n-# 🚫 not allowed here: `Bash(rm 'x')`");
    }

    #[test]
    fn a_notice_has_the_same_name_whichever_run_of_the_thread_brings_it() {
        let first = notice(&place(), "because of\n<@12> git");
        let later = notice(&Place { run: "m8".parse().unwrap(), ..place() }, "because");
        assert_eq!((first.name.as_str(), &first.name), ("t7/place", &later.name));
        let Action::Post { content, .. } = first.action else { panic!("no post") };
        assert_eq!(content, "-# because of git");
    }

    #[test]
    fn what_did_not_come_along_is_told_each_time_and_what_stays_once_a_thread() {
        let told = |run: &str, about| {
            let place = Place { run: run.parse().unwrap(), ..place() };
            remark(&place, &Remark { about, text: "because\n<@12>".into() }).name
        };
        assert_eq!(told("m8", About::Transcript), "m8/2/transcript");
        assert_eq!(told("m8", About::Changes), "m8/2/changes");
        assert_eq!(told("m8", About::TranscriptStays), told("m9", About::TranscriptStays));
        assert_eq!(told("m8", About::ChangesStay), told("m9", About::ChangesStay));
    }
}
