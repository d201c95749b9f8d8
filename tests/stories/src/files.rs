//! Files that people attach, and files that claude gives: whole, once, and through every restart.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::discord_sim::{FaultKind, FaultRule, NewFile};
use harness::project::git;
use harness::{Question, World};
use serde_json::json;

use crate::shared::two_hosts;

/// The smallest picture.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// Where the CDN gives files.
const CDN: &str = "/attachments/";
/// Where messages are posted.
const POSTS: &str = "/channels/{id}/messages";

/// A question whose claude puts a text into its outbox.
const GIVES: &str =
    r#"[[tool Bash {"command":"echo given > \"$HOLDFAST_OUTBOX/note.txt\""}]] [[say here]]"#;
/// The same, after a gate.
const GIVES_LATER: &str = r#"[[think hm]] [[wait go]] [[tool Bash {"command":"echo given > \"$HOLDFAST_OUTBOX/note.txt\""}]] [[say here]]"#;

fn file(name: &str, media_type: &str, bytes: &[u8]) -> NewFile {
    let content_type = Some(media_type.to_owned());
    NewFile { filename: name.into(), content_type, bytes: bytes.to_vec().into() }
}

fn picture() -> NewFile {
    file("cat.gif", "image/gif", GIF)
}

async fn giving() -> Result<World> {
    World::builder().tools(&["Bash", "Read", "Write"]).start().await
}

/// The one file is there once, and the answer before it.
fn is_given_once(question: Question<'_>) -> Result<()> {
    assert_eq!(question.said_in_thread()?, ["here", "-# 📎 `note.txt`"]);
    assert_eq!(question.files(), [("note.txt".to_owned(), b"given\n".to_vec())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_kind_reach_claude_under_safe_names() -> Result<()> {
    let world = World::start().await?;
    let lines = "a line\n".repeat(60 * 1024);
    let question = world.say_with(
        "look [[say thank you]]",
        vec![
            NewFile::text("a.txt", "one"),
            picture(),
            file("paper.pdf", "application/pdf", b"%PDF-1.7"),
            NewFile::text("../../up.txt", "up"),
            NewFile::text("\u{202e}a\u{7}.txt", "odd"),
            NewFile::text("🦀", "crab"),
            NewFile::text("a.txt", "again"),
            NewFile::text(&format!("{}.log", "x".repeat(150)), lines.clone()),
            NewFile::text("", "nameless"),
            NewFile::text("not.txt", vec![0xff, 0xfe, 0x00, 0x41]),
        ],
    )?;
    assert_eq!(question.answer().await?, "thank you");
    let inbox = question.inbox();
    let mut names: Vec<String> = fs::read_dir(&inbox)
        .context("no folder")?
        .map(|it| Ok(it?.file_name().into_string().expect("UTF-8")))
        .collect::<Result<_>>()?;
    names.sort();
    assert_eq!(names.len(), 10, "{names:?}");
    let read = |name: &str| fs::read(inbox.join(name));
    assert_eq!((read("a.txt")?, read("a-2.txt")?), (b"one".to_vec(), b"again".to_vec()));
    assert_eq!(read("cat.gif")?, GIF);
    let log = names.iter().find(|it| it.starts_with("xxx")).context("no log")?;
    assert!(log.len() <= 100 && read(log)? == lines.as_bytes());
    assert!(names.iter().all(|it| !it.contains("..") && !it.starts_with('.')), "{names:?}");

    let ledger = world.ledger();
    let heard = ledger.prompts()[0];
    assert!(
        heard.starts_with("look [[say thank you]]\n\nAttached file a.txt:\none\n\n"),
        "{heard}"
    );
    for (name, what) in [
        ("cat.gif", "a picture, shown above"),
        ("paper.pdf", "a PDF"),
        (log.as_str(), "text"),
        ("not.txt", "text"),
    ] {
        let item = format!("- {} ({what}, ", inbox.join(name).display());
        assert!(heard.contains(&item), "{item:?} is not in {heard}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_sees_a_picture_reads_a_file_and_gives_one() -> Result<()> {
    let world =
        World::builder().claude(harness::Claude::Real).tools(&["Bash", "Read"]).start().await?;
    let copies = r#"cp \"$HOLDFAST_OUTBOX\"/../in/*/paper.pdf \"$HOLDFAST_OUTBOX/copy.pdf\""#;
    let text = format!(r#"look [[tool Bash {{"command":"{copies}"}}]] [[say I see {{result}}]]"#);
    let pdf = file("paper.pdf", "application/pdf", b"%PDF-1.7 hm");
    let question = world.say_with(&text, vec![picture(), pdf])?;
    let said = question.pages().await?;
    assert!(said[0].starts_with("I see"), "{said:?}");
    assert_eq!(question.files(), [("copy.pdf".to_owned(), b"%PDF-1.7 hm".to_vec())]);
    let pictures: Vec<usize> = world.anthropic().requests().iter().map(|it| it.pictures).collect();
    assert!(pictures.contains(&1), "the model was shown nothing: {pictures:?}");

    let next = question.follow_up("[[say still here]]").await?;
    assert_eq!(next.answer().await?, "still here");
    assert_eq!(question.files().len(), 1, "it was given once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_with_a_file_and_its_answer_with_one_survive_the_death_of_both_services()
-> Result<()> {
    let world = giving().await?;
    let question = world.say_with(&format!("look {GIVES_LATER}"), vec![picture()])?;
    world.reached("go").await?;
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.release("go")?;
    world.start_runner().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "✅");
    is_given_once(question)?;
    assert_eq!(world.ledger().count("begin"), 1);
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_waits_for_nats_and_what_is_only_asked_does_not_wait_for_it() -> Result<()> {
    let world = World::start().await?;
    world.kill_nats().await?;
    let question = world.say_with("look [[say thank you]]", vec![NewFile::text("a.txt", "one")])?;
    question.is_seen().await?;
    let other = world.say_as("bob", "[[say hello]]")?;
    other.is_seen().await?;
    world.kill_gateway().await?;
    world.start_nats().await?;
    world.start_gateway().await?;
    assert_eq!(question.answer().await?, "thank you");
    assert_eq!(other.answer().await?, "hello");
    assert!(world.ledger().prompts().iter().any(|it| it.ends_with("Attached file a.txt:\none")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_discord_does_not_give_at_first_is_fetched_again() -> Result<()> {
    for kind in [FaultKind::StatusBefore(503), FaultKind::CutBefore] {
        let world = World::start().await?;
        world.discord().fault(FaultRule::once("GET", CDN, kind).times(2));
        let files = vec![NewFile::text("a.txt", "one")];
        assert_eq!(world.say_with("look [[say thank you]]", files)?.answer().await?, "thank you");
        assert!(world.ledger().prompts()[0].ends_with("Attached file a.txt:\none"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_named_and_the_question_is_answered_without_it() -> Result<()> {
    let world = World::start().await?;
    world.discord().fault(FaultRule::once("GET", CDN, FaultKind::StatusBefore(404)).times(1000));
    let question = world.say_with("look [[say thank you]]", vec![NewFile::text("a.txt", "one")])?;
    let said = question.pages().await?;
    let gone = "-# 📎 Left out: `a.txt` is not with Discord any more.";
    assert_eq!(said, [gone, "thank you"]);
    let ledger = world.ledger();
    let told = "Attached, but not given to you:\n- a.txt is not with Discord any more";
    assert!(ledger.prompts()[0].ends_with(told), "{:?}", ledger.prompts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_address_has_run_out_is_fetched_by_a_new_one() -> Result<()> {
    let world = World::start().await?;
    world.kill_nats().await?;
    let question = world.say_with("look [[say thank you]]", vec![NewFile::text("a.txt", "one")])?;
    question.is_seen().await?;
    world.discord().advance(Duration::from_secs(25 * 60 * 60));
    world.start_nats().await?;
    assert_eq!(question.answer().await?, "thank you");
    assert!(world.ledger().prompts()[0].ends_with("Attached file a.txt:\none"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_question_that_waits_comes_with_it_also_after_an_edit() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the first]]")?;
    world.reached("go").await?;
    let waits = question.follow_up_with("look", vec![NewFile::text("a.txt", "one")]).await?;
    waits.is_seen().await?;
    let edited = "look again [[say thank you]]";
    world.discord().edit(waits.message(), edited).map_err(|it| anyhow::anyhow!("{it:?}"))?;
    world.logs("gateway-svc", "was edited while it waited").await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    world.release("go")?;
    assert_eq!(waits.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["the first", "thank you"]);
    let ledger = world.ledger();
    assert_eq!(ledger.prompts()[1], format!("{edited}\n\nAttached file a.txt:\none"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_question_come_along_when_its_host_is_lost() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    second.start().await?;
    let question = world.say_with("[[think hm]] [[wait go]] [[say thank you]]", vec![picture()])?;
    world.reached("go").await?;
    world.start_runner().await?;
    second.is_lost()?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(fs::read(question.inbox().join("cat.gif"))?, GIF);
    let ledger = world.ledger();
    let heard = ledger.prompts();
    let here = question.inbox().join("cat.gif").display().to_string();
    assert!(heard.iter().any(|it| it.contains(&here)), "{heard:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_claude_puts_into_its_outbox_comes_with_the_answer() -> Result<()> {
    let world = giving().await?;
    let question = world.say(GIVES)?;
    assert_eq!(question.pages().await?, ["here", "-# 📎 `note.txt`"]);
    is_given_once(question)?;
    let again = question.follow_up("[[say nothing new]]").await?;
    assert_eq!(again.answer().await?, "nothing new");
    assert_eq!(question.files().len(), 1, "the outbox was emptied");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_the_answer_links_to_comes_with_it_and_nothing_else_of_the_host()
-> Result<()> {
    let world = giving().await?;
    let makes =
        "printf GIF89a > chart.gif; echo x > plain.rs; ln -s /etc/passwd link.txt; echo k > .env";
    let says = "![a chart](chart.gif), [link](link.txt), [up](../../../runner.toml), [env](.env), \
                [git](.git), [passwd](/etc/passwd), `plain.rs`";
    let text = format!(r#"[[tool Bash {{"command":"{makes}"}}]] [[say {says}]]"#);
    let question = world.say(&text)?;
    let said = question.pages().await?;
    assert_eq!(said, [says, "-# 📎 `chart.gif`"]);
    assert_eq!(question.files(), [("chart.gif".to_owned(), b"GIF89a".to_vec())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_named_and_a_text_leaves_without_its_secrets() -> Result<()> {
    let world = World::builder()
        .tools(&["Bash"])
        .gateway_toml("[answers]\nmax_file_mib = 1\n")
        .runner_env("DEPLOY_TOKEN", "hunter2hunter2")
        .start()
        .await?;
    let makes = "cd \\\"$HOLDFAST_OUTBOX\\\"; truncate -s 30M big.bin; truncate -s 1200K large.bin; \
                 touch empty.txt; echo hunter2hunter2 > a.txt; printf '\\\\377hunter2hunter2' > b.bin; \
                 ln -s /etc/passwd c.txt";
    let question = world.say(&format!(r#"[[tool Bash {{"command":"{makes}"}}]] [[say done]]"#))?;
    let said = question.pages().await?;
    assert_eq!(
        said,
        [
            "done\n-# 📎 Not sent: `b.bin` has something in it that looks like a secret; `big.bin` is \
             too large (31 MB); `c.txt` is a link that leads elsewhere; `empty.txt` is empty; \
             `large.bin` is too large for Discord (1.2 MB).",
            "-# 📎 `a.txt`"
        ]
    );
    let redacted = b"[redacted: DEPLOY_TOKEN]\n".to_vec();
    assert_eq!(question.files(), [("a.txt".to_owned(), redacted)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_discord_does_not_take_is_named_and_the_thread_goes_on() -> Result<()> {
    let world = World::builder()
        .tools(&["Bash"])
        .gateway_toml("[answers]\nmax_file_mib = 25\n")
        .start()
        .await?;
    let makes = "truncate -s 12M \\\"$HOLDFAST_OUTBOX/large.bin\\\"";
    let question = world.say(&format!(r#"[[tool Bash {{"command":"{makes}"}}]] [[say done]]"#))?;
    assert_eq!(question.pages().await?, ["done", "-# 📎 Discord did not take `large.bin`."]);
    let next = question.follow_up("[[say the second]]").await?;
    assert_eq!(next.answer().await?, "the second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_answer_are_posted_once_whatever_the_gateway_meets() -> Result<()> {
    for kind in [FaultKind::StatusAfter(502), FaultKind::CutAfter, FaultKind::CutBefore] {
        let world = giving().await?;
        let question = world.say(GIVES_LATER)?;
        world.reached("go").await?;
        // The answer meets it, and then its files.
        world.discord().fault(FaultRule::once("POST", POSTS, kind.clone()).times(2));
        world.release("go")?;
        assert_eq!(question.mark().await?, "✅");
        is_given_once(question)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_files_has_no_more_are_said_to_be_gone() -> Result<()> {
    let world = giving().await?;
    let question = world.say(GIVES_LATER)?;
    world.reached("go").await?;
    world.discord().fault(FaultRule::once("POST", POSTS, FaultKind::StatusBefore(503)).times(1000));
    world.release("go")?;
    world.logs("gateway-svc", "will be posted again").await?;
    world.jetstream("STREAM.PURGE.OBJ_FILES_app", &json!({})).await?;
    world.discord().clear_faults();
    let said = question.pages().await?;
    assert_eq!(said, ["here", "-# 📎 `note.txt` – not kept any more."]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_with_keys_of_their_own_hand_files_both_ways() -> Result<()> {
    let world = World::builder().secured().tools(&["Bash"]).start().await?;
    let question = world.say_with(&format!("look {GIVES}"), vec![picture()])?;
    assert_eq!(question.mark().await?, "✅");
    is_given_once(question)?;
    assert_eq!(fs::read(question.inbox().join("cat.gif"))?, GIF);
    assert_eq!(git(&question.worktree(), &["status", "--porcelain"])?, "", "nothing lies there");
    Ok(())
}
