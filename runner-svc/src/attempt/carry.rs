//! What goes along with a conversation: its transcript comes from FILES before claude starts, and goes
//! there before the outcome is told.
//!
//! Both are bounded. A file that is not there any more, or does not come although NATS answers, is
//! done without, and the thread is told; no answer waits for one for good. What lies here is replaced
//! only by what the last run of the conversation left, whole and in one step.
//!
//! It never decides which transcript is the right one (`sessions` does).

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemas::carried::{About, Carried, File, Remark, TRANSCRIPT_MAX};
use schemas::ids::ProjectName;
use schemas::record::{NOTICE_MAX, REMARKS_MAX};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::ask::files;
use super::{Left, Refused, Result, Work};
use crate::bus::{Bus, BusError, Fetched, digest_of};
use crate::command::{Session, transcript};
use crate::crash;
use crate::keeper::record::sync_dir;
use crate::sessions::{Here, is_to_be_fetched};
use crate::spool::Spool;

/// How often a file is put or fetched before it is done without, with FILES answering in between. What
/// failed for a moment only comes the second time.
const TRIES: u32 = 5;
/// The pause before the second time; each later one is that much longer. Together they are longer than
/// a new leader needs to be known to all servers.
const PAUSE: Duration = Duration::from_millis(500);
/// How long claude has to write down what it has said. It writes ten times a second.
const SETTLE_MAX: Duration = Duration::from_millis(800);
/// How often that is looked at.
const SETTLE_LOOK: Duration = Duration::from_millis(10);
/// Where in a transcript the last words are: no line of claude's is longer.
const TAIL: u64 = 1024 * 1024;
/// The copy of the transcript, in the spool.
const COPY: &str = "transcript";

impl Work {
    /// Sees to it that the transcript lies here that the conversation is to go on with, and says how
    /// claude is to begin.
    pub(super) async fn conversation(&mut self, cwd: &Path) -> Result<Session, Refused> {
        let (session, id) = (self.held.request.session, self.held.request.session.uuid());
        let projects = self.host.projects_dir();
        let find = || projects.as_deref().map_or(Ok(None), |dir| transcript::find(dir, id));
        let found = find().map_err(Refused::trouble)?;
        if self.held.request.brought && !self.has_left() {
            return self.brought(id);
        }
        let Some(Carried { transcript: left, .. }) = self.held.request.carried.clone() else {
            return Ok(if found.is_some() { Session::Resume(id) } else { Session::New(id) });
        };
        let (Some(projects), Some(left)) = (projects.as_deref(), left) else {
            return Ok(match found {
                Some(_) => Session::Resume(id),
                None => self.is_lost(Session::New(id)).await?,
            });
        };
        let look = || Here::look(found.as_deref(), &left);
        let here = tokio::task::block_in_place(look).map_err(Refused::trouble)?;
        if !is_to_be_fetched(here, &left, self.host.sessions.last(session).as_deref()) {
            return Ok(Session::Resume(id));
        }
        let to = found.clone().unwrap_or_else(|| transcript::place(projects, cwd, id));
        if self.fetch(&left, &to).await? {
            self.host.sessions.remember(session, &left);
            tracing::info!(%session, bytes = left.bytes, "the transcript came along");
            return Ok(Session::Resume(id));
        }
        match found {
            Some(_) => self.is_lost(Session::Resume(id)).await,
            None => self.is_lost(Session::New(id)).await,
        }
    }

    /// Whether an earlier run of the conversation has left its transcript.
    fn has_left(&self) -> bool {
        self.held.request.carried.as_ref().is_some_and(|left| left.transcript.is_some())
    }

    /// Resumes a session that was begun in a terminal, if it is this project's and here alone.
    fn brought(&self, id: Uuid) -> Result<Session, Refused> {
        let (project, runner) = (&self.held.request.project, &self.host.config.name);
        let never = |why: &str| Err(Refused::Never(format!("{why} Nothing was asked.")));
        let Some(projects) = self.host.projects_dir() else {
            return never(&format!("claude has no home on {runner}, so it has no sessions there."));
        };
        let own = transcript::place(&projects, &self.project()?.directory, id);
        let all = transcript::find_all(&projects, id).map_err(Refused::trouble)?;
        match all.as_slice() {
            [] => never(&format!("There is no session `{id}` on {runner}.")),
            [one] if *one == own => Ok(Session::Resume(id)),
            [_] => never(&format!(
                "The session `{id}` on {runner} was not begun in the directory of **{project}**."
            )),
            [_, ..] => never(&format!(
                "There are several sessions `{id}` on {runner}, so nobody can say which is meant."
            )),
        }
    }

    /// Tells the thread that claude does not know what was said.
    async fn is_lost(&mut self, session: Session) -> Result<Session, Refused> {
        let runner = &self.host.config.name;
        let text = match session {
            Session::New(_) => format!(
                "{runner} does not have what was said here before, and it was not found in FILES: \
                 claude begins anew, and knows nothing of it."
            ),
            Session::Resume(_) => format!(
                "{runner} does not have the last of what was said here before, and it was not found \
                 in FILES: claude goes on from what it knows."
            ),
        };
        self.remark(About::Transcript, &text).await?;
        Ok(session)
    }

    /// Fetches a file of the project's and puts it in its place, in one step; false: it is not to be
    /// had.
    pub(super) async fn fetch(&mut self, file: &File, to: &Path) -> Result<bool, Refused> {
        let folder = to.parent().unwrap_or(to).to_owned();
        tokio::task::block_in_place(|| fs::create_dir_all(&folder)).map_err(Refused::trouble)?;
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // No name that claude would take for a session.
        let fresh = folder.join(format!(".{name}.new"));
        let is_whole = self.fetch_into(file, &fresh).await;
        if !matches!(is_whole, Ok(true)) {
            // What is left of it is overwritten by the next try.
            let _ = fs::remove_file(&fresh);
            return is_whole;
        }
        crash::point("carry.fetched");
        let put = || fs::rename(&fresh, to).and_then(|()| sync_dir(&folder));
        tokio::task::block_in_place(put).map_err(Refused::trouble)?;
        crash::point("carry.placed");
        Ok(true)
    }

    async fn fetch_into(&mut self, file: &File, fresh: &Path) -> Result<bool, Refused> {
        let fetch = |bus: Bus, project| async move { bus.get_file(&project, file, fresh).await };
        match self.ask_files(When::BeforeClaude, file, fetch).await? {
            Some(Fetched::Whole) => Ok(true),
            Some(Fetched::Gone) | None => Ok(false),
        }
    }

    /// Asks FILES for something about a file, a bounded number of times; `None`: it does not do it.
    async fn ask_files<T, F>(
        &mut self,
        when: When,
        file: &File,
        ask: impl Fn(Bus, ProjectName) -> F,
    ) -> Result<Option<T>, Refused>
    where
        F: Future<Output = Result<T, BusError>>,
    {
        for tries in 1..=TRIES {
            let (bus, project) = (self.host.bus.clone(), self.held.request.project.clone());
            match self.wait_for(when, Box::pin(ask(bus, project))).await? {
                Ok(done) => return Ok(Some(done)),
                Err(error) => {
                    tracing::warn!(?error, ?when, digest = file.digest, "FILES did not do it");
                }
            }
            if tries == TRIES {
                break;
            }
            self.wait_for(when, tokio::time::sleep(PAUSE * tries)).await?;
            // It is no fault of the file's as long as nobody leads FILES.
            let (host, project) = (Arc::clone(&self.host), self.held.request.project.clone());
            self.wait_for(when, async move { files(&host, &project).await }).await??;
        }
        Ok(None)
    }

    /// Waits for something, and goes on holding the run.
    async fn wait_for<T>(
        &mut self,
        when: When,
        thing: impl Future<Output = T>,
    ) -> Result<T, Refused> {
        match when {
            When::BeforeClaude => self.meanwhile(thing).await,
            When::AfterClaude => Ok(self.holding(thing).await?),
        }
    }

    /// Puts what the conversation leaves into FILES, before its outcome is told. `None`: claude never
    /// wrote a word of it.
    pub(super) async fn leave_behind(&mut self, spool: &Spool) -> Result<Option<Carried>> {
        let id = self.held.request.session.uuid();
        let projects = self.host.projects_dir();
        let found = projects.map_or(Ok(None), |projects| transcript::find(&projects, id));
        let found = found.unwrap_or_else(|error| {
            self.transcript_stays(&format!("it cannot be read: {error}"));
            None
        });
        if found.is_none() && self.held.request.carried.is_none() {
            return Ok(None);
        }
        let transcript = match found {
            Some(path) => self.leave_transcript(spool, &path).await?,
            None => None,
        };
        let changes = self.leave_changes().await?;
        Ok(Some(Carried { transcript, changes }))
    }

    async fn leave_transcript(&mut self, spool: &Spool, path: &Path) -> Result<Option<File>> {
        self.is_written(path).await;
        let to = spool.dir().join(COPY);
        let file = match tokio::task::block_in_place(|| copy(path, &to)) {
            Ok(Copied::Whole(file)) => file,
            Ok(Copied::Nothing) => return Ok(None),
            Ok(Copied::TooLarge(bytes)) => {
                let why = format!("it is too large ({} MB)", bytes / 1_000_000);
                self.transcript_stays(&why);
                return Ok(None);
            }
            Err(error) => {
                self.transcript_stays(&format!("it cannot be read: {error}"));
                return Ok(None);
            }
        };
        crash::point("finish.copied");
        if !self.put(&file, &to).await? {
            self.transcript_stays("FILES does not take it");
            return Ok(None);
        }
        crash::point("finish.carried");
        Ok(Some(file))
    }

    /// Remembers what was put there, now that the record names it.
    pub(super) fn left_behind(&self, left: Option<&Carried>) {
        let Some(Carried { transcript, changes }) = left else { return };
        if let Some(transcript) = transcript {
            let session = self.held.request.session;
            tokio::task::block_in_place(|| self.host.sessions.remember(session, transcript));
        }
        if let Some(changes) = changes {
            self.left_changes(changes);
        }
    }

    fn transcript_stays(&mut self, why: &str) {
        let runner = &self.host.config.name;
        let text = format!(
            "What was said here stays on {runner}: the transcript was not put into FILES, because \
             {why}. Another runner would not know of it."
        );
        self.note_remark(About::TranscriptStays, &text);
    }

    /// Waits a moment until claude has written its last words into the transcript.
    async fn is_written(&self, path: &Path) {
        let Some(said) = self.said else { return };
        let until = Instant::now() + SETTLE_MAX;
        while !tokio::task::block_in_place(|| ends_with(path, said)).unwrap_or(true) {
            if until <= Instant::now() {
                return tracing::warn!("the transcript may lack the last words");
            }
            tokio::time::sleep(SETTLE_LOOK).await;
        }
    }

    /// Puts a file into FILES; false: FILES does not take it.
    pub(super) async fn put(&mut self, file: &File, path: &Path) -> Result<bool> {
        let put = |bus: Bus, project| async move { bus.put_file(&project, file, path).await };
        let done = self.ask_files(When::AfterClaude, file, put).await;
        Ok(done.map_err(Refused::into_left)?.is_some())
    }

    /// Waits for something that comes after claude's end, and goes on holding the run.
    pub(super) async fn holding<T>(&mut self, thing: impl Future<Output = T>) -> Result<T> {
        // Boxed: it is large, and every attempt would carry it.
        let mut thing = Box::pin(thing);
        let mut renew_at = Instant::now() + self.host.config.times.renew;
        loop {
            tokio::select! {
                () = self.host.stop.cancelled() => return Err(Left::Stopping),
                done = &mut thing => return Ok(done),
                Some(delivery) = self.again.recv() => self.delivery = Some(delivery),
                () = sleep_until(renew_at) => {
                    renew_at = Instant::now() + self.host.config.times.renew;
                    self.go_on_holding().await?;
                }
            }
        }
    }

    /// Tells the thread something, before claude begins.
    pub(super) async fn remark(&mut self, about: About, text: &str) -> Result<(), Refused> {
        if self.note_remark(about, text) {
            let record = self.held.record.clone();
            self.write(&record).await?;
        }
        Ok(())
    }

    /// Tells the thread something with the next revision of the record; false: it says so already.
    pub(super) fn note_remark(&mut self, about: About, text: &str) -> bool {
        let remarks = &mut self.held.record.remarks;
        if REMARKS_MAX <= remarks.len() || remarks.iter().any(|it| it.about == about) {
            return false;
        }
        tracing::warn!(run = %self.held.request.run, text, "does not come along");
        let text = text[..text.floor_char_boundary(NOTICE_MAX)].to_owned();
        remarks.push(Remark { about, text });
        true
    }
}

/// When FILES is asked: before claude a stop ends the run at once, after it the outcome is known.
#[derive(Clone, Copy, Debug)]
enum When {
    BeforeClaude,
    AfterClaude,
}

/// What became of a copy.
enum Copied {
    Whole(File),
    Nothing,
    TooLarge(u64),
}

/// Copies what a transcript is now: claude may go on writing it.
fn copy(from: &Path, to: &Path) -> io::Result<Copied> {
    let mut from = fs::File::open(from)?;
    let bytes = from.metadata()?.len();
    if bytes == 0 {
        return Ok(Copied::Nothing);
    }
    if TRANSCRIPT_MAX < bytes {
        return Ok(Copied::TooLarge(bytes));
    }
    io::copy(&mut from.by_ref().take(bytes), &mut fs::File::create(to)?)?;
    let digest = digest_of(to, bytes)?;
    Ok(digest.map_or(Copied::Nothing, |digest| Copied::Whole(File { digest, bytes })))
}

/// Whether a message is among the last of a transcript.
fn ends_with(transcript: &Path, message: Uuid) -> io::Result<bool> {
    let mut file = fs::File::open(transcript)?;
    let from = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let (mut bytes, wanted) = (Vec::new(), format!("\"uuid\":\"{message}\""));
    file.take(2 * TAIL).read_to_end(&mut bytes)?;
    Ok(bytes.windows(wanted.len()).any(|it| it == wanted.as_bytes()))
}
