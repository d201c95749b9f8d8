//! One request at a time to a page on loopback: all that is asked of containers.
//!
//! Speaks as much of HTTP as the simulators, the collector and Jaeger need, so that `cargo xtask` takes no
//! client along. Never leaves loopback, and never waits longer than it says.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The most that is read of an answer: a page of messages is some kilobytes.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The body, as text.
    pub(super) body: String,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// GET.
    Get,
    /// POST of JSON.
    Json(&'a Value),
    /// POST of protobuf.
    Protobuf(&'a [u8]),
}

/// Asks, and takes the answer, whatever its status.
///
/// # Errors
///
/// When nobody answers in time, or with something that is not HTTP.
pub(super) fn ask(port: u16, path: &str, request: Request<'_>) -> Result<Answer> {
    let what = || format!("nobody answers at 127.0.0.1:{port}{path}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(what)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).with_context(what)?;
    stream.set_write_timeout(Some(ANSWER_WITHIN)).with_context(what)?;
    let (head, body) = match request {
        Request::Get => ("GET", None),
        Request::Json(value) => {
            ("POST", Some(("application/json", value.to_string().into_bytes())))
        }
        Request::Protobuf(bytes) => ("POST", Some(("application/x-protobuf", bytes.to_vec()))),
    };
    // HTTP/1.0: the answer ends with the connection, and comes in one piece.
    let kind = match &body {
        Some((kind, body)) => {
            format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len())
        }
        None => String::new(),
    };
    let text =
        format!("{head} {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n{kind}\r\n");
    stream.write_all(text.as_bytes()).with_context(what)?;
    if let Some((_, body)) = body {
        stream.write_all(&body).with_context(what)?;
    }
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).with_context(what)?;
    parse(&String::from_utf8_lossy(&answer)).with_context(what)
}

/// Asks for JSON.
///
/// # Errors
///
/// As for [`ask`], and when the answer is none, or no good one.
pub(super) fn json(port: u16, path: &str, request: Request<'_>) -> Result<Value> {
    let Answer { status, body } = ask(port, path, request)?;
    ensure!((200..300).contains(&status), "{path} answers {status}: {}", body.trim());
    serde_json::from_str(&body).with_context(|| format!("{path} answers no JSON: {body:?}"))
}

fn parse(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is cut off")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer { status: status.context("the answer is no HTTP")?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = parse("HTTP/1.0 404 Not Found\r\ncontent-type: text/plain\r\n\r\nno\r\n\r\n");
        assert_eq!(answer.unwrap(), Answer { status: 404, body: "no\r\n\r\n".into() });
        assert!(parse("HTTP/1.0 200 OK\r\n").is_err());
        assert!(parse("hello\r\n\r\n").is_err());
    }
}
