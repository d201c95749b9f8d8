//! The rules that no compiler and no lint knows, each with its reason in its message.
//!
//! The tables at the top say what is where; the tests below read every file that git knows or
//! would take. A rule that stands in the way is changed here, in the open, with its reason.
//!
//! Never builds anything and never changes a file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The lines that a file may have, tests left out. A ratchet: it only goes down.
const LINES_MAX: usize = 600;

/// The columns of a line of prose. rustfmt keeps code within 100, and leaves comments as they are: in
/// them one word may hang over.
const COLUMNS_MAX: usize = 110;

/// A name that may be written in a few places only.
struct Home {
    /// The crate, or the call, as it is written.
    name: &'static str,
    /// Where the rule holds: the beginning of a path.
    within: &'static [&'static str],
    /// Files, and folders with a slash, in which it is allowed.
    homes: &'static [&'static str],
    why: &'static str,
}

const HOMES: &[Home] = &[
    Home {
        name: "serenity",
        within: &[""],
        homes: &["gateway-svc/src/discord.rs", "gateway-svc/src/discord/"],
        why: "Discord's client is replaced in one place",
    },
    Home {
        name: "reqwest_serenity",
        within: PRODUCT,
        homes: &["gateway-svc/src/discord.rs", "gateway-svc/src/discord/"],
        why: "it is part of Discord's client",
    },
    Home {
        name: "reqwest",
        within: &["schemas/src/", "platform/src/", "runner-svc/src/"],
        homes: &["platform/src/telemetry/"],
        why: "telemetry alone is sent by it",
    },
    Home {
        name: "sqlx",
        within: &[""],
        homes: &["gateway-svc/src/store.rs", "gateway-svc/src/store/"],
        why: "SQL is one portable text, with one suite that checks it",
    },
    Home {
        name: "async_nats",
        within: &[""],
        homes: &[
            "platform/src/nats.rs",
            "platform/src/nats/",
            // The roots connect, and hand the connection on.
            "gateway-svc/src/app.rs",
            "runner-svc/src/app.rs",
            "gateway-svc/src/bus.rs",
            "gateway-svc/src/bus/",
            "gateway-svc/src/provision.rs",
            "runner-svc/src/bus.rs",
            "runner-svc/src/bus/",
            "runner-svc/src/files.rs",
        ],
        why: "NATS is spoken at the ends of the stream alone; what lies between takes values",
    },
    Home {
        name: "utoipa",
        within: PRODUCT,
        homes: &[
            "gateway-svc/src/api.rs",
            "gateway-svc/src/api/",
            // What the pages give and take.
            "gateway-svc/src/fleet.rs",
            "gateway-svc/src/fleet/",
        ],
        why: "the description is made where the pages are, and of what they give",
    },
    Home {
        name: "subtle",
        within: PRODUCT,
        homes: &["gateway-svc/src/api/tokens.rs"],
        why: "secrets are compared in one place",
    },
    Home {
        name: "testcontainers",
        within: &[""],
        homes: &["tests/harness/src/contained/engine.rs"],
        why: "it is built for those who want containers, and for nobody else",
    },
    Home {
        name: "Command::new",
        within: PRODUCT,
        homes: &[
            "runner-svc/src/tmux.rs",
            "runner-svc/src/keeper.rs",
            "runner-svc/src/keeper/",
            // git and set-up commands, with a deadline and under the place's lock.
            "runner-svc/src/worktree/process.rs",
            // Asks programs for their versions, with a deadline.
            "runner-svc/src/doctor.rs",
        ],
        why: "processes are started where their death is watched",
    },
    Home {
        name: "tokio",
        within: KEEPER,
        homes: &[],
        why: "the keeper stays with std and rustix, and so at a few megabytes",
    },
    Home {
        name: "serde",
        within: KEEPER,
        homes: &[],
        why: "the keeper reads no message, it only carries them",
    },
    Home {
        name: "serde_json",
        within: KEEPER,
        homes: &[],
        why: "the keeper reads no message, it only carries them",
    },
];

/// What is shipped.
const PRODUCT: &[&str] = &["schemas/src/", "platform/src/", "gateway-svc/src/", "runner-svc/src/"];

/// The process inside tmux.
const KEEPER: &[&str] = &["runner-svc/src/keeper"];

/// Where variables of the environment are read.
const READERS: &[&str] = &[
    "gateway-svc/src/config",
    "runner-svc/src/config",
    "platform/src/config",
    "platform/src/crash.rs",
    "platform/src/nats/settings.rs",
    "platform/src/telemetry",
    "platform/src/times.rs",
];

/// A dependency that a manifest must not have.
struct Apart {
    /// The manifest, or the folder of manifests.
    manifest: &'static str,
    never: &'static [&'static str],
    why: &'static str,
}

const APART: &[Apart] = &[
    Apart {
        manifest: "schemas/",
        never: &["tokio", "async-nats", "sqlx", "serenity", "axum", "platform"],
        why: "the contract is values and pure functions",
    },
    Apart {
        manifest: "platform/",
        never: &["sqlx", "serenity", "gateway-svc", "runner-svc"],
        why: "it is under both services and knows neither",
    },
    Apart {
        manifest: "gateway-svc/",
        never: &["runner-svc"],
        why: "the services meet in schemas and on the bus",
    },
    Apart {
        manifest: "runner-svc/",
        never: &["gateway-svc", "sqlx", "serenity"],
        why: "the services meet in schemas and on the bus; the runner builds in half the time",
    },
    Apart {
        manifest: "tests/",
        never: &["gateway-svc", "runner-svc", "platform", "serenity", "sqlx", "async-nats"],
        why: "tests see what a user sees: the built binaries",
    },
    Apart {
        manifest: "xtask/",
        never: &["tokio", "axum", "reqwest", "harness", "platform"],
        why: "`cargo xtask` begins within seconds of a clone",
    },
];

/// Text that must not stand in some files.
struct Banned {
    text: &'static str,
    within: &'static str,
    why: &'static str,
}

// The words are in two halves, so that this file does not break its own rules.
const BANNED: &[Banned] = &[
    Banned {
        text: concat!("#[", "ignore"),
        within: "",
        why: "a test that does not run proves nothing; mend it or delete it",
    },
    Banned {
        text: concat!("unimple", "mented!("),
        within: "",
        why: "what is not made yet is not there yet",
    },
    Banned {
        text: concat!("to", "do!("),
        within: "",
        why: "what is not made yet is not there yet",
    },
    Banned {
        text: concat!("thread::", "sleep"),
        within: "tests/stories/",
        why: "a story waits for what a user would see, with a deadline, and never for a time",
    },
    Banned {
        text: concat!("time::", "sleep"),
        within: "tests/stories/",
        why: "a story waits for what a user would see, with a deadline, and never for a time",
    },
];

/// The hosts of package registries, each in two halves.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
];

#[test]
fn every_rust_file_opens_with_what_it_is_for() {
    let found = rust_files().filter(|file| !file.text.starts_with("//!"));
    expect_none(
        &found.map(|file| file.path.clone()).collect::<Vec<_>>(),
        "a file begins with `//!`: what it is for, how it works, what it never does",
    );
}

#[test]
fn a_foreign_name_lives_in_one_place() {
    for Home { name, within, homes, why } in HOMES {
        let mut found = Vec::new();
        for file in rust_files().filter(|file| starts_with_any(&file.path, within)) {
            if starts_with_any(&file.path, homes) || file.is_test() {
                continue;
            }
            let lines = code_lines(file.product_text()).filter(|(_, line)| names(line, name));
            found.extend(lines.map(|(number, _)| format!("{}:{number}", file.path)));
        }
        expect_none(&found, &format!("`{name}` belongs in {homes:?}: {why}"));
    }
}

#[test]
fn what_must_not_meet_is_kept_apart() {
    for Apart { manifest, never, why } in APART {
        let mut found = Vec::new();
        for file in manifests().filter(|file| file.path.starts_with(manifest)) {
            let meets = dependencies(&file.text).filter(|name| never.contains(name));
            found.extend(meets.map(|name| format!("{}: {name}", file.path)));
        }
        expect_none(&found, why);
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let found = manifests()
        .filter(|file| {
            file.path != "Cargo.toml" && !file.text.contains("[lints]\nworkspace = true")
        })
        .map(|file| file.path.clone());
    expect_none(&found.collect::<Vec<_>>(), "a manifest says `[lints]` and `workspace = true`");
}

#[test]
fn nothing_is_put_off() {
    for Banned { text, within, why } in BANNED {
        let mut found = Vec::new();
        for file in rust_files().filter(|file| file.path.starts_with(within)) {
            let lines = code_lines(&file.text).filter(|(_, line)| line.contains(text));
            found.extend(lines.map(|(number, _)| format!("{}:{number}", file.path)));
        }
        expect_none(&found, &format!("no `{text}`: {why}"));
    }
}

#[test]
fn no_file_names_the_host_of_a_registry() {
    let files = tracked().iter().filter(|file| file.path != "Cargo.lock");
    let found: Vec<_> = files.flat_map(|file| holding(file, REGISTRIES)).collect();
    expect_none(&found, "package clients know their registries, and mirrors, by themselves");
}

#[test]
fn no_file_names_a_place_on_the_machine_of_its_author() {
    let checkout = format!("{}/", root().display());
    let home = std::env::var("HOME").map(|home| format!("{}/", home.trim_end_matches('/')));
    // A container has a home of its own, which deploy/ may name.
    let files = tracked().iter().filter(|file| !file.path.starts_with("deploy/"));
    let places: Vec<&str> = [Some(&checkout), home.as_ref().ok()]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|place| *place != "/")
        .collect();
    let found: Vec<_> = files.flat_map(|file| holding(file, &places)).collect();
    expect_none(&found, "the path is there on one machine only");
}

#[test]
fn every_document_is_linked_from_another() {
    let links: Vec<(&str, &str)> = tracked()
        .iter()
        .filter(|file| file.has_extension("md"))
        .flat_map(|file| link_targets(&file.text).map(|target| (file.path.as_str(), target)))
        .collect();
    let found = tracked().iter().filter(|file| file.path.starts_with("docs/")).filter(|file| {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        !links.iter().any(|(from, to)| *from != file.path && to.rsplit('/').next() == Some(name))
    });
    expect_none(
        &found.map(|file| file.path.clone()).collect::<Vec<_>>(),
        "what nothing links to is not read; link it from README.md or another document",
    );
}

#[test]
fn a_file_has_one_subject() {
    let mut found = Vec::new();
    for file in rust_files().filter(|file| !file.is_test()) {
        let lines = file.product_text().lines().count();
        if LINES_MAX < lines {
            found.push(format!("{}: {lines} lines", file.path));
        }
    }
    expect_none(
        &found,
        &format!("over {LINES_MAX} lines without its tests: which two subjects does it have?"),
    );
}

#[test]
fn a_comment_fits_the_page() {
    let mut found = Vec::new();
    for file in rust_files() {
        // A row of a table and a URL cannot be broken.
        let may_be_long = |line: &str| line.contains("://") || line.contains("! |");
        let long = file.text.lines().enumerate().filter(|(_, line)| {
            let is_comment = line.trim_start().starts_with("//");
            is_comment && COLUMNS_MAX < line.chars().count() && !may_be_long(line)
        });
        found.extend(long.map(|(index, _)| format!("{}:{}", file.path, index + 1)));
    }
    expect_none(&found, &format!("a comment has {COLUMNS_MAX} columns"));
}

#[test]
fn the_schemas_are_current() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["schemas", "--check"])
        .output()
        .expect("xtask starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_key_of_a_configuration_is_described() {
    let page = &file("docs/configuration.md").text;
    let mut found = Vec::new();
    let is_config = |file: &&Tracked| {
        starts_with_any(&file.path, READERS) && file.product_text().contains("deny_unknown_fields")
    };
    for file in rust_files().filter(is_config) {
        for (key, comment, kind) in keys(file.product_text()) {
            // A table has its keys, and those of NATS have their lines in one place for both services.
            let is_table = kind.contains("File") || kind.contains("Table");
            let is_said = comment.contains("skip") || comment.contains("///");
            if !is_said
                || !is_table && !comment.contains("skip") && !comment.contains("/// Default: ")
            {
                found.push(format!("{}: {key}: a comment with a line `Default: …`", file.path));
            }
            if !is_table && !page.contains(&format!("| `{key}` |")) {
                found.push(format!(
                    "{}: {key}: not in the page: `cargo xtask config-docs`",
                    file.path
                ));
            }
        }
    }
    expect_none(
        &found,
        "what a key says is read by whoever writes the file (platform::config::keys)",
    );
}

#[test]
fn what_troubleshooting_explains_is_said_by_the_code() {
    // A text that goes on in the next line of the code is one text.
    let product = rust_files().filter(|file| starts_with_any(&file.path, PRODUCT));
    let code: String = product.map(Tracked::product_text).collect();
    let parts: Vec<&str> = code.split("\\\n").map(str::trim_start).collect();
    let code = parts.concat();
    let page = &file("docs/troubleshoot.md").text;
    let (above, _) = page.split_once("## In Discord").expect("the page has that section");
    let mut found = Vec::new();
    for line in above.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        for text in cell.split('`').skip(1).step_by(2) {
            // A part of `/readyz`, and what other programs say.
            let said = text.trim_end_matches([':', '\\']).split('…').map(str::trim);
            found.extend(
                said.filter(|said| !code.contains(said)).map(|said| format!("{said:?} in {cell}")),
            );
        }
    }
    expect_none(&found, "what docs/troubleshoot.md explains, nobody says in these words");
}

#[test]
fn every_variable_that_is_read_is_documented() {
    let page = &file("docs/configuration.md").text;
    let mut found = Vec::new();
    for file in rust_files().filter(|file| starts_with_any(&file.path, READERS)) {
        for name in quoted(file.product_text(), "\"").filter(|text| is_variable(text)) {
            if !page.contains(&format!("`{name}`")) {
                found.push(format!("{}: {name}", file.path));
            }
        }
    }
    expect_none(&found, "a variable of the environment stands in docs/configuration.md");
}

#[test]
fn every_crash_point_is_listed_passed_once_and_has_a_story() {
    let told: Vec<&str> = rust_files()
        .filter(|file| file.path.starts_with("tests/stories/src/points"))
        .flat_map(|file| quoted(&file.text, "\""))
        .flat_map(|name| name.split(':').next().unwrap_or(name).split(' '))
        .collect();
    for service in ["gateway-svc", "runner-svc"] {
        let list = format!("{service}/src/crash.rs");
        let inside = |file: &&Tracked| file.path.starts_with(&format!("{service}/src/"));
        let (lists, code): (Vec<_>, Vec<_>) =
            rust_files().filter(inside).partition(|file| file.path == list);
        let mut listed: Vec<&str> =
            lists.iter().flat_map(|file| quoted(&file.text, "    \"")).collect();
        let mut passed: Vec<&str> =
            code.iter().flat_map(|file| quoted(&file.text, "crash::point(\"")).collect();
        listed.sort_unstable();
        passed.sort_unstable();
        assert!(!listed.is_empty(), "{list} has no names");
        assert_eq!(
            listed, passed,
            "{list} names each point of the code, which is passed in one place"
        );
        let untold = listed.into_iter().filter(|name| !told.contains(name));
        expect_none(
            &untold.map(str::to_owned).collect::<Vec<_>>(),
            "a point without a story proves nothing: tests/stories/src/points/",
        );
    }
}

#[test]
fn every_fault_is_shown_by_tests_that_there_are() {
    let list = file("tests/stories/faults.toml");
    let named = list.text.lines().filter(|line| line.starts_with("stories = ["));
    let named = named.flat_map(|line| line.split('"').skip(1).step_by(2));
    let found: Vec<_> = named.filter(|test| !has_test(test)).map(str::to_owned).collect();
    expect_none(&found, "the list of faults names tests that are nowhere");
}

#[test]
fn every_guarantee_is_shown_by_a_test_that_there_is() {
    let page = file("docs/guarantees.md");
    let mut found = Vec::new();
    for (section, sentence) in sentences(&page.text) {
        let mut named = references(sentence).peekable();
        // What is not promised can be told by no test.
        if named.peek().is_none() && !section.contains(" not ") {
            found.push(format!("nothing shows: {sentence}"));
        }
        found.extend(named.filter(|test| !has_test(test)).map(|test| format!("nowhere: {test}")));
    }
    expect_none(
        &found,
        "a promise ends with the tests that show it: [module::story], [crate test]",
    );
}

#[test]
fn every_test_that_a_document_names_is_there() {
    for path in [
        "docs/features.md",
        "docs/with-a-real-bot.md",
        "docs/backup.md",
        "docs/security.md",
        "docs/troubleshoot.md",
    ] {
        // What is fenced is no prose, and has brackets of its own.
        let prose = file(path).text.split("```").step_by(2);
        let named: Vec<&str> = prose.flat_map(references).collect();
        assert!(!named.is_empty(), "{path} names none");
        let found = named.into_iter().filter(|test| !has_test(test)).map(str::to_owned);
        expect_none(&found.collect::<Vec<_>>(), &format!("{path} names tests that are nowhere"));
    }
}

#[test]
fn the_rules_find_what_they_look_for() {
    assert!(names("use serenity::all::Http;", "serenity"));
    assert!(names("    let http = serenity::http::Http::new(token);", "serenity"));
    assert!(names("use sqlx as database;", "sqlx"));
    assert!(names("let tmux = Command::new(path);", "Command::new"));
    assert!(!names("use reqwest_serenity::Client;", "serenity"));
    assert!(!names("filter(\"serenity=warn\")", "serenity"));
    assert!(!names("serenity_shard(1)", "serenity"));

    let code: Vec<_> = code_lines("// a\nb // c\n/// d\ne").collect();
    assert_eq!(code, [(2, "b"), (4, "e")]);

    let config = "#[serde(deny_unknown_fields)]\npub(super) struct A {\n    /// Says: it.\n    /// Default: `1`\n    \
                  #[serde(rename = \"unsafe\")]\n    pub(super) not_safe: Option<u8>,\n    bare: BFile,\n}\n";
    let found: Vec<_> = keys(config).collect();
    assert_eq!(
        found.iter().map(|it| (it.0, it.2)).collect::<Vec<_>>(),
        [("unsafe", "Option<u8>"), ("bare", "BFile")]
    );
    assert!(found[0].1.contains("/// Default: `1`") && found[1].1.is_empty());
    assert!(
        is_variable("NATS_URL")
            && is_variable("HOME")
            && !is_variable("NATS")
            && !is_variable("a_b")
    );

    let manifest = "[package]\nname = \"x\"\n[dependencies]\ntokio.workspace = true\n\
                    serde = \"1\"\n[target.'cfg(unix)'.dev-dependencies]\n# sqlx = \"1\"\n\
                    axum = { version = \"1\" }\n[features]\nsqlx = []\n[dependencies.prost]\n";
    let found: Vec<_> = dependencies(manifest).collect();
    assert_eq!(found, ["tokio", "serde", "axum", "prost"]);

    let page = "# T\n## A\n* one\n  more [a::b] [schemas c]\n* two\n\ntext\n## B not C\n* [x](y)";
    let found: Vec<_> = sentences(page).collect();
    let expected = [("A", "one\n  more [a::b] [schemas c]"), ("A", "two"), ("B not C", "[x](y)")];
    assert_eq!(found, expected);
    assert_eq!(references(found[0].1).collect::<Vec<_>>(), ["a::b", "schemas c"]);
    assert_eq!(references(found[2].1).count(), 0, "a link");
    assert!(has_test("xtask the_rules_find_what_they_look_for"));
    assert!(has_test("waiting::what_waits_survives_a_killed_gateway_in_order"));
    assert!(!has_test("waiting::what_waits_survives") && !has_test("nowhere::nothing"));
    assert!(declares("    of_a_macro => [\"x\"],", "of_a_macro") && !declares("// a", "a"));

    let links: Vec<_> = link_targets("[a](docs/a.md#top) and [b](b.md), (c.md)").collect();
    assert_eq!(links, ["docs/a.md", "b.md"]);
}

/// A file that git knows or would take.
struct Tracked {
    /// From the root of the repository, with slashes.
    path: String,
    text: String,
}

impl Tracked {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// A file of tests alone.
    fn is_test(&self) -> bool {
        let inside = self.path.split('/').any(|part| part == "tests.rs")
            || self.path.contains("/tests/") && !self.path.starts_with("tests/");
        inside || self.path == "tests/tidy.rs" || self.path.starts_with("tests/stories/")
    }

    /// The text up to the module of unit tests.
    fn product_text(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        &self.text[..end]
    }
}

/// Every text file of the repository, read once.
fn tracked() -> &'static [Tracked] {
    static FILES: std::sync::LazyLock<Vec<Tracked>> = std::sync::LazyLock::new(|| {
        let output = Command::new("git")
            .current_dir(root())
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .expect("git is there");
        assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
        // A file that was deleted is still listed until the next commit.
        let read = |path: &str| std::fs::read_to_string(root().join(path)).ok();
        list.split_terminator('\0')
            .filter_map(|path| Some(Tracked { path: path.to_owned(), text: read(path)? }))
            .collect()
    });
    assert!(FILES.iter().any(|file| file.path == "tests/tidy.rs"), "git lists another place");
    &FILES
}

/// The repository. Asked at run time: what was built may be shared with another clone.
fn root() -> PathBuf {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&crate_folder).parent().expect("xtask lies in the root").to_path_buf()
}

fn rust_files() -> impl Iterator<Item = &'static Tracked> {
    tracked().iter().filter(|file| file.has_extension("rs"))
}

fn manifests() -> impl Iterator<Item = &'static Tracked> {
    let is_manifest = |path: &str| path == "Cargo.toml" || path.ends_with("/Cargo.toml");
    tracked().iter().filter(move |file| is_manifest(&file.path))
}

fn starts_with_any(path: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| path.starts_with(beginning))
}

/// The lines that are no comment, numbered from 1, without a comment behind the code.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line.split(" // ").next().unwrap_or(line)))
}

/// Whether a line of code uses a path that begins with this name, or makes this call.
fn names(line: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        let begins = !before.ends_with(is_word);
        let is_path = after.starts_with("::") || name.contains("::") && after.starts_with('(');
        let is_import = before.ends_with("use ") && !after.starts_with(is_word);
        begins && (is_path || is_import)
    })
}

/// What stands in the code of a file between this beginning and the next quotation mark.
fn quoted<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = &'a str> {
    let after = move |(_, line): (usize, &'a str)| line.split(beginning).skip(1);
    code_lines(text).flat_map(after).filter_map(|rest| rest.split('"').next())
}

/// The fields of the types that refuse unknown keys: the key, what stands above it, and its type.
fn keys(text: &str) -> impl Iterator<Item = (&str, String, &str)> {
    text.split("#[serde(deny_unknown_fields)]").skip(1).flat_map(move |rest| {
        let body = rest.split_once("struct ").and_then(|(_, rest)| rest.split_once("{\n"));
        let body = body.and_then(|(_, rest)| rest.split_once("\n}")).map_or("", |(body, _)| body);
        let mut above = String::new();
        body.lines().map(str::trim).filter_map(move |line| {
            let field = line.strip_suffix(',').and_then(|line| line.split_once(": "));
            let Some((name, kind)) = field.filter(|_| !line.starts_with(['/', '#'])) else {
                above += line;
                above.push('\n');
                return None;
            };
            let above = std::mem::take(&mut above);
            let name = name.rsplit(' ').next().unwrap_or(name);
            let renamed =
                above.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
            // The line is of the file, so a name out of it lives as long.
            let renamed = renamed.and_then(|(key, _)| {
                text.find(&format!("rename = \"{key}\"")).map(|at| (at, key.len()))
            });
            let key = renamed.map_or(name, |(at, len)| &text[at + 10..at + 10 + len]);
            Some((key, above, kind))
        })
    })
}

/// Whether a text is the name of a variable as this project reads them: capitals with a low line, or the
/// home.
fn is_variable(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text == "HOME"
        || !text.starts_with("CARGO_")
            && text.contains('_')
            && text.len() > 4
            && text.chars().all(is_name)
}

/// The names of the dependencies of every kind in a manifest.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies");
            return table.split_once("dependencies.").map(|(_, name)| name);
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or(line);
        (inside && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

/// Where the links of a Markdown text lead, without their anchors.
fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next())
}

/// The file of this path.
#[track_caller]
fn file(path: &str) -> &'static Tracked {
    let found = tracked().iter().find(|file| file.path == path);
    found.unwrap_or_else(|| panic!("there is no {path}"))
}

/// The points of a Markdown text, each with the title of its section.
fn sentences(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n## ").skip(1).flat_map(|section| {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        let points = body.split("\n\n").flat_map(|block| {
            let block = block.trim_start_matches('\n');
            block.strip_prefix("* ").into_iter().flat_map(|points| points.split("\n* "))
        });
        points.map(move |point| (title, point.trim_end()))
    })
}

/// What stands in square brackets and is no link.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let bracketed = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    bracketed.filter(|(_, after)| !after.starts_with('(')).map(|(inside, _)| inside)
}

/// Whether there is a test of this name: `module::story`, or `crate path::of::test`.
fn has_test(named: &str) -> bool {
    let (places, path) = match named.split_once(' ') {
        Some(("xtask", path)) => (vec!["xtask/".to_owned(), "tests/tidy.rs".to_owned()], path),
        Some((name, path)) => (vec![format!("{name}/"), format!("tests/{name}/")], path),
        None => {
            let module = named.split("::").next().unwrap_or(named);
            let place = format!("tests/stories/src/{module}");
            (vec![format!("{place}.rs"), format!("{place}/")], named)
        }
    };
    let name = path.rsplit("::").next().unwrap_or(path);
    let inside = |file: &Tracked| places.iter().any(|place| file.path.starts_with(place.as_str()));
    rust_files().any(|file| inside(file) && declares(&file.text, name))
}

/// Whether code has this name as a whole word: in a signature, or handed to a macro that makes tests.
fn declares(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code_lines(text).any(|(_, line)| {
        line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            !before.ends_with(is_word) && !after.starts_with(is_word)
        })
    })
}

/// The lines of a file that hold one of these texts.
fn holding(file: &Tracked, texts: &[&str]) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    let holds = lines.filter(|(_, line)| texts.iter().any(|text| line.contains(text)));
    holds.map(|(index, _)| format!("{}:{}", file.path, index + 1)).collect()
}

#[track_caller]
fn expect_none(found: &[String], why: &str) {
    assert!(found.is_empty(), "{why}\n  {}", found.join("\n  "));
}
