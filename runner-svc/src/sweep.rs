//! Takes away what nobody claims any more: worktrees of threads that have been quiet for long.
//!
//! A worktree with work that is nowhere else stays, however old; the log says why.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use platform::clock::now_ms;
use schemas::ids::{ProjectName, ThreadId};
use schemas::streams::KEEP;

use crate::host::Host;
use crate::worktree::Site;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Looks at the start and every few hours, until the runner is to end.
pub(crate) async fn run(host: Arc<Host>) -> anyhow::Result<()> {
    loop {
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
    let folder = host.config.state_dir.join("worktrees").join(project.as_str());
    if is_fresh(&folder.join(thread.to_string())) {
        return;
    }
    let site = Site { project, directory: &settings.directory, options: &settings.place };
    let _alone = host.live.line_up(thread).await;
    match host.worktrees.remove(site, thread).await {
        Ok(None) => tracing::info!(%project, %thread, "its worktree was taken away"),
        Ok(Some(stays)) => tracing::info!(%project, %thread, ?stays, "its worktree stays"),
        Err(error) => tracing::warn!(%project, %thread, %error, "its worktree stays"),
    }
}

/// Whether something was written in the folder itself within the time that things are kept.
fn is_fresh(folder: &Path) -> bool {
    let Ok(written) = folder.metadata().and_then(|it| it.modified()) else { return true };
    let since = written.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let age_ms = now_ms() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    age_ms < i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX)
}
