//! The bus as in production: keys, least permissions, TLS. What each service needs works, and what it
//! does not need is refused: tried with its own key.

use anyhow::{Context as _, Result};
use harness::{COLLEAGUE, Certificate, Try, World};

use crate::scene::{claudes_for_the_answer, in_the_middle};

const RUNNER: &str = "runner-host";
pub(crate) const VIOLATION: &str = "Permissions Violation";

async fn secured() -> Result<World> {
    World::builder().secured().start().await
}

/// What doctor of a service prints, and whether it is content.
fn told(output: &std::process::Output) -> (bool, String) {
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_and_tls_all_works_and_nothing_is_refused() -> Result<()> {
    let world = secured().await?;
    let question = in_the_middle(&world).await?;
    // A runner that is killed takes its claude up again, with its key.
    world.kill_runner().await?;
    world.start_runner().await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    // Twice the same: what lies in FILES already is not to be purged.
    for _ in 0..2 {
        let long = world.say("[[big 100000]]")?;
        assert!(long.answer().await?.contains("the whole answer is in the file"));
    }
    let stopped = world.say("[[think hm]] [[wait never]] [[say the answer]]")?;
    world.reached("never").await?;
    stopped.follow_up("!stop").await?;
    assert_eq!(stopped.mark().await?, "⏹\u{fe0f}");
    let gateway = told(&world.gateway_command(&["doctor"]).await?).1;
    assert!(gateway.contains("ok    NATS: nats-server"), "{gateway}");
    let runner = told(&world.runner_command(&["doctor"]).await?).1;
    assert!(runner.contains("ok    NATS: nats-server"), "{runner}");
    assert!(runner.contains("ok    name: "), "{runner}");
    for service in ["gateway-svc", "runner-svc"] {
        let log = world.log(service);
        assert!(!log.contains(VIOLATION), "{service} needs more than it may:\n{log}");
    }
    Ok(())
}

/// Take, hold, renew, look at another's record, take over: what a shared project needs more.
#[tokio::test(flavor = "multi_thread")]
async fn runners_share_a_project_each_with_its_own_key() -> Result<()> {
    let world = World::builder().secured().shared().without_runner().start().await?;
    world.more_keys(&[COLLEAGUE]).await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    let mut second = world.colleague().await?;
    second.start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    world.start_runner().await?;
    second.is_lost()?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    let said = question.said_in_thread()?;
    assert_eq!(said.iter().filter(|said| *said == "the answer").count(), 1, "{said:?}");
    for service in ["gateway-svc", "runner-svc", COLLEAGUE] {
        let log = world.log(service);
        assert!(!log.contains(VIOLATION), "{service} needs more than it may:\n{log}");
    }
    Ok(())
}

/// A second runner, of another project, that never comes.
async fn with_another(world: &World) -> Result<()> {
    world.more_keys(&["build-2=web"]).await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    world.provision_more(&["host", "build-2=web"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_can_do_nothing_but_its_own_work() -> Result<()> {
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    with_another(&world).await?;
    for subject in [
        // Work: neither published, nor taken from another, nor read past.
        "work.app.at.host.m1.1",
        "work.web.any.m1.1",
        "$JS.API.CONSUMER.MSG.NEXT.WORK.runner-build-2",
        "$JS.ACK.WORK.runner-build-2.1.1.1.1.0",
        "$JS.ACK.hub.account.WORK.runner-build-2.1.1.1.1.0",
        "$JS.API.DIRECT.GET.WORK",
        "$JS.API.STREAM.MSG.GET.WORK",
        // Another project's records, controls and files.
        "$KV.RUNS.web.1.m1",
        "$KV.RUNS.runner.build-2",
        "$JS.API.DIRECT.GET.KV_RUNS.$KV.RUNS.web.1.m1",
        "$JS.API.DIRECT.GET.KV_RUNS",
        "$JS.API.STREAM.MSG.GET.KV_RUNS",
        "$KV.CONTROL.web.1.m1",
        "$JS.API.DIRECT.GET.KV_CONTROL.$KV.CONTROL.web.1.m1",
        "$O.FILES_web.C.x",
        "$JS.API.DIRECT.GET.OBJ_FILES_web.$O.FILES_web.M.x",
        "$JS.API.CONSUMER.CREATE.OBJ_FILES_web",
        // What people decide, in its own project as well; another's presence.
        "$KV.CONTROL.app.1.m1",
        "$KV.RUNNERS.build-2",
        // Streams and consumers.
        "$JS.API.STREAM.CREATE.X",
        "$JS.API.STREAM.DELETE.WORK",
        "$JS.API.STREAM.PURGE.KV_RUNS",
        "$JS.API.STREAM.PURGE.OBJ_FILES_app",
        "$JS.API.CONSUMER.CREATE.WORK.x.work.app.any.m1.1",
        "$JS.API.CONSUMER.CREATE.KV_RUNS.x",
        "$JS.API.CONSUMER.DELETE.WORK.runner-host",
        "$JS.API.CONSUMER.DELETE.WORK.runner-build-2",
        // What others are told.
        "_INBOX_gateway.x",
    ] {
        let said = world.refusal_of(RUNNER, Try::Publish(subject, "{}")).await?;
        let said = said.with_context(|| format!("a runner may publish {subject}"))?;
        assert!(said.contains(VIOLATION), "{subject}: {said}");
    }
    let own = Try::Publish("$KV.RUNNERS.host", "{}");
    assert_eq!(world.refusal_of(RUNNER, own).await?, None, "what it may");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_hears_nothing_of_others() -> Result<()> {
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    for subject in [
        ">",
        "work.>",
        "$KV.RUNS.>",
        "$KV.RUNS.app.*.*",
        "$KV.CONTROL.>",
        "$KV.CONTROL.web.*.*",
        "$KV.RUNNERS.>",
        "_INBOX.>",
        "_INBOX_gateway.>",
        "$JS.>",
    ] {
        let said = world.refusal_of(RUNNER, Try::Listen(subject)).await?;
        let said = said.with_context(|| format!("a runner may listen to {subject}"))?;
        assert!(said.contains(VIOLATION), "{subject}: {said}");
    }
    let own = Try::Listen("_INBOX_runner-host.>");
    assert_eq!(world.refusal_of(RUNNER, own).await?, None, "what it may");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_can_do_nothing_of_the_admins() -> Result<()> {
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    for subject in [
        "$JS.API.STREAM.DELETE.WORK",
        "$JS.API.STREAM.PURGE.WORK",
        "$JS.API.STREAM.UPDATE.KV_RUNS",
        "$JS.API.CONSUMER.DELETE.KV_RUNS.gateway",
        "$JS.API.CONSUMER.DELETE.WORK.runner-host",
        "$JS.API.CONSUMER.CREATE.WORK.x.work.app.any.m1.1",
        "$JS.API.CONSUMER.MSG.NEXT.WORK.runner-host",
        "$JS.ACK.WORK.runner-host.1.1.1.1.0",
        "$KV.RUNS.app.1.m1",
        "$KV.RUNNERS.host",
    ] {
        let said = world.refusal_of("gateway", Try::Publish(subject, "{}")).await?;
        let said = said.with_context(|| format!("a gateway may publish {subject}"))?;
        assert!(said.contains(VIOLATION), "{subject}: {said}");
    }
    let said = world.refusal_of("gateway", Try::Listen(">")).await?;
    assert!(said.context("a gateway may listen to all")?.contains(VIOLATION));
    Ok(())
}

/// nats-server holds no permission against the place that an answer is sent to.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_into_the_queue_as_an_answer_is_not_run() -> Result<()> {
    let world = secured().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let record = "$JS.API.DIRECT.GET.KV_RUNS.$KV.RUNS.runner.host";
    let copied = Try::Answer { subject: record, to: "work.app.at.host.m1.1" };
    assert_eq!(world.refusal_of(RUNNER, copied).await?, None);
    world.logs("runner-svc", "Forged").await?;
    assert_eq!(world.ledger().count("begin"), 1, "nobody asked twice");
    world.jetstream("STREAM.PURGE.WORK", &serde_json::Value::Null).await?;
    Ok(())
}

/// What the runner says in `/readyz` while it waits, and `doctor` at once.
async fn both_name(world: &World, words: &str) -> Result<()> {
    world.launch_runner().await?;
    let named = |(status, page): (u16, String)| status == 503 && page.contains(words);
    world.runner_page_is("/readyz", words, named).await?;
    let (content, said) = told(&world.runner_command(&["doctor"]).await?);
    assert!(!content && said.contains(words), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_does_not_know_is_named_and_waited_for() -> Result<()> {
    let world = World::builder().secured().without_runner().start().await?;
    // The key of a runner that the server was not told of.
    let users = world.seed_file("admin").with_file_name("users.conf");
    let before = std::fs::read(&users)?;
    world.more_keys(&["stranger"]).await?;
    std::fs::write(&users, before)?;
    world.set_runner_env("NATS_NKEY_FILE", world.seed_file("runner-stranger")).await;
    both_name(&world, "the server does not know the key U").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_named() -> Result<()> {
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    world.set_runner_env("NATS_TLS_CA", world.folder().ca_file()).await;
    both_name(&world, "name the right one in nats_tls_ca").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named_and_its_renewal_is_enough() -> Result<()> {
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    world.kill_nats().await?;
    world.certify(Certificate::Expired)?;
    world.start_nats().await?;
    both_name(&world, "its certificate has expired").await?;
    world.kill_nats().await?;
    world.certify(Certificate::Good)?;
    world.start_nats().await?;
    world.runner_page_is("/readyz", "that all is well", |(status, _)| status == 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_named_and_not_talked_to() -> Result<()> {
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    world.kill_nats().await?;
    world.speak_tls(false).await;
    world.start_nats().await?;
    both_name(&world, "the server speaks no TLS there").await
}

/// A question and its long answer, of which a part goes through FILES, with certificates on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_certificates_gets_one_from_each_service() -> Result<()> {
    let world = World::builder().verifying().start().await?;
    assert_eq!(world.say("[[say the answer]]")?.answer().await?, "the answer");
    let long = world.say("[[big 100000]]")?;
    assert!(long.answer().await?.contains("the whole answer is in the file"));
    let runner = told(&world.runner_command(&["doctor"]).await?).1;
    assert!(runner.contains("ok    NATS: nats-server"), "{runner}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_missing_is_asked_for_by_name() -> Result<()> {
    let world = World::builder().verifying().without_gateway().without_runner().start().await?;
    let (cert, key) =
        (world.runner_env("NATS_TLS_CERT").await, world.runner_env("NATS_TLS_KEY").await);
    for name in ["NATS_TLS_CERT", "NATS_TLS_KEY"] {
        world.set_runner_env(name, "").await;
    }
    both_name(&world, "the server does not take our certificate; see nats_tls_cert").await?;
    world.stop_runner().await?;
    world.set_runner_env("NATS_TLS_CERT", cert).await;
    world.set_runner_env("NATS_TLS_KEY", key).await;
    world.start_runner().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_others_can_read_keeps_a_service_from_starting() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::builder().secured().without_gateway().without_runner().start().await?;
    let seed = world.seed_file(RUNNER);
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o644))?;
    let output = world.runner_command(&["doctor"]).await?;
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("can be read by others (mode 644): chmod 600"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_accounts_and_credentials_a_run_survives_a_killed_runner() -> Result<()> {
    let world = World::builder().accounts().start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    let (content, said) = told(&world.runner_command(&["doctor"]).await?);
    assert!(content && said.contains("ok    NATS: nats-server"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_an_account_that_the_server_does_not_know_are_named() -> Result<()> {
    let world = World::builder().accounts().without_runner().start().await?;
    let strange = world.credentials_of_a_stranger().await?;
    world.set_runner_env("NATS_CREDS_FILE", strange).await;
    both_name(&world, "the server does not take the credentials of nats_creds_file").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_holds_no_credentials_keeps_a_service_from_starting() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::builder().accounts().without_gateway().without_runner().start().await?;
    let file = world.credentials().await?;
    let whole = std::fs::read_to_string(&file)?;
    let without_seed = whole.split("-----BEGIN USER NKEY SEED").next().context("no seed")?;
    for (text, mode, words) in [
        (whole.as_str(), 0o644, "can be read by others (mode 644): chmod 600"),
        (without_seed, 0o600, "holds no credentials of a user (a JWT and a seed)"),
        ("", 0o600, "holds no credentials of a user (a JWT and a seed)"),
    ] {
        std::fs::write(&file, text)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
        let output = world.runner_command(&["doctor"]).await?;
        assert_eq!(output.status.code(), Some(64));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("nats_creds_file") && said.contains(words), "{said}");
    }
    std::fs::remove_file(&file)?;
    let output = world.runner_command(&["doctor"]).await?;
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nats_creds_file: cannot read"), "{said}");
    std::fs::write(&file, &whole)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    world.start_runner().await
}
