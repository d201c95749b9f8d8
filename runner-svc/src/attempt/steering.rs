//! What people send into a run at work: each message is told claude once, in order, when claude has begun
//! on the request.
//!
//! The controls say what is to be told, and the lines in the spool what was: a line is on disk before the
//! keeper writes it, and its uuid is the same whoever looks, so any step may be the last one before a
//! `kill -9`. An attempt that follows a death tells all of them again, to a claude that is told the
//! request again as well. What has become part of the conversation stands in the terminal record; what has
//! not is asked by itself, so nothing here gives anything up.

use schemas::ids::RunId;
use uuid::Uuid;

use super::Result;
use super::follow::Follow;
use crate::claude::{LineState, told};
use crate::crash;
use crate::held::uuid_of;

impl Follow<'_> {
    /// Tells claude what was sent and is not told yet.
    pub(super) fn tell_sent(&mut self) -> Result<()> {
        if self.is_stopping() || !self.has_begun() {
            return Ok(());
        }
        let session = self.work.held.request.session.uuid();
        let sent = self.sent().into_iter();
        let new = sent.filter(|(uuid, ..)| self.progress.line_state(*uuid).is_none());
        let line = |uuid, text: &str| told::user(uuid, session, &text.into());
        let lines: Vec<_> = new.map(|(uuid, _, text)| line(uuid, &text)).collect();
        for line in lines {
            crash::point("steer.seen");
            self.tell(&line)?;
            crash::point("steer.told");
        }
        Ok(())
    }

    /// The runs whose words have become part of the conversation.
    pub(super) fn steered(&self) -> Vec<RunId> {
        let is_in = |uuid: &Uuid| match (self.progress.aborted(), self.progress.line_state(*uuid)) {
            // What claude began by itself after a stop is asked by itself.
            (Some(before), _) => before.contains(uuid),
            (None, Some(LineState::Echoed | LineState::AnsweredBefore)) => true,
            (None, Some(LineState::Written | LineState::Queued | LineState::Started) | None) => {
                false
            }
        };
        self.sent().into_iter().filter(|(uuid, ..)| is_in(uuid)).map(|(_, run, _)| run).collect()
    }

    /// What was sent into this generation: the uuid of its line for this attempt's claude, whose it is, and
    /// what claude is told.
    fn sent(&self) -> Vec<(Uuid, RunId, String)> {
        let record = &self.work.held.record;
        let controls = self.controls.as_ref().filter(|it| it.generation == record.generation);
        let steers = controls.into_iter().flat_map(|controls| &controls.steers);
        let named = |run: &RunId| format!("{run}/{}/{}", record.generation, record.attempt);
        let line = |run: &RunId| uuid_of(&format!("{}/steer", named(run)));
        steers.map(|it| (line(&it.run), it.run.clone(), it.text.clone())).collect()
    }

    /// Whether claude is at the request: what is told before it would be a question of its own.
    fn has_begun(&self) -> bool {
        match self.progress.line_state(self.work.held.prompt.uuid) {
            None | Some(LineState::Written | LineState::Queued) => false,
            Some(LineState::Started | LineState::Echoed | LineState::AnsweredBefore) => true,
        }
    }
}
