//! What an operator does to the bus by hand, and what they look at. No service is asked, so a story
//! can break what the services stand on.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::jetstream::ask_with;
use crate::world::{PATIENCE, World};

/// A message of a stream, as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}

impl World {
    /// Asks JetStream. `what` is the subject behind `$JS.API.`.
    ///
    /// # Errors
    ///
    /// When nobody answers, or the answer is an error.
    pub async fn jetstream(&self, what: &str, request: &Value) -> Result<Value> {
        let body = if request.is_null() { String::new() } else { request.to_string() };
        self.request(&format!("$JS.API.{what}"), &body).await
    }

    /// Stores a message in the stream that takes its subject.
    ///
    /// # Errors
    ///
    /// When it is not stored.
    pub async fn store(&self, message: &Stored) -> Result<()> {
        let answer = self.request(&message.subject, &message.text).await?;
        ensure!(answer["seq"].is_u64(), "it is not stored: {answer}");
        Ok(())
    }

    /// The messages of a stream.
    ///
    /// # Errors
    ///
    /// When JetStream does not say.
    pub async fn stored(&self, stream: &str) -> Result<Vec<Stored>> {
        let subjects = json!({"subjects_filter": ">"});
        let info = self.jetstream(&format!("STREAM.INFO.{stream}"), &subjects).await?;
        let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
        let mut stored = Vec::new();
        for subject in subjects.keys() {
            let text = self.read_stored(stream, subject).await?;
            stored.push(Stored { subject: subject.clone(), text });
        }
        Ok(stored)
    }

    async fn read_stored(&self, stream: &str, subject: &str) -> Result<String> {
        let request = json!({"last_by_subj": subject});
        let answer = self.jetstream(&format!("STREAM.MSG.GET.{stream}"), &request).await?;
        let data = answer["message"]["data"].as_str().context("no data")?;
        String::from_utf8(decode(data)?).context("no text")
    }

    /// Waits until the state of a stream is as wanted.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn stream_is(&self, stream: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        self.jetstream_is(&format!("STREAM.INFO.{stream}"), |info| holds(&info["state"])).await
    }

    /// Waits until the state of the runner's consumer is as wanted.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn consumer_is(&self, holds: impl Fn(&Value) -> bool) -> Result<()> {
        self.jetstream_is("CONSUMER.INFO.WORK.runner-host", holds).await
    }

    async fn jetstream_is(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let mut last = Value::Null;
        let looked = timeout(PATIENCE, async {
            loop {
                // A server that was just started may not know its streams yet.
                if let Ok(info) = self.jetstream(what, &Value::Null).await {
                    last = info;
                    if holds(&last) {
                        return;
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        if looked.await.is_ok() {
            return Ok(());
        }
        let error = anyhow::anyhow!("{what} is not as it should be: {last:#}");
        Err(self.fail(error).await)
    }

    async fn request(&self, subject: &str, words: &str) -> Result<Value> {
        let door = self.stack.lock().await.door();
        ask_with(&door, subject, words).await
    }
}

/// How often it is looked whether a state is there.
pub(crate) const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Base64, as JetStream's API gives messages.
fn decode(text: &str) -> Result<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).context("no base64")?;
        bits = bits << 6 | u32::try_from(value)?;
        count += 6;
        if 8 <= count {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_read() {
        assert_eq!(super::decode("SG9sZGZhc3Q=").unwrap(), b"Holdfast");
    }
}
