//! Who has the runner's name, in `RUNS`: read, taken by compare-and-set, and who was refused it.

use async_nats::jetstream::kv;
use async_nats::jetstream::message::PublishMessage;
use schemas::identity::{Identity, Twin};
use schemas::ids::RunnerId;
use schemas::streams::{self, bucket_subject};

use super::{Bus, BusError, Cas, REQUEST_TIMEOUT, Result, is_conflict, request};

impl Bus {
    /// Who has the name, and the revision that says so; 0 with nobody, when it was never taken.
    pub(crate) async fn identity(&self, runner: &RunnerId) -> Result<(Option<Identity>, u64)> {
        let name = streams::identity_key(runner);
        let doing = "reading who has the name";
        let entry = tokio::time::timeout(REQUEST_TIMEOUT, self.runs.entry(&name))
            .await
            .map_err(request(doing))?
            .map_err(request(doing))?;
        let Some(entry) = entry else { return Ok((None, 0)) };
        if entry.operation != kv::Operation::Put {
            return Ok((None, entry.revision));
        }
        let identity = schemas::from_json(&entry.value)
            .map_err(|source| BusError::Unreadable { what: format!("the key {name}"), source })?;
        Ok((Some(identity), entry.revision))
    }

    /// Takes the name, if nobody wrote since `revision`.
    ///
    /// # Errors
    ///
    /// It may be taken or not: [`Bus::identity`] tells.
    pub(crate) async fn take_name(&self, me: &Identity, revision: u64) -> Result<Cas> {
        let message = PublishMessage::build()
            .payload(schemas::to_json(me).into())
            .expected_last_subject_sequence(revision);
        let subject = bucket_subject(streams::RUNS, &streams::identity_key(&me.runner));
        let acked = match self.context.send_publish(subject, message).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match acked {
            Ok(ack) => Ok(Cas::Won(ack.sequence)),
            Err(error) if is_conflict(&error) => Ok(Cas::Lost),
            Err(error) => Err(request("taking the name")(error)),
        }
    }

    /// Tells the gateway that somebody was refused a name.
    pub(crate) async fn tell_twin(&self, twin: &Twin) -> Result<()> {
        let message =
            PublishMessage::build().payload(schemas::to_json(twin).into()).ttl(streams::KEEP);
        let subject = bucket_subject(streams::RUNS, &streams::twin_key(&twin.refused.runner));
        let doing = "telling of a twin";
        let ack = self.context.send_publish(subject, message).await.map_err(request(doing))?;
        ack.await.map(|_| ()).map_err(request(doing))
    }
}
