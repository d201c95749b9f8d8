//! Chromium's protocol: a question, its answer, over one websocket; one at a time.
//!
//! What Chromium tells unasked is passed over. A question that was given up leaves its answer behind,
//! which the next one passes over as well.

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::PATIENCE;

/// An open websocket, and the number of the last question.
#[derive(Debug)]
pub(super) struct Wire(Mutex<(WebSocketStream<MaybeTlsStream<TcpStream>>, u64)>);

impl Wire {
    pub(super) async fn open(address: &str) -> Result<Self> {
        let opened = timeout(PATIENCE, connect_async(address)).await;
        let (stream, _) = opened.context("Chromium does not answer")??;
        Ok(Self(Mutex::new((stream, 0))))
    }

    /// Asks the browser, or one of its tabs.
    ///
    /// # Errors
    ///
    /// What Chromium says, or that it says nothing.
    pub(super) async fn ask(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        let asked = self.ask_now(session, method, params);
        timeout(PATIENCE, asked).await.with_context(|| format!("Chromium is silent: {method}"))?
    }

    async fn ask_now(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let mut guard = self.0.lock().await;
        let (stream, last) = &mut *guard;
        *last += 1;
        let id = *last;
        let mut question = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            question["sessionId"] = json!(session);
        }
        stream.send(Message::text(question.to_string())).await.context("Chromium is gone")?;
        loop {
            let heard = stream.next().await.context("Chromium is gone")??;
            let Message::Text(text) = heard else { continue };
            let mut told: Value = serde_json::from_str(&text).context("Chromium says no JSON")?;
            if told["id"] != id {
                continue;
            }
            if let Some(error) = told["error"]["message"].as_str() {
                bail!("{method}: {error}");
            }
            return Ok(told["result"].take());
        }
    }
}

/// Bytes from base64 (RFC 4648, section 4); nothing when a character is none of it.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [None; 256];
    for (value, letter) in (0_u32..).zip(LETTERS) {
        values[usize::from(*letter)] = Some(value);
    }
    let letters = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3 + 3);
    for group in letters.chunks(4) {
        let mut bits = 0;
        for letter in group {
            bits = bits << 6 | values[usize::from(*letter)]?;
        }
        let whole = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice(&whole[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_its_standard_says() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base64("/+8="), Some(vec![0xff, 0xef]));
        assert_eq!(from_base64("Zm\n9v"), None);
    }
}
