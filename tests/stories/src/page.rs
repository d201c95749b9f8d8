//! The page of the simulated Discord, used in a headless Chromium as a person uses it: what is clicked at,
//! written and read here is what people have without an account.
//!
//! What is asked stands in a file that is sent with the question, so that the page reads as people write.
//! With `HOLDFAST_SCREENSHOTS` set to a folder, pictures of the scenes are put there
//! (`cargo xtask screenshots` does it).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::{Browser, Builder, Question, Tab, World};
use serde_json::json;

/// A Discord that waits for a busy machine, and shows what claude does.
fn builder() -> Builder {
    World::builder().status().discord(|it| it.interaction_window = Duration::from_secs(80))
}

/// The page as somebody has it, who is there already.
async fn page<'b>(world: &World, browser: &'b Browser, who: &str) -> Result<Tab<'b>> {
    world.discord().user(who);
    let tab = browser.open(&format!("{}?as={who}", world.page_url())).await?;
    tab.shows("live").await?;
    tab.shows("# app").await?;
    Ok(tab)
}

/// Keeps what is shown now, where pictures are asked for; it can be taken in any case.
async fn picture(tab: &Tab<'_>, name: &str) -> Result<()> {
    let png = tab.picture().await?;
    anyhow::ensure!(png.starts_with(b"\x89PNG"), "the picture is no PNG");
    let Some(folder) = env::var_os("HOLDFAST_SCREENSHOTS") else { return Ok(()) };
    let file = Path::new(&folder).join(format!("{name}.png"));
    fs::write(&file, png).with_context(|| format!("cannot write {}", file.display()))
}

/// A file with what claude is to do.
fn script(world: &World, name: &str, text: &str) -> Result<PathBuf> {
    let file = world.folder().root().join(name);
    fs::write(&file, text).context("cannot write a file")?;
    Ok(file)
}

/// Somebody asks at the page, with a file, and goes into the thread that opens.
async fn asks<'w>(
    world: &'w World,
    tab: &Tab<'_>,
    text: &str,
    file: &Path,
) -> Result<Question<'w>> {
    tab.write("Message", text).await?;
    tab.attach("#files", &[file]).await?;
    tab.click("button", "Send").await?;
    let said =
        world.sees("the question", |view| view.guild.messages(world.channel()).last().cloned());
    let question = world.asked(said.await?.id);
    tab.has(".reaction").await?;
    tab.click("button", &format!("{} ›", question.thread_name().await?)).await?;
    Ok(question)
}

/// Both services die and come back.
async fn all_restart(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

const ANSWER: &str = "## Release notes
The parser reads a file **once**, and says where it stopped. What changed:

| part | before | now |
|---|---|---|
| `read` | all at once | line by line |
| errors | a number | line and column |

```rust
/// Where a file could not be read any further.
pub struct Stopped {
    pub line: usize,
    pub column: usize,
}
```

1. `cargo test` passes
2. nothing that is public went away
> Not tried: files of more than 4 GB.";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_asks_watches_allows_and_reads_at_the_page() -> Result<()> {
    let world = builder().start().await?;
    let browser = Browser::start().await?;
    let alice = page(&world, &browser, "alice").await?;
    let look = json!({"command": "git log --oneline -5", "description": "Look at what changed"});
    let tag = json!({"command": "touch NOTES.md", "description": "Begin the notes"});
    let steps = format!(
        "[[think hm]] [[tool Bash {look}]] [[tool Bash {tag}]] [[wait go]] [[say {ANSWER}]]"
    );
    let file = script(&world, "changes.md", &steps)?;
    let question = asks(&world, &alice, "Write the release notes, please", &file).await?;
    alice.shows("claude asks to use Bash · Begin the notes").await?;
    alice.shows("Waiting for you").await?;
    picture(&alice, "permission").await?;
    all_restart(&world).await?;
    // Somebody else looks on, in a window of his own.
    let bob = page(&world, &browser, "bob").await?;
    bob.click("button", "↳ Write the release notes, please").await?;
    alice.click("button", "Allow once").await?;
    alice.shows("Only you can see this").await?;
    for tab in [&alice, &bob] {
        tab.shows("Allowed by alice.").await?;
        tab.shows("💭 Thinking").await?;
        tab.shows("✓ Bash touch NOTES.md").await?;
        assert_eq!(tab.count("button", "Allow once").await?, 0, "it is decided");
    }
    assert!(question.worktree().join("NOTES.md").exists());
    world.release("go")?;
    alice.shows("The parser reads a file once, and").await?;
    alice.has(".text h4").await?;
    alice.shows("read   | all at once | line by line").await?;
    alice.has("pre[data-language=rust]").await?;
    alice.hides("💭 Thinking").await?;
    let shown = "document.querySelector('#messages').innerText.includes('Only you can see this')";
    assert_eq!(bob.evaluate(shown).await?, json!(false), "that was for alice alone");
    picture(&alice, "answer").await?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(world.ledger().count("begin"), 1);
    Ok(())
}

/// What claude asks: options of one, and of several.
fn question(text: &str, options: &[(&str, &str)], multi: bool) -> String {
    let options = options.iter().map(|(label, what)| json!({"label": label, "description": what}));
    let options: Vec<_> = options.collect();
    let question =
        json!({"question": text, "header": "Choose", "options": options, "multiSelect": multi});
    format!("[[tool AskUserQuestion {}]]", json!({ "questions": [question] }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_answers_denies_and_stops_at_the_page() -> Result<()> {
    let world = builder().start().await?;
    let browser = Browser::start().await?;
    let alice = page(&world, &browser, "alice").await?;
    let stores = [("SQLite", "one file"), ("PostgreSQL", "a server")];
    let checks =
        [("Unit tests", "fast"), ("Lints", "clippy and rustfmt"), ("Chaos", "takes minutes")];
    let times = ["push", "pull request", "tag", "night", "week"].map(|it| (it, "each"));
    let drop = json!({"command": "rm -r build", "description": "Begin from nothing"});
    let steps = format!(
        "[[think hm]] {} {} {} [[tool Bash {drop}]] [[wait never]]",
        question("Which store should the tests run on?", &stores, false),
        question("Which checks belong into CI?", &checks, true),
        question("When should it run?", &times, false),
    );
    let file = script(&world, "ci.md", &steps)?;
    let asked = asks(&world, &alice, "Set up CI", &file).await?;
    alice.click("button", "PostgreSQL").await?;
    alice.shows("alice answered: PostgreSQL").await?;
    alice.click("checkbox", "Unit tests fast").await?;
    alice.click("checkbox", "Lints clippy and rustfmt").await?;
    picture(&alice, "question").await?;
    all_restart(&world).await?;
    alice.click("button", "Choose").await?;
    alice.shows("alice answered: Unit tests, Lints").await?;
    // More than fit into buttons are a menu.
    alice.choose("Make a selection", "Other…").await?;
    writes_and_hands_in(&alice, "at noon").await?;
    alice.shows("alice answered: at noon").await?;
    alice.click("button", "Deny with reason…").await?;
    writes_and_hands_in(&alice, "the cache is slow to fill").await?;
    alice.shows("Denied by alice: the cache is slow to fill").await?;
    world.reached("never").await?;
    // ⏹ under the question, in its channel.
    alice.click("button", "# app").await?;
    let alone = "document.querySelectorAll('article').length === 1";
    alice.holds("the channel, with what was asked", alone).await?;
    alice.choose("React", "⏹️").await?;
    assert_eq!(asked.mark().await?, "⏹️");
    alice.click("button", "↳ Set up CI").await?;
    alice.shows("Stopped by @alice.").await?;
    Ok(())
}

/// Writes into the form that is open, and hands it in.
async fn writes_and_hands_in(tab: &Tab<'_>, words: &str) -> Result<()> {
    tab.has("dialog[open]").await?;
    let name = "document.querySelector('dialog[open] textarea').ariaLabel";
    let name = tab.evaluate(name).await?;
    tab.write(name.as_str().context("a field without a name")?, words).await?;
    tab.click("button", "Submit").await?;
    tab.holds("no form", "!document.querySelector('dialog[open]')").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_a_file_that_is_read_at_the_page() -> Result<()> {
    let world = builder().start().await?;
    let browser = Browser::start().await?;
    let alice = page(&world, &browser, "alice").await?;
    let file = script(&world, "all.md", "[[big 60000]]")?;
    let asked = asks(&world, &alice, "Tell me all", &file).await?;
    alice.has("a[download='answer.md']").await?;
    let fetched = "(async () => {
        const link = document.querySelector(\"a[download='answer.md']\");
        return (await (await fetch(link.href)).text()).length;
    })()";
    assert_eq!(alice.evaluate(fetched).await?, json!(60_000));
    assert_eq!(asked.mark().await?, "✅");
    // What a person sends is there as well, and who may not see the channel has neither.
    alice.click("button", "# app").await?;
    alice.has("a[download='all.md']").await?;
    Ok(())
}
