//! Where claude is at work, as lines that a person can put into a terminal of its host.
//!
//! Pure, but for the noting. A line is exact or it is not there: what does not fit, or would not come
//! through Discord as it is, is left out with all the others.

use std::ffi::OsStr;

use schemas::record::{Record, WHEREABOUTS_MAX, Whereabouts};
use uuid::Uuid;

use super::Work;
use crate::held::Held;
use crate::spool::Spec;

/// The variable that says where claude keeps its sessions.
const CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";

impl Work {
    /// Notes in the record where claude is started, for the revision that says that it was seen.
    pub(super) fn say_where(&mut self, spec: &Spec) {
        let attach = self.host.tmux.attach_line(&session_name(&self.held));
        self.held.record.whereabouts = of(spec, self.held.request.session.uuid(), attach);
    }
}

/// The tmux session of an attempt. Ids hold no character that tmux would read as more than a name.
pub(crate) fn session_name(held: &Held) -> String {
    let Record { run, generation, attempt, .. } = &held.record;
    format!("{run}-{generation}-{attempt}")
}

/// The lines of a claude that is started so; `None`: one of them could not be shown.
fn of(spec: &Spec, session: Uuid, attach: String) -> Option<Whereabouts> {
    let dir = spec.cwd.to_str()?.to_owned();
    let program = quoted(spec.argv.first()?.to_str()?);
    let config = match spec.env.get(OsStr::new(CONFIG_DIR)) {
        Some(config) => format!("{CONFIG_DIR}={} ", quoted(config.to_str()?)),
        None => String::new(),
    };
    let resume = format!("cd {} && {config}{program} --resume {session}", quoted(&dir));
    let fits = |line: &String| {
        line.len() <= WHEREABOUTS_MAX && !line.contains(|c: char| c == '`' || c.is_control())
    };
    let fit = [&dir, &resume, &attach].into_iter().all(fits);
    fit.then_some(Whereabouts { dir, resume, attach })
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./,:=@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cwd: &str, env: &[(&str, &str)]) -> Spec {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Spec { argv: vec!["claude".into(), "-p".into()], env, cwd: cwd.into() }
    }

    #[test]
    fn a_line_can_be_put_into_a_shell_as_it_is() {
        let id = Uuid::nil();
        let at = of(&spec("/srv/it's here", &[(CONFIG_DIR, "/c d")]), id, "tmux".into()).unwrap();
        assert_eq!(
            at.resume,
            format!(r"cd '/srv/it'\''s here' && CLAUDE_CONFIG_DIR='/c d' claude --resume {id}")
        );
        let at = of(&spec("/srv/app", &[]), id, "tmux".into()).unwrap();
        assert_eq!(at.resume, format!("cd /srv/app && claude --resume {id}"));
    }

    #[test]
    fn what_would_not_come_through_is_left_out() {
        for dir in ["/a`b", "/a\nb", &format!("/{}", "x".repeat(500))] {
            assert_eq!(of(&spec(dir, &[]), Uuid::nil(), "tmux".into()), None, "{dir:?}");
        }
    }
}
