//! The files of an answer → posts with them, behind its last page.
//!
//! Pure. A file that Discord does not take is named in the small print, as are those that did not leave
//! their host. They have posts of their own: words never wait for a file.

use schemas::files::{GIVEN_MAX, Given, Withheld, distinct_name, safe_name};
use schemas::ids::{ChannelId, ProjectName};

use crate::attached::{MIB, left_out, size};
use crate::outbox::Action;

/// The most bytes of all files of a message: the largest request that Discord takes (25 MiB), less the
/// form around it.
const MESSAGE_MAX: u64 = 24 * MIB;

/// What goes with an answer, and what does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gift<'a> {
    /// The project, in whose FILES they lie.
    pub(crate) project: &'a ProjectName,
    /// The files.
    pub(crate) files: &'a [Given],
    /// Those that did not leave their host.
    pub(crate) withheld: &'a [Withheld],
    /// The most bytes of one.
    pub(crate) file_max: u64,
}

impl Gift<'_> {
    /// Those that Discord takes.
    fn taken(&self) -> impl Iterator<Item = &Given> {
        let max = self.file_max.min(MESSAGE_MAX);
        self.files.iter().take(GIVEN_MAX).filter(move |it| it.file.bytes <= max)
    }

    /// The line that names what does not go.
    pub(super) fn not_sent(&self) -> Option<String> {
        let max = self.file_max.min(MESSAGE_MAX);
        let large = self.files.iter().filter(|it| max < it.file.bytes);
        let large = large.map(|it| {
            let why = format!("is too large for Discord ({})", size(it.file.bytes));
            Withheld::new(&it.name, &why)
        });
        let all: Vec<Withheld> = self.withheld.iter().cloned().chain(large).collect();
        (!all.is_empty()).then(|| format!("-# 📎 Not sent: {}.", left_out(&all)))
    }

    /// The posts, each with as many as a message may have.
    pub(super) fn posts(&self, channel: ChannelId) -> Vec<Action> {
        let mut batches: Vec<(u64, Vec<Given>)> = Vec::new();
        for given in self.taken() {
            let bytes = given.file.bytes;
            match batches.last_mut() {
                Some((sum, batch)) if *sum + bytes <= MESSAGE_MAX => {
                    // Whoever wrote the record: a name is one before it is sent.
                    let others: Vec<&str> = batch.iter().map(|it| &*it.name).collect();
                    let name = distinct_name(&given.name, &others);
                    batch.push(Given { name, file: given.file.clone() });
                    *sum += bytes;
                }
                Some(_) | None => {
                    let name = safe_name(&given.name);
                    batches.push((bytes, vec![Given { name, file: given.file.clone() }]));
                }
            }
        }
        let post = |(_, files): (u64, Vec<Given>)| {
            let content = format!("-# 📎 {}", names(&files));
            let (reply_to, project) = (None, self.project.clone());
            Action::Files { channel, reply_to, content, project, files }
        };
        batches.into_iter().map(post).collect()
    }
}

/// Files by name, as people are told.
pub(crate) fn names(files: &[Given]) -> String {
    files.iter().map(|it| format!("`{}`", it.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::carried::File;

    fn given(name: &str, mib: u64) -> Given {
        Given { name: name.into(), file: File { digest: name.into(), bytes: mib * MIB } }
    }

    fn posts(gift: &Gift<'_>) -> Vec<(String, usize)> {
        let all = gift.posts("7".parse().unwrap()).into_iter();
        all.map(|it| {
            let Action::Files { content, files, .. } = it else { panic!("{it:?}") };
            (content, files.len())
        })
        .collect()
    }

    #[test]
    fn files_go_in_as_few_messages_as_discord_takes() {
        let project = "app".parse().unwrap();
        let files = [given("a.png", 9), given("b", 9), given("c", 9), given("c", 1)];
        let gift = Gift { project: &project, files: &files, withheld: &[], file_max: 10 * MIB };
        let expected = [("-# 📎 `a.png`, `b`".into(), 2), ("-# 📎 `c`, `c-2`".into(), 2)];
        assert_eq!(posts(&gift), expected);
        assert_eq!(gift.not_sent(), None);
    }

    #[test]
    fn what_does_not_go_is_named_with_its_reason() {
        let project = "app".parse().unwrap();
        let files = [given("film`.mp4", 20)];
        let withheld = [Withheld::new("x", "is empty")];
        let gift =
            Gift { project: &project, files: &files, withheld: &withheld, file_max: 10 * MIB };
        assert!(posts(&gift).is_empty());
        assert_eq!(
            gift.not_sent().unwrap(),
            "-# 📎 Not sent: `x` is empty; `film_.mp4` is too large for Discord (20.9 MB)."
        );
    }
}
