//! As much of HTTP as a health page and the doors of the simulators need: HTTP/1.0 over loopback.
//!
//! It never follows, never keeps a connection, and knows no TLS.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One GET: the status and the body.
///
/// # Errors
///
/// When nobody answers, or not in HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")).await
}

/// One POST of JSON: the status and the body.
///
/// # Errors
///
/// When nobody answers, or not in HTTP.
pub async fn post(address: SocketAddr, path: &str, body: &Value) -> Result<(u16, String)> {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    ask(address, &(head + &body)).await
}

/// One request with a token, if there is one, and a body of JSON, if it is not empty: the status and the
/// body.
///
/// # Errors
///
/// When nobody answers, or not in HTTP.
pub async fn request(
    address: SocketAddr,
    (method, path): (&str, &str),
    token: Option<&str>,
    body: &str,
) -> Result<(u16, String)> {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let content = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{token}{content}Content-Length: {}\r\n\r\n",
        body.len()
    );
    ask(address, &(head + body)).await
}

async fn ask(address: SocketAddr, request: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.context("no connection")?;
    stream.write_all(request.as_bytes()).await.context("the connection broke")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("the connection broke")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("no HTTP status")?, body.to_owned()))
}
