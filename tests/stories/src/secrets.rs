//! What claude, and whoever looks at the processes of the host, must not see.

use std::fs;

use anyhow::Result;
use harness::World;

const SECRET: &str = "a-secret-of-the-runner";

#[tokio::test(flavor = "multi_thread")]
async fn claude_gets_no_secret_and_no_prompt_in_its_command_line() -> Result<()> {
    let secrets = ["DISCORD_TOKEN", "DATABASE_URL", "NATS_PASSWORD", "AWS_SECRET_ACCESS_KEY"];
    let mut builder = World::builder().runner_env("CLAUDECODE", "1");
    for name in secrets {
        builder = builder.runner_env(name, SECRET);
    }
    let world = builder.start().await?;
    let question = world.say("a very private prompt [[wait go]] [[say done]]")?;
    world.reached("go").await?;

    let below = world.processes().await;
    assert!(3 < below.len(), "{below:?}");
    for process in &below {
        assert!(!process.command.contains("private"), "{}", process.command);
        // A look of `doctor` at its programs may be over by now.
        let is_there = || harness::processes::is_alive(process.pid);
        let Ok(environment) = fs::read(format!("/proc/{}/environ", process.pid)) else {
            assert!(!is_there(), "{} cannot be read", process.command);
            continue;
        };
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains(SECRET), "{} has it", process.command);
    }
    let ledger = world.ledger();
    let begin = ledger.all("begin")[0];
    assert!(!begin.texts("argv").iter().any(|word| word.contains("private")));
    for name in secrets.iter().chain(&["CLAUDECODE", "NATS_URL", "HTTP_LISTEN", "TMUX"]) {
        assert!(!begin.texts("env").contains(name), "claude has {name}");
    }
    assert!(begin.texts("env").contains(&"HOME"));

    world.release("go")?;
    question.answer().await?;
    for name in ["gateway-svc", "runner-svc"] {
        let log = world.log(name);
        assert!(!log.contains("private") && !log.contains(SECRET), "{log}");
    }
    Ok(())
}

/// A token as GitHub makes them, in halves so that nobody takes this file for a leak.
const TOKEN: &str = concat!("gh", "p_0123456789abcdefghijABCDEFGHIJ012345");

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_runner_is_in_no_answer() -> Result<()> {
    let pages = "[answers]\nmax_pages = 100\n";
    let world = World::builder().gateway_toml(pages).runner_env("DEPLOY_PASSWORD", SECRET);
    let world = world.start().await?;
    let question = world.say(&format!("[[say it is {SECRET}, and {TOKEN}, see]]"))?;
    assert_eq!(question.answer().await?, "it is [redacted: DEPLOY_PASSWORD], and [redacted], see");
    let long = format!("[[big 40000]] [[say and {SECRET} and {TOKEN} at the end]]");
    let question = world.say(&long)?;
    assert!(question.answer().await?.contains("and [redacted: DEPLOY_PASSWORD] and [redacted] at"));
    is_told_nowhere(&world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_runner_is_in_nothing_that_was_refused_or_failed() -> Result<()> {
    let world = World::builder().runner_env("DEPLOY_PASSWORD", SECRET).project_toml("ask = false");
    let world = world.start().await?;
    // The name of the tool and the end of a line are beyond what is shown: what is cut must not be half
    // a secret.
    let command = format!("curl {} {SECRET} {TOKEN}", "x".repeat(120));
    let tool = serde_json::json!({"command": command, "description": "hm"});
    let question = world.say(&format!("[[tool Bash {tool}]] [[say no]]"))?;
    let answer = question.answer().await?;
    assert!(answer.contains("not allowed here") && answer.contains("[redacted"), "{answer}");
    let question = world.say(&format!("[[error 400 {SECRET} {TOKEN}]]"))?;
    assert!(question.failure().await?.contains("400 [redacted: DEPLOY_PASSWORD] [redacted]"));
    is_told_nowhere(&world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_runner_is_in_nothing_that_people_are_asked() -> Result<()> {
    let world = World::builder().runner_env("DEPLOY_PASSWORD", SECRET).start().await?;
    let tool = serde_json::json!({"command": format!("curl -u {SECRET} {TOKEN}")});
    let question = world.say(&format!("[[tool Bash {tool}]] [[say no]]"))?;
    world
        .sees("what is asked", |view| {
            let mut said = view.guild.messages(question.thread());
            said.find(|it| it.content.contains("claude asks to use")).map(|_| ())
        })
        .await?;
    is_told_nowhere(&world)?;
    question.follow_up("!stop").await?;
    assert_eq!(question.mark().await?, "⏹️");
    Ok(())
}

/// Nothing that the bot ever wrote has a secret in it, or half of one.
fn is_told_nowhere(world: &World) -> Result<()> {
    let discord = world.discord();
    let bot = discord.bot();
    discord.view(|view| {
        let all = view.guild.channels().flat_map(|it| view.guild.history(it.id));
        let by_bot = all.filter(|it| it.author == bot);
        for message in by_bot {
            let shown = format!("{message:?}");
            for secret in [SECRET, TOKEN] {
                let half = &secret[..secret.len() / 2];
                anyhow::ensure!(!shown.contains(half), "{half} is in {shown}");
            }
        }
        Ok(())
    })
}
