//! What people say about a thread's runs: what waits is listed and changed, the next question begins
//! afresh or with another model, and where the session is.

use anyhow::{Context as _, Result, ensure};
use harness::{Claude, Question, World};
use serde_json::json;

use crate::deciding::order;
use crate::scene::in_the_middle;
use crate::steering::has_read_both;
use crate::waiting::{aside, delete};

/// The services die and come back.
async fn all_restart(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

/// What the bot said in the thread that was no answer to a command.
fn answers(question: Question<'_>, wanted: &[&str]) -> Result<Vec<String>> {
    let said = question.said_in_thread()?;
    Ok(said.into_iter().filter(|it| wanted.contains(&it.as_str())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_listed_and_changed_by_its_number_over_a_restart() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    for words in ["two", "three", "four", "five"] {
        first.follow_up(&format!("[[say {words}]]")).await?.is_seen().await?;
    }
    let list = order(first, "!queue").await?;
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[0], "**2** alice: `[[say two]]`", "{list}");
    assert_eq!((lines.len(), lines[3]), (5, "**5** alice: `[[say five]]`"), "{list}");
    all_restart(&world).await?;
    let dropped = order(first, "!queue drop 3").await?;
    assert_eq!(dropped, "Dropped:\n**3** alice: `[[say three]]`");
    let edited = order(first, "!queue edit 2 [[say another two]]").await?;
    assert!(edited.starts_with("Changed: **2** alice: `[[say another two]]`"), "{edited}");
    let merged = order(first, "!QUEUE merge 5 4").await?;
    assert!(merged.starts_with("These are one now, question 4:\n**4** alice"), "{merged}");
    let gone = order(first, "!queue drop 3").await?;
    assert!(gone.starts_with("Question 3 does not wait; nothing was done."), "{gone}");
    all_restart(&world).await?;
    let list = order(first, "!queue").await?;
    assert_eq!(list.lines().count(), 3, "{list}");
    world.release("go")?;
    let all = ["the answer", "two", "another two", "three", "four", "four\nfive", "five"];
    world.until("all answers", || answers(first, &all).is_ok_and(|it| it.len() == 3)).await?;
    assert_eq!(answers(first, &all)?, ["the answer", "another two", "four\nfive"]);
    assert_eq!(world.ledger().count("begin"), 3);
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_by_its_number() -> Result<()> {
    let world = World::builder().tools(&["Bash"]).start().await?;
    let gate = world.folder().gates().join("tool");
    let command = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    let tool = json!({"command": command, "description": "wait"});
    let first = world.say(&format!("[[think hm]] [[tool Bash {tool}]] [[say heard {{steer}}]]"))?;
    world.notes("the tool", |ledger| ledger.count("tool") == 1).await?;
    let waits = first.follow_up("faster, please").await?;
    let sent = order(first, "!queue send 2").await?;
    assert_eq!(sent, "Sent: claude is told this at its next step.");
    let again = order(first, "!queue send 2").await?;
    assert_eq!(again, "Question 2 does not wait; nothing does. Nothing was done.");
    has_read_both(&world).await?;
    world.release("tool")?;
    assert_eq!(first.mark().await?, "✅");
    assert_eq!(waits.mark().await?, "✅");
    assert_eq!(answers(first, &["heard faster, please"])?.len(), 1);
    assert_eq!(world.ledger().count("begin"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_merged_waits_by_itself_again_when_the_other_is_deleted() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let second = aside(&world, first, "[[say two]]").await?;
    let third = first.follow_up("[[say three]]").await?;
    order(first, "!queue merge 2 3").await?;
    all_restart(&world).await?;
    delete(&world, second)?;
    let back = "-# What this was merged into is dropped; this waits by itself again.";
    let is_back = |view: &harness::discord_sim::View<'_>| {
        let mut said = view.guild.messages(first.thread());
        said.find(|it| it.content == back).map(|_| ())
    };
    world.sees("that it waits again", is_back).await?;
    world.release("go")?;
    assert_eq!(third.mark().await?, "✅");
    assert_eq!(answers(first, &["two", "three", "two\nthree"])?, ["three"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_makes_no_sense_is_told_so_and_does_nothing() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let second = first.follow_up("[[say two]]").await?;
    second.is_seen().await?;
    let long = format!("!queue drop {}", "9".repeat(1900));
    let bad = [
        "!queue drop",
        "!queue frobnicate 2",
        "!queue drop 0",
        "!queue drop 2; rm -rf /",
        &long,
        "!queue edit 2",
        "!queue merge 2",
        "!model --dangerously-skip-permissions",
        "!model a b",
        "!model `x`",
        "!resume",
        "!resume ../../etc/passwd",
        "!resume *",
        "!queue send @everyone",
    ];
    for word in bad {
        let line = order(first, word).await?;
        assert!(line.contains("nothing was done") && line.len() < 500, "{word}: {line}");
        assert!(!line.contains("@everyone"), "{line}");
    }
    let theirs = first.follow_up_as("bob", "!queue edit 2 [[say mine]]").await?;
    let line = theirs.refusal().await?;
    assert_eq!(line, "Only alice may change question 2; nothing was done.");
    let other = first.follow_up_as("bob", "[[say bobs]]").await?;
    other.is_seen().await?;
    let line = order(first, "!queue merge 2 3").await?;
    assert_eq!(line, "Only questions of one person can be merged; nothing was done.");
    world.release("go")?;
    assert_eq!(other.mark().await?, "✅");
    assert_eq!(answers(first, &["the answer", "two", "bobs"])?, ["the answer", "two", "bobs"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_are_listed_wherever_somebody_asks() -> Result<()> {
    let world = World::start().await?;
    let help = world.say("!help")?.refusal().await?;
    for word in ["stop", "end", "retry", "discard", "queue", "restart", "session", "model", "fork"]
    {
        assert!(help.contains(&format!("`!{word}")), "{word}: {help}");
    }
    let in_a_thread = world.say("!queue")?.refusal().await?;
    assert_eq!(in_a_thread, "Say that in the thread that it is about.");
    let first = world.say("[[say the answer]]")?;
    assert_eq!(first.answer().await?, "the answer");
    assert_eq!(order(first, "!HELP").await?, help);
    assert_eq!(order(first, "!queue").await?, "Nothing waits in this thread.");
    assert_eq!(world.ledger().count("begin"), 1);
    Ok(())
}

/// The next question knows nothing of what was said, and finds the files that were there.
async fn begins_afresh(world: &World) -> Result<()> {
    let made = json!({"command": "touch made", "description": "Make a file"});
    let first = world.say(&format!("my number is seven [[tool Bash {made}]] [[say noted]]"))?;
    assert_eq!(first.mark().await?, "✅");
    assert!(first.worktree().join("made").exists());
    let line = order(first, "!restart").await?;
    assert!(line.starts_with("The next question begins a fresh session"), "{line}");
    all_restart(world).await?;
    let next = first.follow_up("[[recall]]").await?;
    assert_eq!(next.mark().await?, "✅");
    let said = first.said_in_thread()?;
    assert_eq!(said.last().map(String::as_str), Some("You said nothing before."), "{said:?}");
    assert!(first.worktree().join("made").exists());
    let third = first.follow_up("[[recall]]").await?;
    assert_eq!(third.mark().await?, "✅");
    let said = first.said_in_thread()?;
    let last = said.last().context("nothing was said")?;
    assert!(last.contains("[[recall]]") && !last.contains("seven"), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_by_command_claude_knows_nothing_and_the_files_stay() -> Result<()> {
    begins_afresh(&World::builder().tools(&["Bash"]).start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_begins_afresh_by_command() -> Result<()> {
    begins_afresh(&World::builder().claude(Claude::Real).tools(&["Bash"]).start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_by_command_comes_after_the_run_at_work() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let second = first.follow_up("[[recall]]").await?;
    let line = order(first, "!restart").await?;
    assert!(line.starts_with("What runs now goes on to its end."), "{line}");
    all_restart(&world).await?;
    world.release("go")?;
    assert_eq!(first.mark().await?, "✅");
    assert_eq!(second.mark().await?, "✅");
    let all = ["the answer", "You said nothing before."];
    assert_eq!(answers(first, &all)?, all);
    Ok(())
}

/// The options with which the last claude was started.
fn options(world: &World) -> Vec<String> {
    let ledger = world.ledger();
    let begun = ledger.all("begin");
    let last = begun.last().map(|it| it.texts("argv")).unwrap_or_default();
    last.into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_chosen_for_a_thread_is_its_own_until_it_is_taken_back() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let line = order(first, "!model opus-5_test").await?;
    assert_eq!(
        line,
        "This thread's model is **opus-5\\_test**, from the next question on; what runs now keeps \
         its own."
    );
    all_restart(&world).await?;
    world.release("go")?;
    assert_eq!(first.mark().await?, "✅");
    assert!(options(&world).iter().all(|it| !it.contains("opus")));
    let second = first.follow_up("[[say two]]").await?;
    assert_eq!(second.mark().await?, "✅");
    assert!(options(&world).contains(&"--model=opus-5_test".to_owned()));
    assert_eq!(order(first, "!model").await?, "This thread's model is **opus-5\\_test**.");
    let elsewhere = world.say("[[say elsewhere]]")?;
    assert_eq!(elsewhere.mark().await?, "✅");
    assert!(options(&world).iter().all(|it| !it.contains("opus")));
    let back = order(first, "!model default").await?;
    assert!(back.starts_with("This thread's model is its runner's own choice, from"), "{back}");
    let third = first.follow_up("[[say three]]").await?;
    assert_eq!(third.mark().await?, "✅");
    assert!(options(&world).iter().all(|it| !it.contains("opus")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_session_is_can_be_put_into_a_terminal_as_it_is_told() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    world.logs("gateway-svc", "phase=Running").await?;
    let text = order(first, "!session").await?;
    let session = world.ledger().all("begin")[0].session.clone();
    assert!(text.contains(&format!("Session `{session}`.")), "{text}");
    assert!(text.contains("attach -r -t =m"), "{text}");
    all_restart(&world).await?;
    world.release("go")?;
    assert_eq!(first.mark().await?, "✅");
    let text = order(first, "!session").await?;
    assert!(!text.contains("attach -r"), "{text}");
    let resume = text.lines().find(|line| line.contains("--resume")).context("no line")?;
    let dir = first.worktree();
    ensure!(resume.starts_with(&format!("cd {} && ", dir.display())), "{resume}");
    ensure!(resume.ends_with(&format!(" --resume {session}")), "{resume}");
    let none = world.say("!session")?.refusal().await?;
    assert_eq!(none, "Say that in the thread that it is about.");
    Ok(())
}
