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
