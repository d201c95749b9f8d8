//! `holdfast-demo`: one question, and everything between it and its answer killed in turn.
//!
//! The real claude is held in the middle of its run; the runner, the gateway and nats-server are
//! killed with -9 and started again, one after the other; then claude goes on. What stands in
//! Discord at the end is printed, with a timeline. It ends with 0 only if the answer stands there
//! once.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::{Claude, World};

/// What is asked; the script holds claude in the middle.
const QUESTION: &str = "What is the answer? [[think about it]] [[wait go]] [[say Forty-two.]]";
/// What it says.
const ANSWER: &str = "Forty-two.";
/// How long each part may take.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(demo()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("holdfast-demo: {error:#}"));
    ExitCode::FAILURE
}

/// Tells whoever watches.
fn say(line: &str) {
    // Nobody reads it, then.
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn demo() -> Result<()> {
    let since = Instant::now();
    let tell = |what: &str| say(&format!("{:>6.1} s  {what}", since.elapsed().as_secs_f64()));
    let world = World::builder().claude(Claude::Real).rate_limits().lenient().start().await?;
    tell("nats-server, gateway and runner are ready");

    let question = world.say(QUESTION)?;
    question.is_seen().await?;
    tell("the question is written, and 👀 stands under it");
    within("claude", world.reached("go")).await?;
    tell("claude is in the middle of its run, in tmux");

    world.kill_runner().await?;
    tell("kill -9 of the runner");
    world.start_runner().await?;
    tell("the runner is back");
    world.kill_gateway().await?;
    tell("kill -9 of the gateway");
    world.start_gateway().await?;
    tell("the gateway is back");
    world.kill_nats().await?;
    tell("kill -9 of nats-server");
    world.start_nats().await?;
    tell("nats-server is back");

    world.release("go")?;
    tell("claude goes on");
    let answer = within("the answer", question.answer()).await?;
    tell(&format!("the answer stands in the thread: {answer}"));
    let mark = within("the mark", question.mark()).await?;
    tell(&format!("{mark} stands under the question"));

    // Whatever were to be posted twice would stand between the two.
    let second = question.follow_up("And again? [[say Still forty-two.]]").await?;
    within("the second answer", second.answer()).await?;
    let said = question.said_in_thread()?;
    tell(&format!("all that stands in the thread: {said:?}"));
    ensure!(said == [ANSWER, "Still forty-two."], "the answer does not stand there once: {said:?}");
    tell("one question, one answer");
    drop(world);
    Ok(())
}

async fn within<T>(what: &str, waited: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || format!("{what} did not come within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, waited).await.with_context(late)?
}
