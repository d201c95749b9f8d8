//! What happens in a story, and when: for the figures of `docs/faults.md`.
//!
//! A world notes what is done to it: a service killed, stopped, started, a gate opened, a question
//! written. A task beside it watches Discord and notes what becomes visible there: posts and marks of
//! the bot, faults set and used up, an outage over, a session resumed. When a world ends, all that its
//! story has noted so far is written to `stories/<module>/<test>.json` in cargo's target folder;
//! `cargo xtask test` reads it there. A story is known by the name that libtest gives to its thread.
//!
//! It decides nothing and fails nothing: what cannot be noted or written is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use discord_sim::{BOT_ID, Discord, Message, MessageId, Outage, View};
use serde_json::json;
use tokio::task::JoinSet;

use crate::question::MARKS;
use crate::world::lock;

/// What one story may note: some hundred times what the longest does.
const NOTES_MAX: usize = 100_000;
/// How long Discord is watched: longer than any test runs.
const WATCHED: Duration = Duration::from_secs(86_400);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A person wrote to the bot.
    Asked,
    /// The bot posted a message.
    Posted,
    /// The bot put the mark of its end under a question.
    Ended,
    /// A service, or what it started, was killed.
    Killed(String),
    /// A service was told to end.
    Stopped(&'static str),
    /// A service was started.
    Started(&'static str),
    /// A gate of claude's script was opened.
    Released,
    /// Discord was told to fail.
    FaultSet,
    /// No fault is left: all were met, or they were taken back.
    FaultsOver,
    /// Discord went away as a whole.
    Away,
    /// Discord came back.
    Back,
    /// The gateway took its session up again.
    Resumed,
}

impl Happened {
    /// What a person would call it.
    fn words(&self) -> String {
        match self {
            Self::Asked => "asked".to_owned(),
            Self::Posted => "posted".to_owned(),
            Self::Ended => "ended".to_owned(),
            Self::Killed(who) => format!("{who} was killed"),
            Self::Stopped(who) => format!("{who} was stopped"),
            Self::Started(who) => format!("{who} was started"),
            Self::Released => "claude was let go on".to_owned(),
            Self::FaultSet => "Discord was told to fail".to_owned(),
            Self::FaultsOver => "the last fault".to_owned(),
            Self::Away => "Discord went away".to_owned(),
            Self::Back => "Discord came back".to_owned(),
            Self::Resumed => "the session was resumed".to_owned(),
        }
    }

    /// Whether it changes the conditions, rather than being what a person or the bot says.
    fn disturbs(&self) -> bool {
        match self {
            Self::Asked | Self::Posted | Self::Ended => false,
            Self::Killed(_)
            | Self::Stopped(_)
            | Self::Started(_)
            | Self::Released
            | Self::FaultSet
            | Self::FaultsOver
            | Self::Away
            | Self::Back
            | Self::Resumed => true,
        }
    }
}

/// Something that happened, and how long after the first note of its story.
#[derive(Clone, Debug)]
struct Note {
    at: Duration,
    what: Happened,
}

/// All that is known of a story.
#[derive(Debug)]
struct Story {
    begin: Instant,
    notes: Vec<Note>,
    /// How many claudes began; none where that is not counted.
    claudes: Option<usize>,
}

/// The stories of this process: one under nextest, several under `cargo test`.
static STORIES: LazyLock<Mutex<BTreeMap<String, Story>>> = LazyLock::new(Mutex::default);

/// What measures one world.
#[derive(Debug)]
pub(crate) struct Measure {
    story: Option<String>,
    /// Watches Discord until this is dropped.
    watching: JoinSet<()>,
}

impl Measure {
    /// Begins, on the thread of the test.
    pub(crate) fn begin(discord: &Discord) -> Self {
        let story = current();
        let mut watching = JoinSet::new();
        if let Some(story) = story.clone() {
            let mut watch = discord.view(Watch::new);
            let discord = discord.clone();
            watching.spawn(async move {
                let look = |view: &View<'_>| {
                    watch.look(view, |what| note_in(&story, what));
                    None::<()>
                };
                // It is dropped with the world, long before this is over.
                let _ = discord.wait_for("the end", WATCHED, look).await;
            });
        }
        Self { story, watching }
    }

    /// Notes that something happened, now.
    pub(crate) fn note(&self, what: Happened) {
        if let Some(story) = &self.story {
            note_in(story, what);
        }
    }

    /// Ends with the number of claudes that began in this world, and writes the story's file.
    pub(crate) fn end(&mut self, claudes: Option<usize>) {
        self.watching.abort_all();
        let Some(name) = &self.story else { return };
        let mut stories = lock(&STORIES);
        let Some(story) = stories.get_mut(name) else { return };
        story.claudes = story.claudes.map_or(claudes, |before| Some(before + claudes?));
        if let Some(file) = file(name) {
            // Without its file the story has no figure, and that is all.
            let _ = write(&file, story);
        }
    }
}

/// Notes a kill by its process number, in the story whose thread this is.
pub(crate) fn note_kill(command: &str) {
    if let Some(story) = current() {
        let program = command.split(' ').next().and_then(|it| it.rsplit('/').next());
        let who = match program.unwrap_or_default() {
            "claude-sim" => "claude",
            "holdfast-keeper" => "the keeper",
            "holdfast-guard" => "the guard",
            other => other,
        };
        note_in(&story, Happened::Killed(who.to_owned()));
    }
}

/// The story that this thread runs, if it runs one: a test in a module.
fn current() -> Option<String> {
    thread::current().name().filter(|name| name.contains("::")).map(str::to_owned)
}

fn note_in(story: &str, what: Happened) {
    let mut stories = lock(&STORIES);
    let story = stories.entry(story.to_owned()).or_insert_with(|| Story {
        begin: Instant::now(),
        notes: Vec::new(),
        claudes: None,
    });
    if story.notes.len() < NOTES_MAX {
        story.notes.push(Note { at: story.begin.elapsed(), what });
    }
}

/// What was seen of Discord up to now.
#[derive(Debug)]
struct Watch {
    newest: Option<MessageId>,
    marked: BTreeSet<(MessageId, &'static str)>,
    faults_left: u32,
    is_away: bool,
    resumed: u64,
}

impl Watch {
    fn new(view: &View<'_>) -> Self {
        Self {
            newest: posts(view).max(),
            marked: marks(view).collect(),
            faults_left: view.faults_left,
            is_away: view.outage != Outage::None,
            resumed: view.gateway.resumed,
        }
    }

    /// Notes what is new.
    fn look(&mut self, view: &View<'_>, mut note: impl FnMut(Happened)) {
        let now = Self::new(view);
        if self.faults_left < now.faults_left {
            note(Happened::FaultSet);
        }
        if self.faults_left != 0 && now.faults_left == 0 {
            note(Happened::FaultsOver);
        }
        match (self.is_away, now.is_away) {
            (false, true) => note(Happened::Away),
            (true, false) => note(Happened::Back),
            (true, true) | (false, false) => {}
        }
        for _ in self.resumed..now.resumed {
            note(Happened::Resumed);
        }
        let newest = self.newest;
        for _ in posts(view).filter(|id| newest.is_none_or(|newest| newest < *id)) {
            note(Happened::Posted);
        }
        for _ in now.marked.difference(&self.marked) {
            note(Happened::Ended);
        }
        *self = now;
    }
}

/// All messages of all channels, deleted ones too.
fn messages<'v>(view: &'v View<'_>) -> impl Iterator<Item = &'v Message> {
    view.guild.channels().flat_map(|channel| view.guild.history(channel.id))
}

/// The messages that the bot wrote for all to see.
fn posts(view: &View<'_>) -> impl Iterator<Item = MessageId> {
    messages(view)
        .filter(|it| it.author == BOT_ID && it.kind.is_written() && !it.is_ephemeral())
        .map(|it| it.id)
}

/// The marks of the bot under the questions that have ended.
fn marks(view: &View<'_>) -> impl Iterator<Item = (MessageId, &'static str)> {
    messages(view).flat_map(|message| {
        let is_there = |emoji: &&str| message.has_reaction(BOT_ID, emoji);
        MARKS.into_iter().filter(is_there).map(|emoji| (message.id, emoji))
    })
}

/// The figure of a story: how long after the last disturbance a run ended, and how much of
/// everything there was.
fn figure(notes: &[Note], claudes: Option<usize>) -> String {
    let mut counts = vec![format!("{} asked", count(notes, &Happened::Asked))];
    counts.extend(claudes.map(|it| format!("{it} claude{}", if it == 1 { "" } else { "s" })));
    counts.push(format!("{} posted", count(notes, &Happened::Posted)));
    let counts = counts.join(", ");
    match delay(notes) {
        Some((after, moment)) => {
            format!("ended {:.2} s after {moment}; {counts}", after.as_secs_f64())
        }
        None => counts,
    }
}

fn count(notes: &[Note], wanted: &Happened) -> usize {
    notes.iter().filter(|note| note.what == *wanted).count()
}

/// The time from the last moment at which somebody waited for an answer to the next end of a run;
/// where nobody waited at any, from the question that came after them all.
fn delay(notes: &[Note]) -> Option<(Duration, String)> {
    // What was before the first question disturbed nobody.
    let asked = notes.iter().position(|note| note.what == Happened::Asked)?;
    let until_end = |from: usize| {
        let end = notes[from..].iter().find(|note| note.what == Happened::Ended)?;
        Some(end.at.saturating_sub(notes[from].at))
    };
    let is_waited =
        |at: usize| count(&notes[..at], &Happened::Ended) < count(&notes[..at], &Happened::Asked);
    let moments = || {
        let all = notes.iter().enumerate().skip(asked).rev();
        all.filter(|(_, note)| note.what.disturbs()).map(|(at, note)| (at, note.what.words()))
    };
    let disturbed = moments().filter(|(at, _)| is_waited(*at));
    let mut disturbed = disturbed.filter_map(|(at, moment)| Some((until_end(at)?, moment)));
    disturbed.next().or_else(|| {
        let last = moments().next().map_or(asked, |(at, _)| at);
        let later = notes[last..].iter().position(|note| note.what == Happened::Asked);
        let question = later.map_or(asked, |later| last + later);
        Some((until_end(question)?, "the question".to_owned()))
    })
}

/// The file of a story, if this program lies where cargo puts tests.
fn file(story: &str) -> Option<PathBuf> {
    let exe = env::current_exe().ok()?;
    let deps = exe.parent().filter(|it| it.ends_with("deps"))?;
    let mut file = deps.parent()?.parent()?.join("stories");
    file.extend(story.split("::"));
    file.set_extension("json");
    Some(file)
}

fn write(file: &Path, story: &Story) -> std::io::Result<()> {
    let Story { notes, claudes, .. } = story;
    let happened: Vec<_> = notes
        .iter()
        .map(|note| {
            json!([u64::try_from(note.at.as_millis()).unwrap_or(u64::MAX), note.what.words()])
        })
        .collect();
    let text = json!({"figure": figure(notes, *claudes), "happened_ms": happened});
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(list: &[(u64, Happened)]) -> Vec<Note> {
        let note = |(at, what): &(u64, Happened)| Note {
            at: Duration::from_millis(*at),
            what: what.clone(),
        };
        list.iter().map(note).collect()
    }

    #[test]
    fn a_figure_counts_from_the_last_moment_at_which_somebody_waited() {
        use Happened::{Asked, Ended, FaultSet, Killed, Posted, Started};
        let story = notes(&[
            (1, Started("the runner")),
            (10, Asked),
            (20, Killed("the runner".to_owned())),
            (400, Started("the runner")),
            (810, Posted),
            (830, Ended),
            (840, FaultSet),
            (900, Asked),
            (990, Posted),
            (995, Ended),
        ]);
        let figure = figure(&story, Some(2));
        assert_eq!(
            figure,
            "ended 0.43 s after the runner was started; 2 asked, 2 claudes, 2 posted"
        );
    }

    #[test]
    fn where_nobody_waited_it_counts_from_the_question() {
        use Happened::{Asked, Ended, Posted, Started};
        let story = notes(&[(1, Started("the runner")), (10, Asked), (250, Posted), (260, Ended)]);
        let text = "ended 0.25 s after the question; 1 asked, 1 claude, 1 posted";
        assert_eq!(figure(&story, Some(1)), text);
        let mut later = story;
        later.extend(notes(&[(300, Started("the runner")), (310, Asked), (320, Ended)]));
        assert!(figure(&later, None).starts_with("ended 0.01 s after the question"));
        assert_eq!(figure(&notes(&[(10, Asked)]), None), "1 asked, 0 posted");
        assert_eq!(figure(&[], None), "0 asked, 0 posted");
    }

    #[test]
    fn this_thread_has_the_name_of_its_test() {
        let name = "measure::tests::this_thread_has_the_name_of_its_test";
        assert_eq!(current().as_deref(), Some(name));
        let file = file(name).unwrap();
        assert!(file.ends_with("stories/measure/tests/this_thread_has_the_name_of_its_test.json"));
    }
}
