//! The gateway, as a bot's websocket meets it.

use std::time::Duration;

use discord_sim::{BOT_ID, Membership, Options};
use serde_json::json;

use crate::support::{DEADLINE, INTENTS, INTERACTION_WINDOW, Place, Socket};

const MESSAGES: u64 = 1 << 9;
const MESSAGE_CONTENT: u64 = 1 << 15;

#[tokio::test]
async fn identify_is_answered_with_ready_and_the_guild() {
    let place = Place::new().await;
    let thread = place.thread().await;
    let (mut socket, ready) = Socket::ready(&place.sim, INTENTS).await;
    assert_eq!(ready["user"]["id"], BOT_ID.to_string());
    assert_eq!(ready["guilds"][0]["unavailable"], true);
    assert_eq!(ready["resume_gateway_url"], place.sim.gateway_url);
    let guild = socket.dispatch("GUILD_CREATE").await;
    assert_eq!(guild["channels"][0]["id"], place.general.to_string());
    assert_eq!(guild["threads"][0]["id"], thread.to_string());
    assert_eq!(guild["member_count"], 2);
    socket.say(json!({ "op": 1, "d": socket.seq })).await;
    assert_eq!(socket.hear().await["op"], 11, "a heartbeat is acknowledged");
    assert_eq!(place.discord.gateway().heartbeats, 1);
    let twice = json!({ "op": 2, "d": {} });
    socket.say(twice).await;
    assert_eq!(socket.closed().await, Some(4005));
}

#[tokio::test]
async fn a_wrong_start_is_closed_with_its_code() {
    let options = Options { message_content: false, ..Options::default() };
    let place = Place::with(options).await;
    let mut socket = Socket::connect(&place.sim).await;
    socket.identify("wrong", MESSAGES).await;
    assert_eq!(socket.closed().await, Some(4004));
    let mut socket = Socket::connect(&place.sim).await;
    socket.identify(place.discord.token(), MESSAGES | MESSAGE_CONTENT).await;
    assert_eq!(socket.closed().await, Some(4014), "the intent is off in the portal");
    let mut socket = Socket::connect(&place.sim).await;
    socket.say(json!({ "op": 3, "d": {} })).await;
    assert_eq!(socket.closed().await, Some(4003));
    let mut socket = Socket::connect(&place.sim).await;
    socket.say(json!("no object")).await;
    assert_eq!(socket.closed().await, Some(4001));
}

#[tokio::test]
async fn what_happens_is_told_in_order() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let (discord, alice) = (&place.discord, place.alice);
    let message = discord.say(place.general, alice, "hello").unwrap();
    discord.edit(message, "hello again").unwrap();
    discord.react(message, alice, "✅").unwrap();
    discord.unreact(message, alice, "✅").unwrap();
    discord.start_typing(place.general, alice).unwrap();
    discord.delete(message).unwrap();
    discord.delete_channel(place.general).unwrap();
    let created = socket.dispatch("MESSAGE_CREATE").await;
    assert_eq!(created["content"], "hello");
    assert_eq!(created["author"]["username"], "alice");
    assert_eq!(created["guild_id"], discord.guild_id().to_string());
    assert!(created["member"]["roles"].is_array());
    let updated = socket.hear().await;
    assert_eq!(
        (&updated["t"], &updated["d"]["content"]),
        (&json!("MESSAGE_UPDATE"), &json!("hello again"))
    );
    let rest = [
        "MESSAGE_REACTION_ADD",
        "MESSAGE_REACTION_REMOVE",
        "TYPING_START",
        "MESSAGE_DELETE",
        "CHANNEL_DELETE",
    ];
    for name in rest {
        assert_eq!(socket.hear().await["t"], name);
    }
}

#[tokio::test]
async fn edits_and_deletions_in_a_thread_are_told_whoever_makes_them() {
    let place = Place::new().await;
    let thread = place.thread().await;
    let asked = place.discord.say(thread, place.alice, "qestion").unwrap();
    let own = place.bot_says(thread, "working").await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    place.discord.edit(asked, "question").unwrap();
    let told = socket.dispatch("MESSAGE_UPDATE").await;
    assert_eq!((&told["id"], &told["content"]), (&json!(asked), &json!("question")));
    assert_eq!(told["author"]["id"], place.alice.to_string());
    assert_eq!((&told["channel_id"], &told["type"]), (&json!(thread), &json!(0)));
    assert!(told["edited_timestamp"].is_string() && told["member"]["roles"].is_array());
    let path = format!("/channels/{thread}/messages/{own}");
    place.bot.patch(&path, json!({ "content": "done" })).await;
    let told = socket.dispatch("MESSAGE_UPDATE").await;
    assert_eq!((&told["id"], &told["content"]), (&json!(own), &json!("done")));
    place.bot.delete(&path).await;
    place.discord.delete(asked).unwrap();
    for id in [own, asked.to_string()] {
        let guild = place.discord.guild_id();
        let expected = json!({ "id": id, "channel_id": thread, "guild_id": guild });
        assert_eq!(socket.dispatch("MESSAGE_DELETE").await, expected);
    }
}

#[tokio::test]
async fn an_interaction_is_replayed_after_a_resume_and_is_then_too_old() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let (socket, ready) = Socket::ready(&place.sim, INTENTS).await;
    let session = ready["session_id"].as_str().unwrap();
    let seq = socket.cut();
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    place.discord.advance(INTERACTION_WINDOW);
    let mut socket = Socket::connect(&place.sim).await;
    socket.seq = seq;
    socket.resume(&place.sim, session, seq).await;
    assert_eq!(socket.dispatch("INTERACTION_CREATE").await["id"], id.to_string());
    assert_eq!(place.answers(id, json!({ "type": 6 })).await.code(), 10_062);
}

#[tokio::test]
async fn a_thread_is_told_of_and_its_parent_message_shows_it() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let thread = place.thread().await;
    let created = socket.dispatch("THREAD_CREATE").await;
    assert_eq!(created["id"], thread.to_string());
    assert_eq!(created["parent_id"], place.general.to_string());
    let parent = socket.dispatch("MESSAGE_UPDATE").await;
    assert_eq!(parent["thread"]["id"], thread.to_string());
    let starter = socket.dispatch("MESSAGE_CREATE").await;
    assert_eq!((&starter["type"], &starter["channel_id"]), (&json!(21), &json!(thread)));
    place.discord.delete_channel(thread).unwrap();
    assert_eq!(socket.dispatch("THREAD_DELETE").await["parent_id"], place.general.to_string());
}

#[tokio::test]
async fn every_session_of_a_token_gets_every_event_that_it_may_read() {
    let place = Place::new().await;
    let (mut one, _) = Socket::ready(&place.sim, INTENTS).await;
    let (mut two, _) = Socket::ready(&place.sim, MESSAGES).await;
    place.discord.say(place.general, place.alice, "hello").unwrap();
    assert_eq!(one.dispatch("MESSAGE_CREATE").await["content"], "hello");
    assert_eq!(two.dispatch("MESSAGE_CREATE").await["content"], "", "without the intent");
    assert_eq!(place.discord.gateway().connected, 2);
}

#[tokio::test]
async fn a_resume_replays_what_was_missed_and_then_says_resumed() {
    let place = Place::new().await;
    let (mut socket, ready) = Socket::ready(&place.sim, INTENTS).await;
    socket.dispatch("GUILD_CREATE").await;
    let session = ready["session_id"].as_str().unwrap();
    let seq = socket.cut();
    place
        .discord
        .wait_for("the cut", DEADLINE, |it| (it.gateway.connected == 0).then_some(()))
        .await
        .unwrap();
    for text in ["one", "two"] {
        place.discord.say(place.general, place.alice, text).unwrap();
    }
    let mut socket = Socket::connect(&place.sim).await;
    socket.seq = seq;
    socket.resume(&place.sim, session, seq).await;
    for text in ["one", "two"] {
        assert_eq!(socket.hear().await["d"]["content"], text);
    }
    assert_eq!(socket.hear().await["t"], "RESUMED");
    place.discord.say(place.general, place.alice, "live").unwrap();
    assert_eq!(socket.hear().await["d"]["content"], "live");
    assert_eq!(place.discord.gateway().resumed, 1);
}

#[tokio::test]
async fn a_session_that_ended_is_not_resumed() {
    let place = Place::new().await;
    // Closed for good by its client.
    let (socket, ready) = Socket::ready(&place.sim, INTENTS).await;
    socket.close(1000).await;
    let mut again = Socket::connect(&place.sim).await;
    again.resume(&place.sim, ready["session_id"].as_str().unwrap(), 1).await;
    assert_eq!(again.hear().await, json!({ "op": 9, "d": false }));
    // The same connection may identify then.
    again.identify(place.discord.token(), INTENTS).await;
    let ready = again.dispatch("READY").await;
    // Made invalid on command.
    place.discord.invalidate_sessions();
    place.discord.close_sessions(4000);
    assert_eq!(again.closed().await, Some(4000));
    let mut again = Socket::connect(&place.sim).await;
    again.resume(&place.sim, ready["session_id"].as_str().unwrap(), 1).await;
    assert_eq!(again.hear().await["d"], false);
    assert_eq!(place.discord.gateway().resumes_refused, 2);
}

#[tokio::test]
async fn the_gateway_asks_to_reconnect_and_says_that_a_session_is_invalid() {
    let place = Place::new().await;
    let (mut socket, ready) = Socket::ready(&place.sim, INTENTS).await;
    socket.dispatch("GUILD_CREATE").await;
    place.discord.request_reconnect();
    assert_eq!(socket.hear().await["op"], 7);
    place.discord.say_invalid_session(true);
    assert_eq!(socket.hear().await, json!({ "op": 9, "d": true }));
    let (session, seq) = (ready["session_id"].as_str().unwrap(), socket.seq);
    socket.resume(&place.sim, session, seq).await;
    assert_eq!(socket.hear().await["t"], "RESUMED");
    place.discord.cut_sessions();
    assert_eq!(socket.closed().await, None);
}

#[tokio::test]
async fn a_dropped_event_is_never_told_and_leaves_no_gap() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    place.discord.drop_events(Some("MESSAGE_CREATE"), 1);
    for text in ["lost", "told"] {
        place.discord.say(place.general, place.alice, text).unwrap();
    }
    assert_eq!(socket.dispatch("MESSAGE_CREATE").await["content"], "told");
}

#[tokio::test]
async fn an_event_is_told_twice_and_another_late() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    place.discord.delay_events(Some("MESSAGE_CREATE"), 1);
    place.discord.repeat_events(Some("MESSAGE_CREATE"), 1);
    for text in ["late", "twice"] {
        place.discord.say(place.general, place.alice, text).unwrap();
    }
    for text in ["twice", "twice", "late"] {
        assert_eq!(socket.dispatch("MESSAGE_CREATE").await["content"], text);
    }
}

#[tokio::test]
async fn a_closed_gateway_cuts_and_refuses_until_it_is_opened() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    place.discord.open_gateway(false);
    assert_eq!(socket.closed().await, None);
    let refused = tokio_tungstenite::connect_async(&place.sim.gateway_url).await;
    assert!(refused.is_err());
    place.discord.open_gateway(true);
    Socket::ready(&place.sim, INTENTS).await;
}

#[tokio::test]
async fn a_client_without_heartbeats_is_closed_and_acknowledgements_can_be_withheld() {
    let options = Options { heartbeat: Duration::from_secs(2), ..Options::default() };
    let place = Place::with(options).await;
    place.discord.acknowledge_heartbeats(false);
    let mut socket = Socket::connect(&place.sim).await;
    socket.say(json!({ "op": 1, "d": null })).await;
    assert_eq!(socket.closed().await, Some(4009), "and no op 11 came before");
    assert_eq!(place.discord.gateway().heartbeats, 1);
}

#[tokio::test]
async fn a_bot_that_is_removed_hears_and_sees_nothing_until_it_is_invited() {
    let place = Place::new().await;
    let thread = place.thread().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    socket.dispatch("GUILD_CREATE").await;
    let (discord, alice) = (&place.discord, place.alice);
    discord.give_role(BOT_ID, discord.role("bots")).unwrap();
    discord.stands(Membership::Removed);
    let gone = socket.dispatch("GUILD_DELETE").await;
    assert_eq!(gone, json!({ "id": discord.guild_id().to_string() }));
    let missed = discord.say(place.general, alice, "anybody?").unwrap();
    let messages = format!("/channels/{}/messages", place.general);
    for path in [&messages, &format!("/channels/{thread}")] {
        assert_eq!(place.bot.get(path).await.code(), 50_001, "{path}");
    }
    let post = place.bot.post(&messages, json!({ "content": "here" })).await;
    assert_eq!(post.code(), 50_001);
    assert_eq!(place.bot.get(&format!("/guilds/{}", discord.guild_id())).await.code(), 10_004);
    assert_eq!(place.bot.get("/users/@me/guilds").await.body, json!([]));
    let (_, ready) = Socket::ready(&place.sim, INTENTS).await;
    assert_eq!(ready["guilds"], json!([]), "another session is told of no guild");
    discord.stands(Membership::Member);
    let back = socket.hear().await;
    assert_eq!(back["t"], "GUILD_CREATE", "nothing of the time between is told");
    assert_eq!(back["d"]["threads"][0]["id"], thread.to_string());
    let bot = discord.view(|it| it.guild.user(BOT_ID).unwrap().clone());
    assert!(bot.roles.is_empty(), "it is a new member: {bot:?}");
    assert_eq!(place.bot.get(&messages).await.body[0]["id"], missed.to_string());
}

#[tokio::test]
async fn a_guild_in_an_outage_is_away_and_says_so() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let discord = &place.discord;
    discord.stands(Membership::Outage);
    discord.stands(Membership::Outage);
    assert_eq!(socket.dispatch("GUILD_DELETE").await["unavailable"], true);
    let path = format!("/channels/{}", place.general);
    assert_eq!(place.bot.get(&path).await.status, 503);
    assert_eq!(place.bot.get("/users/@me").await.status, 200, "that is of no guild");
    let (mut late, ready) = Socket::ready(&place.sim, INTENTS).await;
    assert_eq!(ready["guilds"][0]["unavailable"], true);
    discord.stands(Membership::Member);
    assert_eq!(socket.hear().await["t"], "GUILD_CREATE");
    assert_eq!(late.hear().await["t"], "GUILD_CREATE", "not before it is over");
    assert_eq!(place.bot.get(&path).await.status, 200);
}

#[tokio::test]
async fn what_a_webhook_writes_names_no_member() {
    let place = Place::new().await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let said = place.discord.webhook_says(place.general, "builds", "it is red").unwrap();
    let heard = socket.dispatch("MESSAGE_CREATE").await;
    assert_eq!((&heard["id"], &heard["content"]), (&json!(said.to_string()), &json!("it is red")));
    assert_eq!(heard["webhook_id"], heard["author"]["id"]);
    assert_eq!(heard["author"]["username"], "builds");
    assert_eq!((heard.get("member"), heard["author"].get("bot")), (None, None));
    let member = format!("/guilds/{}/members/{}", place.discord.guild_id(), "7");
    assert_eq!(place.bot.get(&member).await.code(), 10_007);
    let again = place.discord.webhook_says(place.general, "builds", "it is green").unwrap();
    let by = |id| place.discord.message(id).unwrap().author;
    assert_eq!(by(said), by(again));
    let thread = place.discord.start_thread(said, place.alice, "why?").unwrap();
    assert_eq!(socket.dispatch("THREAD_CREATE").await["id"], thread.to_string());
}
