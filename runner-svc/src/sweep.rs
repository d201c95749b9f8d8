//! Takes away what nobody claims any more: worktrees of threads that have been quiet for long, and
//! the marks of threads that worked in a project's directory itself, transcripts, files of questions.
//!
//! A worktree with work that is nowhere else stays, however old; the log says why. A place whose
//! thread has a run is never looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use platform::clock::now_ms;
use platform::reload::Current;
use schemas::ids::{ProjectName, ThreadId};
use schemas::streams::KEEP;

use crate::host::Host;
use crate::worktree::Site;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Looks at the start and every few hours, until the runner is to end.
pub(crate) async fn run(current: Current<Host>) -> anyhow::Result<()> {
    loop {
        let host = current.now();
        host.sessions.sweep(clock());
        host.files.sweep(clock(), |thread| host.live.try_enter(thread).is_none());
        match host.worktrees.threads() {
            Ok(threads) => {
                for (project, thread) in threads {
                    look(&host, &project, thread).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the worktrees were not looked at"),
        }
        if host.stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

async fn look(host: &Host, project: &ProjectName, thread: ThreadId) {
    let Some(settings) = host.config.projects.get(project) else { return };
    if is_fresh(host.worktrees.used(project, thread), clock()) {
        return;
    }
    // It has a run: it is looked at another time.
    let Some(_alone) = host.live.try_enter(thread) else { return };
    // A run may have come and gone meanwhile.
    if is_fresh(host.worktrees.used(project, thread), clock()) {
        return;
    }
    let site = Site { project, directory: &settings.directory, options: &settings.place };
    match host.worktrees.remove(site, thread).await {
        Ok(None) => tracing::info!(%project, %thread, "its worktree or its mark was taken away"),
        Ok(Some(stays)) => tracing::info!(%project, %thread, %stays, "its worktree stays"),
        Err(error) => tracing::warn!(%project, %thread, %error, "its worktree stays"),
    }
}

fn clock() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now_ms().unsigned_abs())
}

/// Whether a place was used within the time that things are kept. What nothing is known of is.
fn is_fresh(used: Option<SystemTime>, now: SystemTime) -> bool {
    let Some(used) = used else { return true };
    // A clock that was put back makes everything fresh.
    now.duration_since(used).is_ok_and(|age| age < KEEP) || now < used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_as_long_as_things_are_kept_is_old() {
        let now = clock();
        assert!(is_fresh(None, now));
        assert!(is_fresh(Some(now), now));
        assert!(is_fresh(Some(now + KEEP), now));
        assert!(is_fresh(Some(now - KEEP + Duration::from_secs(1)), now));
        assert!(!is_fresh(Some(now - KEEP), now));
    }
}
