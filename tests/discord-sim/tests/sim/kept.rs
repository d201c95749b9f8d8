//! A simulator that is started again on its directory is the same one.

use discord_sim::{BOT_ID, NewFile, Options, Sim};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Bot, INTERACTION_WINDOW, Place};

fn options(dir: &TempDir) -> Options {
    Options { rate_limits: false, dir: Some(dir.path().join("sim")), ..Options::default() }
}

#[tokio::test]
async fn channels_messages_files_and_the_certificate_outlive_a_restart() {
    let dir = TempDir::new().unwrap();
    let place = Place::with(options(&dir)).await;
    let thread = place.thread().await;
    let nonce = json!({ "content": "once", "nonce": "n", "enforce_nonce": true });
    let path = format!("/channels/{thread}/messages");
    let posted = place.bot.post(&path, nonce.clone()).await.body["id"].clone();
    let files = vec![NewFile::text("a.txt", "kept")];
    let asked = place.discord.say_with_files(thread, place.alice, "more", files).unwrap();
    place.discord.react(asked, BOT_ID, "👀").unwrap();
    let gone = place.discord.say(thread, place.alice, "gone").unwrap();
    place.discord.delete(gone).unwrap();
    let (before, guild) = (place.discord.transcript(), place.discord.guild_id());
    let (bot, general, alice) = (place.bot, place.general, place.alice);
    place.sim.stop().await.unwrap();

    let sim = Sim::start(options(&dir)).await.unwrap();
    let discord = sim.discord();
    assert_eq!((discord.transcript(), discord.guild_id()), (before, guild));
    assert_eq!((discord.channel("general"), discord.user("alice")), (general, alice));
    let trusting = Bot::of(&sim);
    assert_eq!(trusting.token, bot.token);
    let again = trusting.post(&path, nonce).await;
    assert_eq!(again.body["id"], posted, "the nonce is remembered too");
    let file = discord.message(asked).unwrap().attachments[0].id;
    assert_eq!(discord.view(|it| it.guild.file(file).cloned()).unwrap().as_ref(), b"kept");
    assert!(discord.say(general, alice, "newer").unwrap() > gone, "ids go on rising");
}

#[tokio::test]
async fn an_interaction_is_answered_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let options = || Options { interaction_window: INTERACTION_WINDOW, ..options(&dir) };
    let place = Place::with(options()).await;
    let message = place.bot_asks(place.general).await;
    let first = place.discord.press(message, "allow", place.alice).unwrap();
    place.answer(first, json!({ "type": 4, "data": { "content": "noted", "flags": 64 } })).await;
    let second = place.discord.press(message, "deny", place.alice).unwrap();
    place.sim.stop().await.unwrap();

    let place = Place::with(options()).await;
    assert_eq!(place.discord.answers_to(first)[0].content, "noted");
    let original = place.webhook(first, "/messages/@original");
    let edited = place.bot.patch(&original, json!({ "content": "noted well" })).await;
    assert_eq!(edited.status, 200);
    place.answer(second, json!({ "type": 6 })).await;
}

#[tokio::test]
async fn the_authority_stays_the_same_over_restarts() {
    let dir = TempDir::new().unwrap();
    let first = Sim::start(options(&dir)).await.unwrap();
    let pem = first.ca_pem.clone();
    first.stop().await.unwrap();
    let second = Sim::start(options(&dir)).await.unwrap();
    assert_eq!(second.ca_pem, pem);
    assert_eq!(std::fs::read_to_string(dir.path().join("sim/ca.pem")).unwrap(), pem);
    let copy = dir.path().join("copy.pem");
    second.write_ca(&copy).unwrap();
    assert_eq!(std::fs::read_to_string(copy).unwrap(), pem);
    assert_eq!(Bot::of(&second).get("/gateway").await.status, 200);
}

#[tokio::test]
async fn a_broken_state_is_an_error_that_names_the_file() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("sim")).unwrap();
    std::fs::write(dir.path().join("sim/state.json"), "{").unwrap();
    let error = Sim::start(options(&dir)).await.unwrap_err();
    assert!(error.to_string().contains("state.json is not a state"), "{error}");
}

#[tokio::test]
async fn a_change_is_saved_without_a_stop() {
    let dir = TempDir::new().unwrap();
    let place = Place::with(options(&dir)).await;
    place.discord.say(place.general, place.alice, "saved soon").unwrap();
    let path = dir.path().join("sim/state.json");
    let saved = async {
        while !std::fs::read_to_string(&path).unwrap_or_default().contains("saved soon") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::DEADLINE, saved).await.unwrap();
}
