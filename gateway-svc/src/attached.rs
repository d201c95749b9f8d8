//! The files of a message: which of them claude is given, under what name, and why not the others.
//!
//! Pure. What a project allows is looked at before anything is fetched: count, size and kind, as Discord
//! tells them. Where the files are on their way is a value that the store keeps ([`Files`]); `bringing`
//! takes them there.

use std::collections::BTreeSet;

use schemas::carried::File;
use schemas::files::{
    ATTACHED_MAX, Attached, Kind, NAME_MAX, WITHHELD_MAX, Withheld, distinct_name, safe_name,
};
use serde::{Deserialize, Serialize};

use crate::discord::is_discords;
use crate::intake::Attachment;

/// A mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

/// What a project allows of attached files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How many of a message.
    pub(crate) count_max: usize,
    /// How large each may be, in bytes.
    pub(crate) bytes_max: u64,
    /// Of what kinds.
    pub(crate) kinds: BTreeSet<Kind>,
}

impl Default for Terms {
    fn default() -> Self {
        // As many and as large as Discord takes of a person who does not pay.
        let kinds = [Kind::Text, Kind::Image, Kind::Pdf].into();
        Self { count_max: ATTACHED_MAX, bytes_max: 10 * MIB, kinds }
    }
}

/// The files of a run, on their way from Discord to FILES. Stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// Those that claude is given.
    pub(crate) taken: Vec<Taken>,
    /// Those that it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) withheld: Vec<Withheld>,
}

/// One that claude is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// What it is called there.
    pub(crate) name: String,
    /// Where Discord has it. The address is good for a day; the message says a new one.
    pub(crate) url: String,
    /// Its media type, as Discord says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    /// Its size in bytes, as Discord says.
    pub(crate) bytes: u64,
    /// Where it lies in FILES, once it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<File>,
}

impl Taken {
    /// Whether Discord means the same file by this address: what is behind `?` changes.
    pub(crate) fn is_at(&self, url: &str) -> bool {
        let place = |url: &str| url.split('?').next().unwrap_or(url).to_owned();
        place(&self.url) == place(url)
    }
}

impl Files {
    /// Sorts the files of a message.
    pub(crate) fn sift(attachments: &[Attachment], terms: &Terms) -> Self {
        let mut files = Self::default();
        for file in attachments {
            if let Some(why) = refusal(file, files.taken.len(), terms) {
                files.withhold(&file.name, &why);
                continue;
            }
            let others: Vec<&str> = files.taken.iter().map(|it| &*it.name).collect();
            let name = distinct_name(&file.name, &others);
            files.taken.push(Taken {
                name,
                url: file.url.clone(),
                media_type: file.media_type.clone(),
                bytes: file.bytes,
                file: None,
            });
        }
        files
    }

    /// The same, which knows of what lies in FILES already.
    #[must_use]
    pub(crate) fn knowing(mut self, before: &Self) -> Self {
        for taken in &mut self.taken {
            let known = before.taken.iter().find(|it| it.is_at(&taken.url) && it.file.is_some());
            if let Some(known) = known {
                taken.file.clone_from(&known.file);
            }
        }
        self
    }

    /// The files of several messages as those of one; `None`: they are too many.
    pub(crate) fn joined<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut joined = Self::default();
        for files in all {
            for taken in &files.taken {
                let others: Vec<&str> = joined.taken.iter().map(|it| &*it.name).collect();
                let name = distinct_name(&taken.name, &others);
                joined.taken.push(Taken { name, ..taken.clone() });
            }
            for out in &files.withheld {
                joined.withhold(&out.name, &out.why);
            }
        }
        (joined.taken.len() <= ATTACHED_MAX).then_some(joined)
    }

    /// Whether these are the same files, whatever became of them since.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let is_both = |it: &Taken| {
            let gone = other.withheld.iter().any(|out| out.name == it.name);
            gone || other.taken.iter().any(|theirs| theirs.is_at(&it.url))
        };
        other.taken.len() <= self.taken.len() && self.taken.iter().all(is_both)
    }

    /// Leaves a file out.
    pub(crate) fn withhold(&mut self, name: &str, why: &str) {
        if self.withheld.len() < WITHHELD_MAX {
            self.withheld.push(Withheld::new(name, why));
        }
    }

    /// Whether some are still on their way.
    pub(crate) fn are_due(&self) -> bool {
        self.taken.iter().any(|it| it.file.is_none())
    }

    /// Whether there are none, and none were left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.withheld.is_empty()
    }

    /// What a runner is told of them. Those that are still on their way are not there.
    pub(crate) fn attached(&self) -> Vec<Attached> {
        let there = |it: &Taken| {
            let file = it.file.clone()?;
            Some(Attached { name: it.name.clone(), media_type: it.media_type.clone(), file })
        };
        self.taken.iter().filter_map(there).collect()
    }
}

/// Why a file is left out; `count` are taken already.
fn refusal(file: &Attachment, count: usize, terms: &Terms) -> Option<String> {
    if !is_discords(&file.url) {
        return Some("does not lie with Discord".into());
    }
    if file.bytes == 0 {
        return Some("is empty".into());
    }
    if terms.bytes_max < file.bytes {
        let (has, may) = (size(file.bytes), size(terms.bytes_max));
        return Some(format!("is too large ({has}; a file may have {may})"));
    }
    if !terms.kinds.contains(&Kind::of(&file.name, file.media_type.as_deref())) {
        return Some(format!("is none of what may be attached here: {}", kinds(&terms.kinds)));
    }
    (terms.count_max <= count)
        .then(|| format!("is one too many: a message may have {}", terms.count_max))
}

fn kinds(kinds: &BTreeSet<Kind>) -> String {
    let names = kinds.iter().map(|kind| match kind {
        Kind::Text => "text",
        Kind::Image => "images",
        Kind::Pdf => "PDF",
        Kind::Other => "others",
    });
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A size as a person reads it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// The files that are left out, in a line: "`a` is empty; `b` is too large".
pub(crate) fn left_out(withheld: &[Withheld]) -> String {
    let one = |it: &Withheld| {
        // Whoever wrote it: a name stays within its backticks, a reason in its line.
        let name: String = safe_name(&it.name).chars().take(NAME_MAX).collect();
        let why = crate::render::plain(&it.why).replace('`', "'");
        format!("`{name}` {why}")
    };
    withheld.iter().take(WITHHELD_MAX).map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, media_type: &str, bytes: u64) -> Attachment {
        let url = format!("https://cdn.discordapp.com/attachments/1/2/{name}?ex=1");
        let media_type = (!media_type.is_empty()).then(|| media_type.to_owned());
        Attachment { name: name.into(), url, media_type, bytes }
    }

    fn names(files: &Files) -> Vec<&str> {
        files.taken.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn what_a_project_allows_is_taken_and_the_rest_is_named_with_its_reason() {
        let all = [
            file("a.log", "text/plain; charset=utf-8", 10),
            file("cat.png", "image/png", 10),
            file("a.pdf", "application/pdf", 10),
            file("film.mp4", "video/mp4", 10),
            file("empty.txt", "text/plain", 0),
            file("huge.txt", "text/plain", 30 * MIB),
        ];
        let files = Files::sift(&all, &Terms::default());
        assert_eq!(names(&files), ["a.log", "cat.png", "a.pdf"]);
        assert!(files.are_due() && files.attached().is_empty());
        assert_eq!(
            left_out(&files.withheld),
            "`film.mp4` is none of what may be attached here: text, images, PDF; \
             `empty.txt` is empty; `huge.txt` is too large (31.4 MB; a file may have 10.4 MB)"
        );
    }

    #[test]
    fn names_are_made_safe_and_no_two_are_the_same() {
        let all = ["../../x.txt", "x.txt", "\u{202e}a.txt", "🦀.txt", ".env"]
            .map(|name| Attachment { name: name.into(), ..file("x", "text/plain", 1) });
        let files = Files::sift(&all, &Terms::default());
        assert_eq!(names(&files), ["x.txt", "x-2.txt", "_a.txt", "_.txt", "env"]);
    }

    #[test]
    fn more_files_than_a_project_allows_are_left_out_by_name() {
        let all: Vec<_> = (0..5).map(|n| file(&format!("{n}.txt"), "text/plain", 1)).collect();
        let files = Files::sift(&all, &Terms { count_max: 3, ..Terms::default() });
        assert_eq!(names(&files), ["0.txt", "1.txt", "2.txt"]);
        assert!(left_out(&files.withheld).contains("`4.txt` is one too many"));
    }

    #[test]
    fn a_file_that_does_not_lie_with_discord_is_left_out() {
        let elsewhere =
            Attachment { url: "https://evil.example/a".into(), ..file("a", "text/a", 1) };
        let files = Files::sift(&[elsewhere], &Terms::default());
        assert!(files.taken.is_empty() && files.withheld[0].why.contains("Discord"));
    }

    #[test]
    fn what_lies_in_files_already_is_known_by_its_address_without_the_signature() {
        let mut before = Files::sift(&[file("a.txt", "text/plain", 1)], &Terms::default());
        before.taken[0].file = Some(File { digest: "d".into(), bytes: 1 });
        let mut again = file("a.txt", "text/plain", 1);
        again.url = again.url.replace("ex=1", "ex=2");
        let all = [file("b.txt", "text/plain", 1), again];
        let after = Files::sift(&all, &Terms::default()).knowing(&before);
        assert!(after.taken[0].file.is_none() && after.taken[1].file.is_some());
        assert_eq!(after.attached().len(), 1);
    }
}
