//! Files of a question and of its answer: they come from FILES before claude starts, and go there before
//! the outcome is told.
//!
//! What came with a question lies whole in its folder, or claude does not start: an answer without it
//! would be of no use. What goes with an answer is copied into the spool first, and is in FILES before
//! the record names it; what does not go is named. Which files those are is said by `given`, what claude
//! is told by `attached`.

use std::fs;
use std::path::Path;

use schemas::carried::File;
use schemas::files::{GIVEN_MAX, Given, WITHHELD_MAX, Withheld, is_safe_name};
use schemas::record::{INLINE_MAX, Outcome, Record, State, Text};

use super::ask::patiently;
use super::{Refused, Result, Work, trouble};
use crate::attached;
use crate::bus::digest_of;
use crate::claude::told;
use crate::crash;
use crate::files::Folder;
use crate::given::{self, Found, Places};
use crate::held::Prompt;
use crate::spool::Spool;

/// The folder of the spool that has copies of what goes with the answer.
const COPIES: &str = "given";

impl Work {
    /// The files of the conversation on this host.
    pub(super) fn folder(&self) -> Folder {
        let request = &self.held.request;
        self.host.files.of(&request.project, request.thread)
    }

    /// Makes the outbox, and fetches what came with the question.
    pub(super) async fn bring_files(&mut self) -> Result<(), Refused> {
        let (folder, run) = (self.folder(), self.held.request.run.clone());
        let begin = || folder.begin(&run).and_then(|()| folder.make_inbox(&run));
        let inbox = tokio::task::block_in_place(begin).map_err(Refused::trouble)?;
        crash::point("files.begun");
        for attached in self.held.request.files.clone() {
            let name = attached.name;
            if !is_safe_name(&name) {
                return Err(Refused::Never(
                    "a file of the question has a name that is none.".into(),
                ));
            }
            let to = inbox.join(&name);
            let is_there = || is_whole(&to, &attached.file);
            if tokio::task::block_in_place(is_there) {
                continue;
            }
            if !self.fetch(&attached.file, &to).await? {
                return Err(Refused::Never(format!(
                    "the attached file `{name}` is not to be had any more. Please send it again."
                )));
            }
        }
        Ok(())
    }

    /// The line that claude is told for a prompt, with its files.
    pub(super) fn line(&self, prompt: &Prompt) -> Result<String> {
        let request = &self.held.request;
        let inbox = self.folder().inbox(&request.run);
        let text = self.held.text(prompt);
        let look = || attached::words(&text, &inbox, &request.files, &request.withheld);
        let words = tokio::task::block_in_place(look).map_err(trouble)?;
        Ok(told::user(prompt.uuid, request.session.uuid(), &words))
    }

    /// Puts what goes with the answer into FILES, and names it in the record that is about to be written.
    pub(super) async fn give(&mut self, spool: &Spool, state: &State) -> Result<()> {
        let State::Ended {
            outcome: Outcome::Answered { answer: Text::Inline(answer), .. }, ..
        } = state
        else {
            return Ok(());
        };
        let (outbox, copies) = (self.folder().outbox(), spool.dir().join(COPIES));
        let cwd = spool.cwd().map_err(trouble)?.unwrap_or_else(|| outbox.clone());
        let redactor = self.host.bus.redactor();
        let places = Places { outbox: &outbox, cwd: &cwd, copies: &copies, redactor };
        let found = tokio::task::block_in_place(|| given::find(places, answer));
        let Found { files, mut withheld } = found.map_err(trouble)?;
        let mut given = Vec::new();
        for copied in files {
            if self.put(&copied.file, &copied.path).await? {
                given.push(Given { name: copied.name, file: copied.file });
            } else {
                withheld.push(Withheld::new(&copied.name, "is not taken by FILES"));
            }
        }
        if !given.is_empty() {
            crash::point("finish.given");
        }
        given.truncate(GIVEN_MAX);
        withheld.truncate(WITHHELD_MAX);
        (self.held.record.files, self.held.record.withheld) = (given, withheld);
        Ok(())
    }

    /// Puts a file of our own into FILES, and names it in the record that is about to be written.
    pub(super) async fn give_own(&mut self, name: &str, path: &Path) -> Result<()> {
        let read = || {
            let bytes = fs::metadata(path)?.len();
            std::io::Result::Ok(digest_of(path, bytes)?.map(|digest| File { digest, bytes }))
        };
        let file = tokio::task::block_in_place(read).map_err(trouble)?;
        let put = match file {
            Some(file) if self.put(&file, path).await? => Some(file),
            Some(_) | None => None,
        };
        let record = &mut self.held.record;
        match put {
            Some(file) => record.files = vec![Given { name: name.to_owned(), file }],
            None => record.withheld = vec![Withheld::new(name, "is not taken by FILES")],
        }
        Ok(())
    }

    /// Empties the outbox, now that the record names what was in it.
    pub(super) fn given(&self) {
        if let Err(error) = tokio::task::block_in_place(|| self.folder().clear()) {
            tracing::debug!(%error, "the outbox is emptied by the next run");
        }
    }

    /// The state as a record can hold it: a long answer goes to FILES first.
    pub(super) async fn stored(&self, state: &State) -> Result<State> {
        let mut state = self.host.bus.redactor().state(state);
        if let State::Ended { outcome: Outcome::Answered { answer, .. }, .. } = &mut state
            && let Text::Inline(text) = answer
            && INLINE_MAX < text.len()
        {
            let project = &self.held.request.project;
            let put = || {
                let (bus, project, text) = (self.host.bus.clone(), project.clone(), text.clone());
                async move { bus.put_text(&project, &text).await }
            };
            let digest = patiently(&self.host, put).await?;
            crash::point("finish.filed");
            *answer = Text::File { digest, bytes: text.len() as u64 };
        }
        Ok(state)
    }
}

/// Takes along what the outcome of an earlier generation has left.
pub(super) fn bring_along(record: &mut Record, read: &Record) {
    record.carried.clone_from(&read.carried);
    record.remarks.clone_from(&read.remarks);
    record.steered.clone_from(&read.steered);
    record.files.clone_from(&read.files);
    record.withheld.clone_from(&read.withheld);
}

/// Whether a file lies there as its digest says.
fn is_whole(path: &Path, file: &File) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|it| it.len() == file.bytes);
    has_size && matches!(digest_of(path, file.bytes), Ok(Some(digest)) if digest == file.digest)
}
