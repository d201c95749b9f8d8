//! Waiting until a server is ready: `/readyz` of ours, the greeting of nats-server.
//!
//! It looks again and again until a deadline, and gives up at once when the server has ended.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::http::get;
use crate::service::Service;

/// How long a server may take until it is ready. Everything at once on two busy cores takes a few
/// seconds; who takes this long will not get there.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Waits until the service's `/readyz` says 200.
///
/// # Errors
///
/// When it ended, or was not ready in time: with what it said, and the end of its log.
pub async fn until_ready(service: &mut Service, health: SocketAddr) -> Result<()> {
    until(service, || async {
        let (status, body) = get(health, "/readyz").await?;
        if status != 200 {
            bail!("{status}: {}", body.trim());
        }
        Ok(())
    })
    .await
}

/// Waits until the service has looked at everything, and returns what it finds wrong: it may be at work
/// all the same.
///
/// # Errors
///
/// As for [`until_ready`].
pub async fn until_settled(service: &mut Service, health: SocketAddr) -> Result<Vec<String>> {
    until(service, || async {
        let (_, body) = get(health, "/readyz").await?;
        ensure!(!body.lines().any(|line| line.ends_with(": starting")), "{}", body.trim());
        Ok(())
    })
    .await?;
    let (status, body) = get(health, "/readyz").await?;
    let wrong = if status == 200 { "" } else { body.as_str() };
    Ok(wrong.lines().map(str::to_owned).collect())
}

/// Waits until the service's `/healthz` answers.
///
/// # Errors
///
/// As for [`until_ready`].
pub async fn until_lives(service: &mut Service, health: SocketAddr) -> Result<()> {
    until(service, || async { get(health, "/healthz").await.map(|_| ()) }).await
}

/// Waits until a nats-server greets with JetStream.
///
/// # Errors
///
/// As for [`until_ready`].
pub async fn until_greets(service: &mut Service, address: SocketAddr) -> Result<()> {
    until(service, || async {
        let mut greeting = String::new();
        let stream = TcpStream::connect(address).await.context("no connection")?;
        BufReader::new(stream).read_line(&mut greeting).await.context("no greeting")?;
        if !greeting.contains("\"jetstream\":true") {
            bail!("greets without JetStream: {}", greeting.trim());
        }
        Ok(())
    })
    .await
}

/// Waits until `look` is content.
///
/// # Errors
///
/// As for [`until_ready`].
pub async fn until<F: Future<Output = Result<()>>>(
    service: &mut Service,
    look: impl Fn() -> F,
) -> Result<()> {
    let name = service.name();
    let until = Instant::now() + READY_WITHIN;
    loop {
        let looked = timeout(LOOK_MAX, look()).await;
        let error = match looked.context("no answer").flatten() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let Some(status) = service.ended() {
            bail!("{name} ended with {status} before it was ready\n{}", service.tail());
        }
        if until < Instant::now() {
            let tail = service.tail();
            return Err(error.context(format!("{name} is not ready in {READY_WITHIN:?}\n{tail}")));
        }
        sleep(LOOK_EVERY).await;
    }
}
