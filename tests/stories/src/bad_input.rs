//! What a service is given and cannot use: each is named in a clear line, at the start or in `/readyz`, with
//! what to do; what can mend itself does, and nothing is lost meanwhile.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use harness::{Part, Postgres, Service, Stored, World, built};
use serde_json::{Value, json};

use crate::reload::{is_well, says};
use crate::scene::{in_the_middle, is_answered_once};

/// What `doctor` of the gateway says, and whether it is content.
async fn doctor(world: &World) -> Result<(bool, String)> {
    let output = world.gateway_command(&["doctor"]).await?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

/// A question is answered: nothing is in its way any more.
async fn all_is_well(world: &World) -> Result<()> {
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    Ok(())
}

/// A world that was at work, and whose services are stopped.
async fn both_stopped() -> Result<World> {
    let world = World::start().await?;
    world.stop_gateway().await?;
    world.stop_runner().await?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_discord_does_not_know_is_named_with_what_to_do() -> Result<()> {
    let world = World::start().await?;
    world.stop_gateway().await?;
    let token = "MTAwMDAwMDAwMDAwMDAwMDAw.Gabcde.abcdefghijklmnopqrstuvwxyzabcdefghijkl";
    let right = world.set_gateway_env("DISCORD_TOKEN", token).await;
    world.launch_gateway().await?;
    let named = "Discord does not know the token: copy it anew from the bot's page";
    says(&world, Part::Gateway, &[named]).await?;
    assert!(!world.log("gateway-svc").contains(token), "it stays a secret");
    let question = world.say("[[say the answer]]")?;
    world.stop_gateway().await?;
    world.set_gateway_env("DISCORD_TOKEN", right).await;
    world.start_gateway().await?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_not_there_is_named_until_the_map_is_mended() -> Result<()> {
    let world = World::start().await?;
    let wrong = "\n[projects.other]\nchannels = [\"1\"]\nallow = \"everyone\"\n";
    world.reconfigure(Part::Gateway, |toml| toml + wrong).await?;
    says(&world, Part::Gateway, &["channel 1 of other: "]).await?;
    all_is_well(&world).await?;
    world.reconfigure(Part::Gateway, |toml| toml.replace(wrong, "")).await?;
    is_well(&world, Part::Gateway).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_nowhere_is_named_and_waited_for() -> Result<()> {
    let world = both_stopped().await?;
    let nowhere = "nats://nowhere.invalid:4222";
    let named = format!("cannot connect to NATS at {nowhere}");
    let right = world.set_gateway_env("NATS_URL", nowhere).await;
    world.launch_gateway().await?;
    says(&world, Part::Gateway, &[&named]).await?;
    world.stop_gateway().await?;
    world.set_gateway_env("NATS_URL", right).await;
    // It is there, and its server is not yet.
    world.kill_nats().await?;
    world.launch_gateway().await?;
    world.launch_runner().await?;
    for part in [Part::Gateway, Part::Runner] {
        says(&world, part, &["nats: cannot connect to NATS at nats://127.0.0.1:"]).await?;
    }
    let question = world.say("[[say the answer]]")?;
    world.start_nats().await?;
    is_answered_once(question).await?;
    is_well(&world, Part::Gateway).await?;
    is_well(&world, Part::Runner).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_in_use_is_named_and_nothing_is_begun() -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    for part in [Part::Gateway, Part::Runner] {
        let plan = world.plan(part).await;
        let address = plan.env.get(std::ffi::OsStr::new("HTTP_LISTEN")).context("no address")?;
        let address = address.to_string_lossy().into_owned();
        let _taken = TcpListener::bind(&address)?;
        let said = world.is_refused(part).await?;
        assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
        assert!(!said.contains("connected to NATS"), "{said}");
    }
    world.start_gateway().await?;
    world.start_runner().await?;
    all_is_well(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_down_at_the_start_and_in_the_middle_costs_nothing() -> Result<()> {
    let mut server = Postgres::start()?;
    server.crash();
    let world = World::builder().without_gateway().start().await?;
    world.store_on(&server).await;
    world.launch_gateway().await?;
    says(&world, Part::Gateway, &["store: "]).await?;
    server.serve()?;
    is_well(&world, Part::Gateway).await?;
    let question = in_the_middle(&world).await?;
    server.crash();
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    server.serve()?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_without_jetstream_is_named_and_waited_for() -> Result<()> {
    let world = both_stopped().await?;
    world.kill_nats().await?;
    let port = world.nats_address().await.port().to_string();
    let mut plan = world.plan(Part::Nats).await;
    plan.args = ["-a", "127.0.0.1", "-p", &port].map(Into::into).into();
    let mut bare = Service::new(plan);
    bare.start()?;
    world.launch_gateway().await?;
    world.launch_runner().await?;
    for part in [Part::Gateway, Part::Runner] {
        says(&world, part, &["has no JetStream; give it a `jetstream` block"]).await?;
    }
    let question = world.say("[[say the answer]]")?;
    bare.kill()?;
    world.start_nats().await?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_too_old_is_named_with_the_version_that_is_needed() -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    let gateway = world.proxy_of_gateway().await?;
    let runner = world.proxy_of_runner().await?;
    for (part, proxy) in [(Part::Gateway, &gateway), (Part::Runner, &runner)] {
        proxy.says_instead("\"version\":\"2.", "\"version\":\"1.");
        let said = world.is_refused(part).await?;
        assert!(said.contains("nats-server is 1.") && said.contains("2.15.1 or newer"), "{said}");
        proxy.says_as_it_is();
    }
    world.start_gateway().await?;
    world.start_runner().await?;
    // It is replaced while the services are at work, and looked at because somebody wants it.
    runner.says_instead("\"version\":\"2.", "\"version\":\"1.");
    let connected = runner.taken();
    runner.cut();
    world.within("a new connection", runner.takes_more_than(connected)).await?;
    world.hang_up(Part::Runner).await?;
    says(&world, Part::Runner, &["NATS: nats-server is 1."]).await?;
    runner.says_as_it_is();
    runner.cut();
    is_well(&world, Part::Runner).await?;
    all_is_well(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_somebody_elses_is_named_and_left_as_it_is() -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    world.jetstream("STREAM.DELETE.WORK", &Value::Null).await?;
    let theirs = json!({
        "name": "WORK", "subjects": ["jobs.>"], "retention": "limits", "storage": "file",
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "num_replicas": 1,
        "discard": "old", "max_msg_size": -1,
    });
    world.jetstream("STREAM.CREATE.WORK", &theirs).await?;
    world.store(&Stored { subject: "jobs.one".into(), text: "theirs".into() }).await?;
    for part in [Part::Gateway, Part::Runner] {
        let said = world.is_refused(part).await?;
        let named = "stream WORK is not Holdfast's: it takes jobs.>";
        assert!(
            said.contains(named) && said.contains("an account or a server of its own"),
            "{said}"
        );
    }
    let refused = world.provision().await.map_err(|error| format!("{error:#}"));
    let refused = refused.err().unwrap_or_default();
    assert!(refused.contains("stream WORK is not Holdfast's"), "{refused}");
    let kept = world.jetstream("STREAM.INFO.WORK", &Value::Null).await?;
    assert_eq!(kept["config"]["subjects"], json!(["jobs.>"]));
    assert_eq!(kept["state"]["messages"], 1);
    // Its owner takes it away.
    world.jetstream("STREAM.DELETE.WORK", &Value::Null).await?;
    world.provision().await?;
    world.start_gateway().await?;
    world.start_runner().await?;
    all_is_well(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_apart_are_named_until_they_agree() -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    let gateway = world.proxy_of_gateway().await?;
    let runner = world.proxy_of_runner().await?;
    for proxy in [&gateway, &runner] {
        proxy.says_instead("\"ts\":\"20", "\"ts\":\"19");
    }
    world.launch_gateway().await?;
    world.launch_runner().await?;
    for part in [Part::Gateway, Part::Runner] {
        says(&world, part, &["clocks: the clock of nats-server is ", " s behind that"]).await?;
    }
    all_is_well(&world).await?;
    for (part, proxy) in [(Part::Gateway, &gateway), (Part::Runner, &runner)] {
        proxy.says_as_it_is();
        is_well(&world, part).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_claude_is_named_with_the_version_that_is_needed() -> Result<()> {
    let world = World::start().await?;
    let old = world.folder().root().join("old-claude");
    let sim = built("claude-sim")?;
    let sim = sim.display().to_string();
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo '1.0.3 (Claude Code)'; exit; }}\n\
         exec '{sim}' \"$@\"\n"
    );
    fs::write(&old, text)?;
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755))?;
    let old = old.display().to_string();
    world.reconfigure(Part::Runner, |toml| toml.replace(&sim, &old)).await?;
    let named = "is 1.0.3 (Claude Code), and 2.1.216 or newer is needed: run `claude update`";
    says(&world, Part::Runner, &[named]).await?;
    let said = world.runner_command(&["doctor"]).await?;
    assert!(String::from_utf8(said.stdout)?.contains(named));
    // It is started all the same.
    all_is_well(&world).await?;
    world.reconfigure(Part::Runner, |toml| toml.replace(&old, &sim)).await?;
    is_well(&world, Part::Runner).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_runner_is_named_with_the_version_that_is_needed_and_works_on() -> Result<()> {
    let world = World::start().await?;
    let shown = |stored: &[Stored]| {
        let own = stored.iter().find(|it| it.subject == "$KV.RUNNERS.host");
        serde_json::from_str::<Value>(&own.context("nobody shows itself")?.text).context("no JSON")
    };
    let right = shown(&world.stored("KV_RUNNERS").await?)?;
    let of = |version: &str| {
        let mut presence = right.clone();
        presence["version"] = json!(version);
        Stored { subject: "$KV.RUNNERS.host".into(), text: presence.to_string() }
    };
    world.stop_runner().await?;
    world.store(&of("0.0.9")).await?;
    let named = "host is runner-svc 0.0.9, and 0.1.0 or newer is needed: update it";
    says(&world, Part::Gateway, &["runners: ", named]).await?;
    let (content, said) = doctor(&world).await?;
    assert!(!content && said.contains(named), "{said}");
    let question = world.say("[[say the answer]]")?;
    world.start_runner().await?;
    assert_eq!(question.answer().await?, "the answer");
    is_well(&world, Part::Gateway).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_is_killed_for_its_memory_is_told_with_where_to_look() -> Result<()> {
    let world = World::start().await?;
    let why = world.say("[[think hm]] [[die KILL]]")?.failure().await?;
    assert!(why.contains("signal 9") && why.contains("when memory runs out"), "{why}");
    Ok(())
}
