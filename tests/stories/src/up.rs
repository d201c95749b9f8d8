//! `holdfast-up`, what `cargo xtask up` becomes: started as a person starts it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::{
    Environment, PATIENCE, Plan, Service, built, claude, discord_sim, http, nats_server, processes,
    project,
};
use serde_json::{Value, json};

/// The environment of a person without a token, who has this folder as home and checkout.
fn environment(folder: &Path) -> Result<Environment> {
    let mut path = folder.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Ok([
        ("PATH", path),
        ("HOME", folder.into()),
        ("TMPDIR", folder.into()),
        ("TMUX_TMPDIR", folder.into()),
        ("HOLDFAST_ROOT", folder.into()),
        ("HOLDFAST_NATS_SERVER", nats_server()?.into()),
        ("HOLDFAST_CLAUDE", claude()?.into()),
    ]
    .map(|(name, value)| (name.into(), value))
    .into())
}

fn run(folder: &Path, words: &[&str]) -> Result<Output> {
    let mut command = Command::new(built("holdfast-up")?);
    command.args(words).env_clear().envs(environment(folder)?).stdin(Stdio::null());
    command.output().context("it does not start")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nothing of it runs, and nothing lies in the folder.
fn nothing_is_left(folder: &Path) {
    assert_eq!(processes::naming(folder), []);
    let left: Vec<_> = folder.read_dir().into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn ask_prints_the_answer_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = run(folder.path(), &["--ask", "say hello"])?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "Hello! You said: say hello\n");
    nothing_is_left(folder.path());
    Ok(())
}

#[test]
fn ask_tells_why_there_is_no_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (question, reason) in
        [("[[error 400 not today]]", "400 not today"), (" ", "There is no text")]
    {
        let output = run(folder.path(), &["--ask", question])?;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
        nothing_is_left(folder.path());
    }
    Ok(())
}

#[test]
fn ask_works_in_the_directory_that_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own = tempfile::tempdir()?;
    project::repository(own.path())?;
    let question =
        "[[tool Bash {\"command\": \"ls\", \"description\": \"Look\"}]] [[say {result}]]";
    let directory = own.path().to_str().context("a path of text")?;
    let output = run(folder.path(), &["--project", directory, "--ask", question])?;
    assert_eq!(text(&output.stdout), "README.md\nadd.py\n", "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn what_ask_started_ends_when_ask_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut plan = Terminal::plan(folder.path())?;
    plan.args = vec!["--ask".into(), "[[think hm]] [[wait forever]]".into()];
    // Whatever names the folder is looked for in the end.
    plan.log = folder.path().join("ask.log");
    let mut service = Service::new(plan);
    service.start()?;
    let is_at_work = || {
        processes::naming(folder.path()).iter().any(|it| it.command.starts_with("holdfast-keeper"))
    };
    assert!(processes::wait_until(PATIENCE, is_at_work), "{}", service.tail());
    service.kill()?;
    let is_gone = || processes::naming(folder.path()).is_empty();
    assert!(processes::wait_until(PATIENCE, is_gone), "{:?}", processes::naming(folder.path()));
    std::fs::remove_file(folder.path().join("ask.log"))?;
    nothing_is_left(folder.path());
    Ok(())
}

/// A `claude` on the PATH of this folder: claude-sim.
fn own_claude(folder: &Path) -> Result<()> {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin)?;
    std::os::unix::fs::symlink(built("claude-sim")?, bin.join("claude"))?;
    Ok(())
}

#[test]
fn with_a_token_up_says_what_else_it_needs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let env_file = folder.path().join(".env");
    std::fs::write(&env_file, "DISCORD_TOKEN=not-a-token\n")?;
    let complains = |words: &str| -> Result<()> {
        let output = run(folder.path(), &[])?;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{words:?} is not in\n{said}");
        assert!(!said.contains("not-a-token"), "{said}");
        Ok(())
    };
    if harness::on_path("claude").is_none() {
        complains("there is no claude on PATH")?;
    }
    own_claude(folder.path())?;
    complains("DISCORD_CHANNEL is not set: put into .env")?;
    std::fs::write(&env_file, "DISCORD_TOKEN=not-a-token\nDISCORD_CHANNEL=7\n")?;
    complains("DISCORD_ALLOW is not set: put into .env")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_up_serves_that_discord_with_the_claude_on_path() -> Result<()> {
    let folder = tempfile::tempdir()?;
    own_claude(folder.path())?;
    let sim = discord_sim::Sim::start(discord_sim::Options::default()).await?;
    let discord = sim.discord();
    let (channel, ada) = (discord.channel("shop"), discord.user("ada"));
    let own = folder.path().join(".holdfast");
    std::fs::create_dir_all(&own)?;
    sim.write_ca(&own.join("ca.pem"))?;
    let gateway = format!(
        "[discord]\nconnect_to = \"{}\"\nca_file = \"ca.pem\"\n\
         [projects.shop]\nchannels = [\"{channel}\"]\nallow = {{ users = [\"{ada}\"] }}\n",
        sim.rest_addr
    );
    std::fs::write(own.join("gateway.toml"), gateway)?;
    let token = discord_sim::DEFAULT_TOKEN;
    std::fs::write(folder.path().join(".env"), format!("DISCORD_TOKEN=\"{token}\"\n"))?;

    let mut terminal = Terminal::open(folder.path())?;
    let said = terminal.up()?;
    assert!(said.contains("bin/claude") && !said.contains(token), "{said}");
    let question = discord.say(channel, ada, "[[say it is open]]");
    let question = question.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let thread = discord_sim::ChannelId::from(question);
    let is_said = |view: &discord_sim::View<'_>| {
        view.guild.messages(thread).any(|it| harness::said(it) == Some("it is open")).then_some(())
    };
    discord.wait_for("an answer", PATIENCE, is_said).await?;
    until("end of claude", async || {
        !processes::naming(folder.path()).iter().any(|it| it.command.contains("keep"))
    })
    .await?;
    terminal.interrupt()?;
    assert_eq!(processes::naming(folder.path()), []);
    Ok(())
}

/// An `up` that somebody started in a terminal, and whatever it left at the end of the story.
struct Terminal {
    service: Service,
    folder: PathBuf,
    log: PathBuf,
}

impl Terminal {
    fn plan(folder: &Path) -> Result<Plan> {
        Ok(Plan {
            name: "holdfast-up",
            program: built("holdfast-up")?,
            args: Vec::new(),
            env: environment(folder)?,
            dir: folder.to_owned(),
            log: folder.join("terminal.log"),
        })
    }

    fn open(folder: &Path) -> Result<Self> {
        let plan = Self::plan(folder)?;
        let log = plan.log.clone();
        Ok(Self { service: Service::new(plan), folder: folder.to_owned(), log })
    }

    /// Starts it, and gives what it says once it is up.
    fn up(&mut self) -> Result<String> {
        std::fs::write(&self.log, "")?;
        self.service.start()?;
        let is_up = || self.says("  logs ") || self.service.ended().is_some();
        processes::wait_until(PATIENCE, is_up);
        assert!(self.says("  logs "), "{}", self.said());
        Ok(self.said())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn says(&self, words: &str) -> bool {
        self.said().contains(words)
    }

    /// Ctrl+C.
    fn interrupt(&mut self) -> Result<()> {
        self.service.interrupt()?;
        let status = self.service.wait(PATIENCE).context("it does not end")?;
        assert!(status.success(), "{status}\n{}", self.said());
        Ok(())
    }

    /// Where the simulated Anthropic listens.
    fn anthropic(&self) -> Result<SocketAddr> {
        let file = self.folder.join(".holdfast/up/simulated/state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        Ok(format!("127.0.0.1:{}", state["ports"]["anthropic"]).parse()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        processes::kill_naming(&self.folder, &[]);
    }
}

/// The page, and who may write where on it.
struct Page {
    address: SocketAddr,
    user: String,
    channel: String,
}

impl Page {
    async fn open(said: &str) -> Result<Self> {
        let url = said.split("http://").nth(1).context("no page")?;
        let address = url.split('/').next().context("no page")?.parse()?;
        let (_, state) = http::get(address, "/sim/state").await?;
        let state: Value = serde_json::from_str(&state)?;
        let id = |value: &Value| value["id"].as_str().map(str::to_owned).context("no id");
        let channels = state["channels"].as_array().context("no channels")?;
        let sample = channels.iter().find(|it| it["name"] == "sample").context("no #sample")?;
        Ok(Self { address, user: id(&state["users"][0])?, channel: id(sample)? })
    }

    async fn write(&self, text: &str) -> Result<String> {
        let body = json!({"channel": self.channel, "user": self.user, "text": text});
        let (status, said) = http::post(self.address, "/sim/say", &body).await?;
        assert_eq!(status, 200, "{said}");
        let said: Value = serde_json::from_str(&said)?;
        said["id"].as_str().map(str::to_owned).context("no message")
    }

    /// Waits until these words stand in a place.
    async fn shows(&self, place: &str, words: &str) -> Result<()> {
        until(&format!("{words:?} on the page"), async || {
            let shown = http::get(self.address, &format!("/sim/messages/{place}")).await;
            shown.is_ok_and(|(_, shown)| shown.contains(words))
        })
        .await
    }
}

/// Asks again until it holds.
async fn until(what: &str, holds: impl AsyncFn() -> bool) -> Result<()> {
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while !holds().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("no {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_ctrl_c_and_the_next_up_takes_it_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut terminal = Terminal::open(folder.path())?;
    let said = terminal.up()?;
    assert!(said.contains("tmux -L holdfast-") && said.contains("attach -r"), "{said}");
    let page = Page::open(&said).await?;
    let thread = page.write("wait for me [[think hm]] [[wait go]] [[say I am back]]").await?;
    let api = terminal.anthropic()?;
    until("request of claude", async || {
        http::get(api, "/_sim/requests").await.is_ok_and(|(_, log)| log.contains("wait for me"))
    })
    .await?;

    let second = run(folder.path(), &[])?;
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another `up` runs here already"));

    terminal.interrupt()?;
    assert!(terminal.says("one run goes on in tmux"), "{}", terminal.said());
    assert!(!processes::naming(folder.path()).is_empty(), "claude has ended");

    assert_eq!(Page::open(&terminal.up()?).await?.address, page.address);
    http::post(api, "/_sim/release/go", &Value::Null).await?;
    page.shows(&thread, "I am back").await?;
    until("end of claude", async || {
        !processes::naming(folder.path()).iter().any(|it| it.command.contains("keep"))
    })
    .await?;
    terminal.interrupt()?;
    assert!(terminal.says("stopped; no run is at work"), "{}", terminal.said());
    assert_eq!(processes::naming(folder.path()), []);
    Ok(())
}

#[test]
fn what_up_started_ends_when_up_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut terminal = Terminal::open(folder.path())?;
    terminal.up()?;
    terminal.service.kill()?;
    let mut left = Vec::new();
    let gone = processes::wait_until(PATIENCE, || {
        left = processes::naming(folder.path());
        left.is_empty()
    });
    assert!(gone, "{left:?}");
    terminal.up()?;
    terminal.interrupt()
}
