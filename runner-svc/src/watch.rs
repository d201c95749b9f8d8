//! `runner-svc watch DIR`: the window that a person sees who attaches to a run; and the same for `logs`.
//!
//! It reads the journal of a spool from its first byte, shows what each line means, and goes on as
//! the journal grows. When the exit record is there it says how claude ended, and stays until the
//! spool is removed, so that whoever attaches late can still read.
//!
//! It only reads. It may die, or never be started, without any effect on the run.

mod render;

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::claude::Event;
use crate::spool::{Ending, Journal, Line, Spool, SpoolError};

/// How often the spool is looked at without a word from the system: inotify can be out of watches,
/// and is silent on network file systems.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Shows the spool in `dir` until it is removed.
pub(crate) fn run(dir: &Path) -> ExitCode {
    let spool = Spool::at(dir);
    if !dir.is_dir() {
        let _ = writeln!(io::stderr(), "there is no spool at {}", dir.display());
        return ExitCode::from(1);
    }
    match show(&spool) {
        Ok(()) => ExitCode::SUCCESS,
        // The terminal is gone, and with it whoever looked.
        Err(_) => ExitCode::from(1),
    }
}

/// Prints what the journal of a spool says by now; to follow it is to go on until claude has ended or the
/// spool is removed. Colours are for terminals alone.
///
/// # Errors
///
/// When nobody reads any more.
pub(crate) fn print(spool: &Spool, follow: bool) -> io::Result<()> {
    let bell = Bell::new(spool.dir());
    let mut view = View::of(spool);
    loop {
        view.catch_up(spool)?;
        if !follow || view.is_over || !spool.dir().is_dir() {
            return Ok(());
        }
        bell.wait();
    }
}

/// Fails only when the terminal does.
fn show(spool: &Spool) -> io::Result<()> {
    let bell = Bell::new(spool.dir());
    let mut view = View::of(spool);
    view.say(&format_args!("{}\n", render::heading(spool.name())))?;
    while spool.dir().is_dir() {
        view.catch_up(spool)?;
        bell.wait();
    }
    Ok(())
}

struct View {
    journal: Journal,
    out: io::Stdout,
    in_colour: bool,
    is_over: bool,
}

impl View {
    fn of(spool: &Spool) -> Self {
        let out = io::stdout();
        let in_colour = out.is_terminal();
        Self { journal: spool.journal(0), out, in_colour, is_over: false }
    }

    fn catch_up(&mut self, spool: &Spool) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        // Asked before the journal is read: then the journal is whole if there is an answer.
        let ending = spool.exit();
        loop {
            match self.journal.next_line() {
                Ok(Some(Line::Whole(line))) => {
                    if let Some(text) = render::event(&Event::parse(&line)) {
                        self.say(&format_args!("{text}\n"))?;
                    }
                }
                Ok(Some(Line::TooLong { bytes })) => {
                    self.say(&format_args!("{}\n", render::too_long(bytes)))?;
                }
                // What cannot be read now is tried again at the next look.
                Ok(None) | Err(_) => break,
            }
        }
        self.end(ending)
    }

    fn end(&mut self, ending: Result<Option<Ending>, SpoolError>) -> io::Result<()> {
        let Ok(Some(ending)) = ending else { return Ok(()) };
        self.is_over = true;
        self.say(&format_args!("{}\n", render::ending(&ending)))
    }

    fn say(&mut self, text: &dyn fmt::Display) -> io::Result<()> {
        if self.in_colour {
            write!(self.out, "{text}")?;
        } else {
            write!(self.out, "{}", render::without_colours(&text.to_string()))?;
        }
        self.out.flush()
    }
}

/// Wakes when something in the spool changes.
struct Bell(Option<OwnedFd>);

impl Bell {
    fn new(dir: &Path) -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let inotify = inotify::init(flags).ok().filter(|inotify| {
            let events = inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::MOVE_SELF
                | inotify::WatchFlags::DELETE_SELF;
            inotify::add_watch(inotify, dir, events).is_ok()
        });
        Bell(inotify)
    }

    /// Returns when something changed or [`LOOK_AGAIN`] is over.
    fn wait(&self) {
        let mut fds: Vec<_> =
            self.0.iter().map(|inotify| PollFd::new(inotify, PollFlags::IN)).collect();
        let _ = poll(&mut fds, Some(&LOOK_AGAIN));
        if let Some(inotify) = &self.0 {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(inotify, &mut buffer);
            while events.next().is_ok() {}
        }
    }
}
