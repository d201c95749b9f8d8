//! Where claude works: each thread in a git worktree of its own, or one run at a time in the
//! project's directory itself; and what was not committed is never lost.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use harness::builder::path_of;
use harness::project::{git, repository};
use harness::{Content, Ledger, Question, World};

/// Where each claude so far was started.
fn directories(world: &World) -> Vec<PathBuf> {
    world.ledger().all("begin").into_iter().map(|begin| begin.text("cwd").into()).collect()
}

/// A claude that waits for a gate.
async fn at_work<'w>(world: &'w World, gate: &str) -> Result<Question<'w>> {
    let question = world.say(&format!("[[think hm]] [[wait {gate}]] [[say {gate}]]"))?;
    world.reached(gate).await?;
    Ok(question)
}

/// Waits until the thread was told why claude works in the directory itself.
async fn is_told_why(world: &World, question: Question<'_>, why: &str) -> Result<()> {
    let thread = question.thread();
    world
        .sees("where claude works", |view| {
            let mut said = view.guild.messages(thread).filter(|it| it.is_bot);
            said.find(|it| it.content.starts_with("-# claude works in") && it.content.contains(why))
                .map(|_| ())
        })
        .await
}

/// The most claudes that were at work at the same time.
fn most_at_once(ledger: &Ledger) -> i64 {
    let time = |noted: &harness::Noted| noted.fields["time_ns"].as_i64().unwrap_or_default();
    let mut changes: Vec<(i64, i64)> = Vec::new();
    changes.extend(ledger.all("begin").into_iter().map(|noted| (time(noted), 1)));
    changes.extend(ledger.all("end").into_iter().map(|noted| (time(noted), -1)));
    changes.sort_unstable();
    let mut at_once = 0;
    changes.into_iter().fold(0, |most, (_, change)| {
        at_once += change;
        most.max(at_once)
    })
}

async fn plain() -> Result<World> {
    World::builder().content(Content::Plain).start().await
}

/// What holds a set-up command, or git, until it may go on.
const HOLD: &str = "touch \"$HOME/began\"; until test -e \"$HOME/go\"; do sleep 0.05; done";

async fn began(world: &World) -> Result<()> {
    world.until("what is held has begun", || world.folder().home().join("began").exists()).await
}

fn go(world: &World) -> Result<()> {
    File::create(world.folder().home().join("go"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_work_at_the_same_time_each_in_a_worktree_of_its_own() -> Result<()> {
    let world = World::start().await?;
    let script = "[[tool Bash {\"command\":\"git branch --show-current\"}]] [[wait go]] \
                  [[say on {result}]]";
    let (first, second) = (world.say(script)?, world.say(script)?);
    world.notes("two claudes", |ledger| ledger.count("wait") == 2).await?;
    let mut expected = [first.worktree(), second.worktree()];
    let mut found = directories(&world);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    world.release("go")?;
    for question in [first, second] {
        let branch = format!("on holdfast/{}", question.thread());
        assert_eq!(question.answer().await?, branch);
    }
    let project = world.folder().project();
    assert_eq!(git(&project, &["status", "--porcelain"])?, "");
    assert_eq!(git(&project, &["branch", "--show-current"])?, "main");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_worktree_has_the_copies_and_the_work_of_the_set_up() -> Result<()> {
    let more = "copy = [\".env\"]\nsetup = \"cat .env > made.txt\"";
    let world = World::builder().project_toml(more).start().await?;
    fs::write(world.folder().project().join(".env"), "KEY=1\n")?;
    let question = world.say("[[tool Read {\"file_path\":\"made.txt\"}]] [[say {result}]]")?;
    let answer = question.answer().await?;
    assert!(answer.contains("KEY=1"), "{answer}");
    assert!(question.worktree().join(".env").exists());
    assert!(!world.folder().project().join("made.txt").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_fails_is_told_with_what_it_said_last() -> Result<()> {
    let setup = "setup = 'test -e \"$HOME/mended\" || { echo no such package; exit 7; }'";
    let world = World::builder().project_toml(setup).start().await?;
    let question = world.say("[[say the answer]]")?;
    let reason = question.failure().await?;
    assert!(reason.contains("ended with code 7"), "{reason}");
    assert!(reason.contains("no such package"), "{reason}");
    File::create(world.folder().home().join("mended"))?;
    let retried = question.follow_up("!retry").await?;
    assert_eq!(retried.refusal().await?, "Trying again.");
    world.until("✅", || question_is_marked(&world, question, "✅")).await?;
    assert_eq!(directories(&world), [question.worktree()]);
    Ok(())
}

fn question_is_marked(world: &World, question: Question<'_>, mark: &str) -> bool {
    world.discord().reactions(question.message()).iter().any(|it| it.emoji == mark)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_run_whose_worktree_is_being_made() -> Result<()> {
    let setup = format!("setup = '{HOLD}'");
    let world = World::builder().project_toml(&setup).start().await?;
    let question = world.say("[[say the answer]]")?;
    began(&world).await?;
    let stop = question.follow_up("!stop").await?;
    assert_eq!(stop.refusal().await?, "Stopping it.");
    assert_eq!(question.mark().await?, "⏹️");
    assert_eq!(world.ledger().count("begin"), 0);
    // What was begun is used.
    go(&world)?;
    let next = question.follow_up("[[say still here]]").await?;
    let answer = next.answer().await?;
    assert!(answer.ends_with("still here"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worktree_takes_no_longer_than_a_run_may() -> Result<()> {
    let setup = format!("setup = '{HOLD}'");
    let world = World::builder().project_toml(&setup).runner_toml("run_max_s = 3").start().await?;
    let question = world.say("[[say the answer]]")?;
    let reason = question.failure().await?;
    assert!(reason.contains("still running after 3 s"), "{reason}");
    assert_eq!(world.ledger().count("begin"), 0);
    go(&world)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_ends_while_a_worktree_is_made_goes_on_with_it() -> Result<()> {
    let setup = format!("setup = '{HOLD}; echo once >> \"$HOME/times\"'");
    let world = World::builder().project_toml(&setup).start().await?;
    let question = world.say("[[say the answer]]")?;
    began(&world).await?;
    world.stop_runner().await?;
    go(&world)?;
    world.start_runner().await?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(fs::read_to_string(world.folder().home().join("times"))?, "once\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_that_takes_long_holds_up_no_other_thread() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let real = harness::on_path("git").context("git is not on PATH")?;
    let names = ["sh", "touch", "sleep", "tmux", "git"];
    let path = path_of(world.folder(), &names)?;
    let slow = PathBuf::from(&path).join("git");
    fs::remove_file(&slow)?;
    // The files of the largest repositories take minutes.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *' reset '*) test ! -e \"$HOME/hold\" || {{ {HOLD}; }};; \
         esac\nexec {} \"$@\"\n",
        real.display()
    );
    fs::write(&slow, script)?;
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755))?;
    world.set_runner_env("PATH", path).await;
    world.start_runner().await?;
    let other = world.say("[[say here]]")?;
    assert_eq!(other.answer().await?, "here");
    File::create(world.folder().home().join("hold"))?;
    let slow = world.say("[[say late]]")?;
    began(&world).await?;
    assert_eq!(other.follow_up("[[say at once]]").await?.answer().await?, "at once");
    assert_eq!(world.runner_page("/readyz").await?.0, 200);
    go(&world)?;
    assert_eq!(slow.answer().await?, "late");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_git_one_run_is_at_work_at_a_time_and_why_is_said_once() -> Result<()> {
    let world = plain().await?;
    let first = at_work(&world, "one").await?;
    // Both are taken by a runner of two slots: who waits for the directory has none.
    let (second, third) = (world.say("[[say two]]")?, world.say("[[say three]]")?);
    for question in [first, second, third] {
        is_told_why(&world, question, "it is no git repository").await?;
    }
    assert_eq!(world.ledger().count("begin"), 1);
    world.release("one")?;
    for (question, answer) in [(first, "one"), (second, "two"), (third, "three")] {
        assert!(question.answer().await?.ends_with(answer));
        assert_eq!(question.follow_up("[[say again]]").await?.answer().await?, "again");
        let said = question.said_in_thread()?;
        assert_eq!(said.len(), 3, "{said:?}");
    }
    assert_eq!(most_at_once(&world.ledger()), 1);
    assert!(directories(&world).iter().all(|it| *it == world.folder().project()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_a_commit_is_worked_in_itself() -> Result<()> {
    let world = plain().await?;
    git(&world.folder().project(), &["init", "--quiet"])?;
    let question = world.say("[[say here]]")?;
    is_told_why(&world, question, "nothing is committed there yet").await?;
    assert!(question.answer().await?.ends_with("here"));
    assert_eq!(directories(&world), [world.folder().project()]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_worktrees_has_one_run_at_a_time_and_is_told_nothing() -> Result<()> {
    let world = World::builder().project_toml("worktree = false").start().await?;
    let first = at_work(&world, "one").await?;
    let second = world.say("[[say two]]")?;
    let waits = || world.log("runner-svc").contains("waits for the run that works in it");
    world.until("the second waits", waits).await?;
    assert_eq!(world.ledger().count("begin"), 1);
    world.release("one")?;
    assert_eq!(first.answer().await?, "one");
    assert_eq!(second.answer().await?, "two");
    assert_eq!(most_at_once(&world.ledger()), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runner_still_lets_one_run_into_the_directory() -> Result<()> {
    let world = plain().await?;
    let first = at_work(&world, "one").await?;
    world.kill_runner().await?;
    let second = world.say("[[say two]]")?;
    world.start_runner().await?;
    is_told_why(&world, second, "it is no git repository").await?;
    assert_eq!(world.ledger().count("begin"), 1);
    world.release("one")?;
    assert!(first.answer().await?.ends_with("one"));
    assert!(second.answer().await?.ends_with("two"));
    assert_eq!(most_at_once(&world.ledger()), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_the_directory_can_be_stopped() -> Result<()> {
    let world = plain().await?;
    let first = at_work(&world, "one").await?;
    let second = world.say("[[say two]]")?;
    is_told_why(&world, second, "it is no git repository").await?;
    let stop = second.follow_up("!stop").await?;
    assert_eq!(stop.refusal().await?, "Stopping it.");
    assert_eq!(second.mark().await?, "⏹️");
    assert_eq!(world.ledger().count("begin"), 1);
    world.release("one")?;
    assert!(first.answer().await?.ends_with("one"));
    let next = second.follow_up("[[say still here]]").await?;
    assert!(next.answer().await?.ends_with("still here"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_is_stopped_while_a_run_waits_for_the_directory() -> Result<()> {
    let world = plain().await?;
    let first = at_work(&world, "one").await?;
    let second = world.say("[[say two]]")?;
    is_told_why(&world, second, "it is no git repository").await?;
    world.stop_runner().await?;
    world.start_runner().await?;
    world.release("one")?;
    assert!(first.answer().await?.ends_with("one"));
    assert!(second.answer().await?.ends_with("two"));
    assert_eq!(most_at_once(&world.ledger()), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_stays_where_it_began() -> Result<()> {
    let world = plain().await?;
    let project = world.folder().project();
    let old = world.say("[[say here]]")?;
    assert!(old.answer().await?.ends_with("here"));
    repository(&project)?;
    assert_eq!(old.follow_up("[[say still here]]").await?.answer().await?, "still here");
    let new = world.say("[[say there]]")?;
    assert_eq!(new.answer().await?, "there");
    assert_eq!(directories(&world), [project.clone(), project, new.worktree()]);
    Ok(())
}

/// Makes a thread look as if nobody had used it for two months, which is longer than anything is
/// kept.
fn forget(question: Question<'_>) -> Result<()> {
    let path = question.worktree();
    let long_ago = SystemTime::now() - Duration::from_secs(60 * 24 * 60 * 60);
    let beside = [path.with_extension("json"), path.with_extension("lock"), path];
    for path in beside.iter().filter(|path| path.exists()) {
        File::open(path)?.set_modified(long_ago)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_not_committed_survives_restarts_and_old_age() -> Result<()> {
    let world = World::start().await?;
    let idle = world.say("[[say here]]")?;
    assert_eq!(idle.answer().await?, "here");
    // What is not swept is still in use.
    world.nothing_is_left().await?;
    let question = at_work(&world, "go").await?;
    let notes = [question, idle].map(|it| it.worktree().join("notes.txt"));
    for note in &notes {
        fs::write(note, "half a thought\n")?;
    }
    world.kill_runner().await?;
    forget(question)?;
    forget(idle)?;
    world.start_runner().await?;
    let stays = || world.log("runner-svc").contains("notes.txt among them");
    world.until("the word that the worktree stays", stays).await?;
    assert!(notes.iter().all(|note| note.exists()), "{notes:?}");
    world.release("go")?;
    assert_eq!(question.answer().await?, "go");
    let status = "[[tool Bash {\"command\":\"git status --short\"}]] [[say {result}]]";
    let answer = idle.follow_up(status).await?.answer().await?;
    assert!(answer.contains("?? notes.txt"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_used_for_long_goes_and_the_thread_goes_on() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say here]]")?;
    assert_eq!(question.answer().await?, "here");
    // What is not swept is still in use.
    world.nothing_is_left().await?;
    world.stop_runner().await?;
    forget(question)?;
    world.start_runner().await?;
    let path = question.worktree();
    world.until("its worktree is gone", || !path.with_extension("lock").exists()).await?;
    assert!(!path.exists());
    assert_eq!(question.follow_up("[[say back]]").await?.answer().await?, "back");
    assert!(path.exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_the_directory_goes_when_nobody_used_it_for_long() -> Result<()> {
    let world = plain().await?;
    let question = world.say("[[say here]]")?;
    assert!(question.answer().await?.ends_with("here"));
    // What is not swept is still in use.
    world.nothing_is_left().await?;
    world.stop_runner().await?;
    let mark = question.worktree().with_extension("json");
    assert!(mark.exists());
    forget(question)?;
    world.start_runner().await?;
    world.until("its mark is gone", || !mark.exists()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_where_threads_work_and_why() -> Result<()> {
    let cases = [
        (Content::Repository, "", "each thread works in a git worktree"),
        (Content::Plain, "", "one run at a time, because it is no git repository"),
        (Content::Repository, "worktree = false", "one run at a time, because worktree = false"),
    ];
    for (content, more, expected) in cases {
        let world = World::builder().content(content).project_toml(more).without_runner();
        let world = world.without_gateway().start().await?;
        let said = String::from_utf8(world.runner_command(&["doctor"]).await?.stdout)?;
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    Ok(())
}
