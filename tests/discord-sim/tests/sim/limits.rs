//! Limits of which no header speaks: embeds, old messages, names, sessions.

use std::time::Duration;

use discord_sim::{Options, Permissions};
use serde_json::{Value, json};

use crate::support::{INTENTS, Place, Socket};

fn described(length: usize) -> Value {
    json!({ "description": "x".repeat(length) })
}

#[tokio::test]
async fn embeds_beyond_their_limits_are_refused_in_posts_edits_and_answers() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    let full = json!({ "embeds": [described(4096), described(6000 - 4096)] });
    assert_eq!(place.bot.post(&path, full).await.status, 200);
    let too_much = json!({ "embeds": [described(4096), described(6001 - 4096)] });
    let refused = place.bot.post(&path, too_much.clone()).await;
    assert_eq!((refused.status, refused.code()), (400, 50_035));
    let says = &refused.body["errors"]["embeds"]["_errors"][0];
    assert_eq!(says["code"], "MAX_EMBED_SIZE_EXCEEDED");
    let long = place.bot.post(&path, json!({ "embeds": [described(4097)] })).await;
    let at = &long.body["errors"]["embeds"]["0"]["description"]["_errors"][0]["code"];
    assert_eq!(at, "BASE_TYPE_MAX_LENGTH");
    let blank = place.bot.post(&path, json!({ "embeds": [{}] })).await;
    assert_eq!(blank.code(), 50_006);
    let own = place.bot_asks(place.general).await;
    assert_eq!(place.bot.patch(&format!("{path}/{own}"), too_much.clone()).await.code(), 50_035);
    let id = place.discord.press(own, "allow", place.alice).unwrap();
    let answered = place.answers(id, json!({ "type": 4, "data": too_much })).await;
    assert!(answered.body["errors"]["data"]["embeds"].is_object(), "{}", answered.body);
}

#[tokio::test]
async fn embeds_need_a_permission() {
    let place = Place::new().await;
    place.discord.deny_bot(place.general, Permissions::EMBED_LINKS).unwrap();
    let path = format!("/channels/{}/messages", place.general);
    assert_eq!(place.bot.post(&path, json!({ "embeds": [described(1)] })).await.code(), 50_013);
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.status, 200);
}

#[tokio::test]
async fn messages_older_than_an_hour_are_edited_three_times_and_then_no_more() {
    let place = Place::with(Options::default()).await;
    let old = place.bot_says(place.general, "old").await;
    place.discord.advance(Duration::from_secs(3601));
    let fresh = place.bot_says(place.general, "fresh").await;
    let path = |id: &str| format!("/channels/{}/messages/{id}", place.general);
    for _ in 0..3 {
        assert_eq!(place.bot.patch(&path(&old), json!({ "content": "x" })).await.status, 200);
    }
    let refused = place.bot.patch(&path(&old), json!({ "content": "y" })).await;
    assert_eq!((refused.status, refused.code()), (429, 30_046));
    let wait = refused.body["retry_after"].as_f64().unwrap();
    assert_eq!(refused.header("retry-after"), format!("{wait:.3}"));
    assert!(wait > 5.0, "longer than the headers say: {wait}");
    assert_ne!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(place.bot.patch(&path(&fresh), json!({ "content": "x" })).await.status, 200);
    assert_eq!(place.discord.message(old.parse().unwrap()).unwrap().content, "x");
    place.discord.advance(Duration::from_secs_f64(wait + 1.0));
    assert_eq!(place.bot.patch(&path(&old), json!({ "content": "y" })).await.status, 200);
}

#[tokio::test]
async fn a_thread_gets_two_names_in_ten_minutes() {
    let place = Place::with(Options::default()).await;
    let (thread, other) = (place.thread().await, place.thread().await);
    let rename = async |thread, name: &str| {
        place.bot.patch(&format!("/channels/{thread}"), json!({ "name": name })).await
    };
    assert_eq!(rename(thread, "one").await.status, 200);
    assert_eq!(rename(thread, "two").await.status, 200);
    let refused = rename(thread, "three").await;
    assert_eq!((refused.status, &refused.body["global"]), (429, &json!(false)));
    let wait = refused.body["retry_after"].as_f64().unwrap();
    assert!(wait > 500.0, "{wait}");
    assert_ne!(refused.header("x-ratelimit-remaining"), "0", "the headers do not say so");
    assert_eq!(rename(other, "one").await.status, 200);
    let archive = json!({ "archived": true });
    let path = format!("/channels/{thread}");
    assert_eq!(place.bot.patch(&path, archive).await.status, 200, "that is no name");
    place.discord.advance(Duration::from_secs(600));
    let wake = json!({ "archived": false, "name": "three" });
    assert_eq!(place.bot.patch(&path, wake).await.body["name"], "three");
}

#[tokio::test]
async fn a_bot_that_identifies_too_often_loses_its_token() {
    let options = Options { identifies_a_day: 2, rate_limits: false, ..Options::default() };
    let place = Place::with(options).await;
    let (mut first, _) = Socket::ready(&place.sim, INTENTS).await;
    let limit = place.bot.get("/gateway/bot").await.body["session_start_limit"].take();
    assert_eq!((&limit["total"], &limit["remaining"]), (&json!(2), &json!(1)));
    assert!(limit["reset_after"].as_u64().unwrap() <= 86_400_000);
    let (mut second, ready) = Socket::ready(&place.sim, INTENTS).await;
    let mut third = Socket::connect(&place.sim).await;
    third.identify(place.discord.token(), INTENTS).await;
    for socket in [&mut third, &mut first, &mut second] {
        assert_eq!(socket.closed().await, Some(4004), "all sessions end");
    }
    assert_eq!(place.bot.get("/users/@me").await.status, 401);
    assert!(!place.discord.token_is_good());
    let session = ready["session_id"].as_str().unwrap();
    let mut again = Socket::connect(&place.sim).await;
    again.resume(&place.sim, session, 1).await;
    assert_eq!(again.closed().await, Some(4004));
    // Its owner puts a new token in place, and a day goes by.
    place.discord.restore_token();
    assert_eq!(place.bot.get("/users/@me").await.status, 200);
    place.discord.advance(Duration::from_secs(86_400));
    Socket::ready(&place.sim, INTENTS).await;
}
