//! When a service is to end: at SIGTERM or SIGINT, cleanly; at a second one, at once.
//!
//! It only tells; what ending means is the business of whoever holds the token.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a service may take to finish its writes after the first signal.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long what blocks a thread may take after everything else has ended.
const LEFT_MAX: Duration = Duration::from_secs(1);

/// Exit code after a second signal, or when [`GRACE`] is over: 128 + SIGTERM, as a shell says it.
const EXIT_CUT: u8 = 143;

/// Runs `service` until it returns. The first SIGTERM or SIGINT cancels `stop`; a second one, or
/// [`GRACE`] going by, drops `service` where it stands.
///
/// # Errors
///
/// What `service` returned, and a failure to listen for signals.
pub async fn run_until_signalled<E: From<io::Error>>(
    stop: CancellationToken,
    service: impl Future<Output = Result<(), E>>,
) -> Result<ExitCode, E> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::pin!(service);
    tokio::select! {
        ended = &mut service => return ended.map(|()| ExitCode::SUCCESS),
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping; a second signal stops at once");
    stop.cancel();
    tokio::select! {
        ended = &mut service => ended.map(|()| ExitCode::SUCCESS),
        _ = term.recv() => Ok(ExitCode::from(EXIT_CUT)),
        _ = int.recv() => Ok(ExitCode::from(EXIT_CUT)),
        () = tokio::time::sleep(GRACE) => {
            tracing::warn!(grace_s = GRACE.as_secs(), "did not end in time; leaving as it is");
            Ok(ExitCode::from(EXIT_CUT))
        }
    }
}

/// Runs `life` on a runtime, and waits for no call that blocks a thread when it is over: a disk or a
/// name server may never answer.
pub fn run<T>(runtime: Runtime, life: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(life);
    runtime.shutdown_timeout(LEFT_MAX);
    ended
}
