//! A configuration that is changed while the services run: SIGHUP takes it as a whole or not at all.

use anyhow::Result;
use harness::discord_sim::ChannelId;
use harness::{Part, People, World, project};

use crate::deciding::{button, press};
use crate::scene::{in_the_middle, is_answered_once};

/// Whoever may use the project, from now on.
fn allow(toml: &str, who: &str) -> String {
    let line = |line: &str| {
        let kept =
            if line.starts_with("allow = ") { format!("allow = {who}") } else { line.into() };
        kept + "\n"
    };
    toml.lines().map(line).collect()
}

/// A world that only Alice may use.
async fn of_alice() -> Result<World> {
    World::builder().people(People::User("alice".into())).start().await
}

/// Bob is told no.
async fn bob_may_not(world: &World) -> Result<()> {
    let line = world.say_as("bob", "let me in")?.refusal().await?;
    assert!(line.contains("You may not use **app**"), "{line}");
    Ok(())
}

async fn bob_may(world: &World) -> Result<()> {
    assert_eq!(world.say_as("bob", "[[say welcome]]")?.answer().await?, "welcome");
    Ok(())
}

/// The page of a service says all of this, as what keeps it from being ready.
pub(crate) async fn says(world: &World, part: Part, words: &[&str]) -> Result<()> {
    let holds = |(status, text): (u16, String)| {
        status == 503 && words.iter().all(|word| text.contains(word))
    };
    let what = words.join(", ");
    match part {
        Part::Runner => world.runner_page_is("/readyz", &what, holds).await,
        Part::Gateway | Part::Nats => world.gateway_page_is("/readyz", &what, holds).await,
    }
}

pub(crate) async fn is_well(world: &World, part: Part) -> Result<()> {
    let holds = |(status, _): (u16, String)| status == 200;
    match part {
        Part::Runner => world.runner_page_is("/readyz", "that all is well", holds).await,
        Part::Gateway | Part::Nats => {
            world.gateway_page_is("/readyz", "that all is well", holds).await
        }
    }
}

/// A second project: what both files say of it, and its channel.
fn second(world: &World, more: &str) -> Result<([String; 2], ChannelId)> {
    let dir = world.folder().root().join("second");
    project::repository(&dir)?;
    let channel = world.discord().channel("second");
    let table = "\n[projects.second]\n";
    let gateway = format!("{table}channels = [\"{channel}\"]\nallow = \"everyone\"\n{more}");
    let runner = format!("{table}directory = \"{}\"\n{more}", dir.display());
    Ok(([gateway, runner], channel))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_given_rights_by_a_reload_is_answered() -> Result<()> {
    let world = of_alice().await?;
    bob_may_not(&world).await?;
    world.reconfigure(Part::Gateway, |toml| allow(&toml, "\"everyone\"")).await?;
    bob_may(&world).await?;
    let alice = world.discord().user("alice");
    let alone = format!("{{ users = [\"{alice}\"] }}");
    world.reconfigure(Part::Gateway, |toml| allow(&toml, &alone)).await?;
    bob_may_not(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_added_on_both_sides_works_without_a_restart() -> Result<()> {
    let world = World::start().await?;
    let pids = (world.pid(Part::Gateway).await, world.pid(Part::Runner).await);
    let ([gateway, runner], channel) = second(&world, "")?;
    world.reconfigure(Part::Gateway, |toml| toml + &gateway).await?;
    world.provision().await?;
    // It waits for a runner that serves the project.
    let question = world.say_in(channel, "alice", "[[say from the second]]")?;
    question.is_seen().await?;
    world.reconfigure(Part::Runner, |toml| toml + &runner).await?;
    assert_eq!(question.answer().await?, "from the second");
    assert_eq!(world.say("[[say from the first]]")?.answer().await?, "from the first");
    assert_eq!(pids, (world.pid(Part::Gateway).await, world.pid(Part::Runner).await));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_project_that_is_added_is_asked_for_once_its_consumer_is_there() -> Result<()> {
    let world = World::builder().scaled().start().await?;
    let ([gateway, runner], channel) = second(&world, "shared = true\n")?;
    world.rewrite(Part::Runner, |toml| toml + &runner)?;
    world.hang_up(Part::Runner).await?;
    says(&world, Part::Runner, &["configuration: is refused", "provision --runner host"]).await?;
    world.reconfigure(Part::Gateway, |toml| toml + &gateway).await?;
    world.provision().await?;
    world.reconfigure(Part::Runner, |toml| toml).await?;
    is_well(&world, Part::Runner).await?;
    let question = world.say_in(channel, "alice", "[[say from the second]]")?;
    assert_eq!(question.answer().await?, "from the second");
    assert_eq!(world.say("[[say from the first]]")?.answer().await?, "from the first");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_refused_as_a_whole_until_it_is_mended() -> Result<()> {
    let world = of_alice().await?;
    let wrong = "catch_up_max_s = 0\n";
    let bad = "\n[projects.bad]\nchannels = []\nallow = \"everyone\"\n";
    world.rewrite(Part::Gateway, |toml| format!("{wrong}{}{bad}", allow(&toml, "\"everyone\"")))?;
    world.hang_up(Part::Gateway).await?;
    let words = [
        "configuration: is refused, the one before goes on",
        "catch_up_max_s: must be 1 to",
        "projects.bad.channels: must name at least one",
    ];
    says(&world, Part::Gateway, &words).await?;
    assert!(world.log("gateway-svc").contains(words[2]), "the log says it too");
    bob_may_not(&world).await?;
    // What does not parse is told by its line.
    world.rewrite(Part::Gateway, |toml| format!("slotz = 1\n{toml}"))?;
    world.hang_up(Part::Gateway).await?;
    says(&world, Part::Gateway, &["line 1", "slotz"]).await?;
    bob_may_not(&world).await?;
    world
        .reconfigure(Part::Gateway, |toml| {
            toml.replace("slotz = 1\n", "").replace(wrong, "").replace(bad, "\n")
        })
        .await?;
    is_well(&world, Part::Gateway).await?;
    bob_may(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_refuses_a_wrong_file_and_works_on_as_it_did() -> Result<()> {
    let world = World::start().await?;
    let right = world.folder().runner_toml();
    let right = std::fs::read_to_string(right)?;
    world.rewrite(Part::Runner, |toml| toml.replace("slots = 2", "slots = 0"))?;
    world.hang_up(Part::Runner).await?;
    says(&world, Part::Runner, &["configuration: is refused", "slots: must be 1 to 256"]).await?;
    assert_eq!(world.say("[[say as before]]")?.answer().await?, "as before");
    world.reconfigure(Part::Runner, |_| right).await?;
    is_well(&world, Part::Runner).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_needs_a_restart_is_named_and_nothing_is_changed() -> Result<()> {
    let world = of_alice().await?;
    world.rewrite(Part::Gateway, |toml| {
        let line = toml.lines().find(|line| line.starts_with("connect_to")).unwrap_or_default();
        allow(&toml.replace(line, "connect_to = \"127.0.0.1:1\""), "\"everyone\"")
    })?;
    world.hang_up(Part::Gateway).await?;
    says(&world, Part::Gateway, &["needs a restart: discord.connect_to"]).await?;
    bob_may_not(&world).await?;
    world.rewrite(Part::Runner, |toml| toml.replace("name = \"host\"", "name = \"other\""))?;
    world.hang_up(Part::Runner).await?;
    says(&world, Part::Runner, &["needs a restart: name"]).await?;
    assert_eq!(world.say("[[say as before]]")?.answer().await?, "as before");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_slots_let_a_run_begin_that_waits() -> Result<()> {
    let world = World::builder().slots(1).start().await?;
    let first = in_the_middle(&world).await?;
    let second = world.say("[[say the other]]")?;
    second.is_seen().await?;
    let two = |toml: String| toml.replace("slots = 1", "slots = 2");
    world.reconfigure(Part::Runner, two).await?;
    assert_eq!(second.answer().await?, "the other");
    world.release("go")?;
    is_answered_once(first).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_work_keeps_what_it_began_with_and_is_answered_once() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    // The project it works for is gone from both files meanwhile.
    let renamed = |toml: String| toml.replace("[projects.app]", "[projects.apple]");
    world.reconfigure(Part::Gateway, renamed).await?;
    world.reconfigure(Part::Runner, renamed).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    let back = |toml: String| toml.replace("[projects.apple]", "[projects.app]");
    world.reconfigure(Part::Runner, back).await?;
    world.reconfigure(Part::Gateway, back).await?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_project_that_is_removed_is_told_and_tried_again_when_it_is_back()
-> Result<()> {
    let world = World::builder().slots(1).start().await?;
    let first = in_the_middle(&world).await?;
    let second = world.say("[[say the other]]")?;
    second.is_seen().await?;
    let renamed = |toml: String| toml.replace("[projects.app]", "[projects.apple]");
    world.reconfigure(Part::Runner, renamed).await?;
    world.release("go")?;
    let why = second.failure().await?;
    assert!(why.contains("the runner host does not serve **app** (any more)"), "{why}");
    let back = |toml: String| toml.replace("[projects.apple]", "[projects.app]");
    world.reconfigure(Part::Runner, back).await?;
    let retry = button(&world, second, "Retry")?;
    assert_eq!(press(&world, "alice", &retry).await?, "Trying again.");
    let thread = second.thread();
    world
        .sees("the answer after all", |view| {
            let said = |it: &harness::discord_sim::Message| {
                it.is_bot && harness::said(it) == Some("the other")
            };
            view.guild.messages(thread).find(|it| said(it)).map(|_| ())
        })
        .await?;
    is_answered_once(first).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_signals_at_once_the_newest_file_is_what_holds() -> Result<()> {
    let world = of_alice().await?;
    let question = in_the_middle(&world).await?;
    for part in [Part::Gateway, Part::Runner] {
        world.rewrite(part, |toml| format!("slotz = 1\n{toml}"))?;
        world.hang_up(part).await?;
        world.rewrite(part, |toml| toml.replace("slotz = 1\n", ""))?;
        world.hang_up(part).await?;
    }
    world.rewrite(Part::Gateway, |toml| allow(&toml, "\"everyone\""))?;
    world.hang_up(Part::Gateway).await?;
    world.reconfigure(Part::Gateway, |toml| toml).await?;
    is_well(&world, Part::Gateway).await?;
    is_well(&world, Part::Runner).await?;
    bob_may(&world).await?;
    world.release("go")?;
    is_answered_once(question).await
}
