//! What the bot asks of REST.

use std::time::Duration;

use discord_sim::{BOT_ID, ChannelId, MessageKind, NewFile, Options, Permissions};
use reqwest_serenity::Method;
use serde_json::{Value, json};

use crate::support::{Bot, Place};

fn contents(page: &Value) -> Vec<&str> {
    page.as_array().unwrap().iter().map(|it| it["content"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_an_unknown_route_is_not_found() {
    let place = Place::new().await;
    let stranger = Bot { token: "wrong".to_owned(), ..place.bot.clone() };
    let answer = stranger.get("/users/@me").await;
    assert_eq!((answer.status, answer.code()), (401, 0));
    let answer = place.bot.get("/nothing").await;
    assert_eq!((answer.status, answer.code()), (404, 0));
    let answer = place.bot.delete("/gateway").await;
    assert_eq!((answer.status, answer.code()), (405, 0));
}

#[tokio::test]
async fn the_bot_finds_itself_its_guild_and_the_gateway() {
    let place = Place::new().await;
    let bot = &place.bot;
    assert_eq!(bot.get("/gateway").await.body["url"], place.sim.gateway_url);
    let limit = &bot.get("/gateway/bot").await.body["session_start_limit"];
    assert_eq!(limit["remaining"], 1000);
    assert_eq!(bot.get("/users/@me").await.body["bot"], true);
    let application = bot.get("/applications/@me").await.body;
    assert_eq!(application["flags"], 1 << 19, "message content is on");
    let guild = place.discord.guild_id();
    assert_eq!(bot.get(&format!("/guilds/{guild}")).await.body["id"], guild.to_string());
    let channels = bot.get(&format!("/guilds/{guild}/channels")).await.body;
    assert_eq!(channels[0]["name"], "general");
    let dev = place.discord.role("dev");
    place.discord.give_role(place.alice, dev).unwrap();
    let member = bot.get(&format!("/guilds/{guild}/members/{}", place.alice)).await.body;
    assert_eq!(member["roles"], json!([dev]));
    assert_eq!(bot.get(&format!("/guilds/{guild}/members/5")).await.code(), 10_007);
    assert_eq!(bot.get("/guilds/5").await.code(), 10_004);
    assert_eq!(place.discord.requests_of("GET /gateway"), 1);
    assert_eq!(place.discord.requests_of("GET /guilds/{id}/members/{id}"), 2);
}

#[tokio::test]
async fn a_bot_elsewhere_is_told_a_name_and_finds_the_channel_that_it_was_told_of() {
    let options =
        Options { host: Some("discord-sim".to_owned()), rate_limits: false, ..Options::default() };
    let place = Place::with(options).await;
    let url = place.bot.get("/gateway").await.body["url"].as_str().unwrap().to_owned();
    let port = url.strip_prefix("ws://discord-sim:").expect("the name, not the address");
    assert!(port.parse::<u16>().is_ok_and(|port| port != 0), "{url}");
    let sample = ChannelId(1_442_918_200_000_000_001);
    for _ in 0..2 {
        place.discord.channel_of(sample, "sample");
    }
    assert_eq!(place.bot.get(&format!("/channels/{sample}")).await.body["name"], "sample");
    let asked = place.discord.say(sample, place.alice, "question").unwrap();
    let path = format!("/channels/{sample}/messages?after=0");
    assert_eq!(place.bot.get(&path).await.body[0]["id"], asked.to_string());
}

#[tokio::test]
async fn a_message_keeps_what_was_sent_with_it() {
    let place = Place::new().await;
    let asked = place.discord.say(place.general, place.alice, "question").unwrap();
    let body = json!({
        "content": "  answer\n",
        "nonce": 17,
        "embeds": [{ "title": "a" }],
        "components": [{ "type": 1, "components": [
            { "type": 2, "style": 1, "custom_id": "retry", "label": "Retry" },
        ] }],
        "allowed_mentions": { "parse": [] },
        "message_reference": { "message_id": asked },
    });
    let answer = place.bot.post(&format!("/channels/{}/messages", place.general), body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["referenced_message"]["content"], "question");
    let message = place.discord.messages(place.general).pop().unwrap();
    assert_eq!(message.content, "answer", "white space at the ends is taken off");
    assert_eq!(message.kind, MessageKind::REPLY);
    assert_eq!(message.nonce.as_deref(), Some("17"));
    assert_eq!(message.embeds[0]["title"], "a");
    assert_eq!(message.components.len(), 1);
    assert_eq!(message.allowed_mentions, Some(json!({ "parse": [] })));
    assert_eq!(answer.body["id"], message.id.to_string());
    assert!(message.is_bot && message.author == BOT_ID);
}

#[tokio::test]
async fn what_discord_refuses_is_refused_with_its_code() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    let refused = [
        (json!({ "content": "x".repeat(2001) }), 50_035),
        (json!({ "content": " \n\t" }), 50_006),
        (json!({}), 50_006),
        (json!({ "content": "x", "nonce": "n".repeat(26) }), 50_035),
        (json!({ "content": "x", "message_reference": { "message_id": "5" } }), 50_035),
        (json!({ "content": 5 }), 50_035),
    ];
    for (body, code) in refused {
        let answer = place.bot.post(&path, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{body}");
    }
    let whole = place.bot.post(&path, json!({ "content": "é".repeat(2000) })).await;
    assert_eq!(whole.status, 200, "2,000 characters are no more for having two bytes each");
    let nowhere = place.bot.post("/channels/5/messages", json!({ "content": "x" })).await;
    assert_eq!((nowhere.status, nowhere.code()), (404, 10_003));
    assert_eq!(place.discord.messages(place.general).len(), 1);
}

#[tokio::test]
async fn permissions_of_a_channel_hold_for_the_bot() {
    let place = Place::new().await;
    let channel = place.general;
    let path = format!("/channels/{channel}/messages");
    place.discord.say(channel, place.alice, "hello").unwrap();
    place.discord.deny_bot(channel, Permissions::SEND_MESSAGES).unwrap();
    let answer = place.bot.post(&path, json!({ "content": "x" })).await;
    assert_eq!((answer.status, answer.code()), (403, 50_013));
    assert_eq!(contents(&place.bot.get(&path).await.body), ["hello"]);
    place.discord.deny_bot(channel, Permissions::READ_MESSAGE_HISTORY).unwrap();
    assert_eq!(place.bot.get(&path).await.body, json!([]));
    place.discord.deny_bot(channel, Permissions::VIEW_CHANNEL).unwrap();
    assert_eq!(place.bot.get(&path).await.code(), 50_001);
    assert_eq!(place.bot.get(&format!("/channels/{channel}")).await.code(), 50_001);
}

#[tokio::test]
async fn who_may_not_read_history_may_not_answer_a_message() {
    let place = Place::new().await;
    let asked = place.discord.say(place.general, place.alice, "question").unwrap();
    place.discord.deny_bot(place.general, Permissions::READ_MESSAGE_HISTORY).unwrap();
    let path = format!("/channels/{}/messages", place.general);
    let to = json!({ "message_id": asked.to_string(), "fail_if_not_exists": false });
    let answer = json!({ "content": "x", "message_reference": to });
    let refused = place.bot.post(&path, answer.clone()).await;
    assert_eq!((refused.status, refused.code()), (403, 160_002));
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.status, 200);
    place.discord.deny_bot(place.general, Permissions::default()).unwrap();
    assert_eq!(place.bot.post(&path, answer).await.status, 200);
}

#[tokio::test]
async fn a_nonce_is_posted_once_within_its_window() {
    let place = Place::with(Options {
        rate_limits: false,
        nonce_window: Duration::from_secs(60),
        ..Options::default()
    })
    .await;
    let path = format!("/channels/{}/messages", place.general);
    let body = json!({ "content": "once", "nonce": "n", "enforce_nonce": true });
    let first = place.bot.post(&path, body.clone()).await;
    let second = place.bot.post(&path, body.clone()).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(first.body["id"], second.body["id"]);
    let unforced = json!({ "content": "again", "nonce": "n" });
    let third = place.bot.post(&path, unforced).await;
    assert_ne!(third.body["id"], first.body["id"], "a nonce is checked only when asked for");
    place.discord.advance(Duration::from_secs(61));
    let late = place.bot.post(&path, body.clone()).await;
    assert_ne!(late.body["id"], third.body["id"]);
    let late = late.body["id"].as_str().unwrap().parse().unwrap();
    place.discord.delete(late).unwrap();
    let gone = place.bot.post(&path, body).await;
    assert_eq!((gone.status, gone.code()), (404, 10_008), "its message was deleted");
}

#[tokio::test]
async fn history_is_read_in_pages_and_listed_newest_first() {
    let place = Place::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let text = format!("m{n}");
        ids.push(place.discord.say(place.general, place.alice, &text).unwrap());
    }
    place.discord.delete(ids[3]).unwrap();
    let base = format!("/channels/{}/messages", place.general);
    let pages = [
        (String::new(), vec!["m6", "m5", "m4", "m2", "m1", "m0"]),
        ("?limit=2".to_owned(), vec!["m6", "m5"]),
        (format!("?limit=2&after={}", ids[1]), vec!["m4", "m2"]),
        (format!("?limit=1&after={}", place.general), vec!["m0"]),
        (format!("?limit=2&before={}", ids[4]), vec!["m2", "m1"]),
        (format!("?limit=3&around={}", ids[4]), vec!["m5", "m4", "m2"]),
        (format!("?after={}", ids[6]), vec![]),
    ];
    for (query, expected) in pages {
        let page = place.bot.get(&format!("{base}{query}")).await;
        assert_eq!(contents(&page.body), expected, "{query}");
    }
    assert_eq!(place.bot.get(&format!("{base}?limit=101")).await.code(), 50_035);
    let channel = place.bot.get(&format!("/channels/{}", place.general)).await.body;
    assert_eq!(channel["last_message_id"], ids[6].to_string());
    assert_eq!(place.bot.get(&format!("{base}/{}", ids[3])).await.code(), 10_008);
    assert!(ids.is_sorted(), "ids rise even within a millisecond");
}

#[tokio::test]
async fn a_message_is_edited_by_its_author_and_deleted_by_whoever_may() {
    let place = Place::new().await;
    let own = place.bot_says(place.general, "draft").await;
    let theirs = place.discord.say(place.general, place.alice, "mine").unwrap();
    let base = format!("/channels/{}/messages", place.general);
    let edited = place.bot.patch(&format!("{base}/{own}"), json!({ "content": "final" })).await;
    assert!(edited.body["edited_timestamp"].is_string());
    let refused = place.bot.patch(&format!("{base}/{theirs}"), json!({ "content": "x" })).await;
    assert_eq!((refused.status, refused.code()), (403, 50_005));
    assert_eq!(place.bot.delete(&format!("{base}/{theirs}")).await.code(), 50_013);
    assert_eq!(place.bot.delete(&format!("{base}/{own}")).await.status, 204);
    assert_eq!(place.bot.delete(&format!("{base}/{own}")).await.code(), 10_008);
    let kept = &place.discord.history(place.general)[0];
    assert_eq!((kept.before[0].content.as_str(), kept.content.as_str()), ("draft", "final"));
    assert!(!kept.is_visible(), "deleted for people, kept for tests");
}

#[tokio::test]
async fn a_reaction_is_there_once_until_it_is_taken_back() {
    let place = Place::new().await;
    let message = place.discord.say(place.general, place.alice, "hello").unwrap();
    let eyes = format!("/channels/{}/messages/{message}/reactions/%F0%9F%91%80", place.general);
    for _ in 0..2 {
        assert_eq!(place.bot.put(&format!("{eyes}/@me")).await.status, 204);
    }
    place.discord.react(message, place.alice, "👀").unwrap();
    let reactions = place.discord.reactions(message);
    assert_eq!(reactions.len(), 1);
    assert_eq!(reactions[0].users, [BOT_ID, place.alice]);
    let base = format!("/channels/{}/messages", place.general);
    let seen = place.bot.get(&format!("{base}/{message}")).await.body;
    assert_eq!(seen["reactions"][0]["count"], 2);
    assert_eq!(seen["reactions"][0]["me"], true);
    assert_eq!(place.bot.delete(&format!("{eyes}/@me")).await.status, 204);
    assert_eq!(place.bot.delete(&format!("{eyes}/{}", place.alice)).await.code(), 50_013);
    assert!(!place.discord.message(message).unwrap().has_reaction(BOT_ID, "👀"));
    let letters = format!("{base}/{message}/reactions/eyes/@me");
    assert_eq!(place.bot.put(&letters).await.code(), 10_014);
}

#[tokio::test]
async fn typing_is_seen() {
    let place = Place::new().await;
    let path = format!("/channels/{}/typing", place.general);
    assert_eq!(place.bot.post(&path, json!({})).await.status, 204);
    assert_eq!(place.discord.bot_typed(place.general), 1);
}

#[tokio::test]
async fn files_go_both_ways_over_the_cdn() {
    let place = Place::new().await;
    let files = vec![NewFile::text("notes.txt", "of alice")];
    place.discord.say_with_files(place.general, place.alice, "", files).unwrap();
    let path = format!("/channels/{}/messages", place.general);
    let seen = place.bot.get(&path).await.body;
    let url = seen[0]["attachments"][0]["url"].as_str().unwrap();
    assert!(url.starts_with("https://cdn.discordapp.com/attachments/"), "{url}");
    let fetched = place.bot.client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(fetched, "of alice");
    let plain = url.split('?').next().unwrap();
    let unsigned = place.bot.client.get(plain).send().await.unwrap().status().as_u16();
    place.discord.advance(Duration::from_secs(25 * 60 * 60));
    let old = place.bot.client.get(url).send().await.unwrap().status().as_u16();
    assert_eq!((unsigned, old), (404, 404), "an address is signed, and good for a day");
    let seen = place.bot.get(&path).await.body;
    let url = seen[0]["attachments"][0]["url"].as_str().unwrap();
    let fetched = place.bot.client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(fetched, "of alice", "the message says a new one");

    let form = reqwest_serenity::multipart::Form::new()
        .text("payload_json", json!({ "content": "here" }).to_string())
        .part(
            "files[0]",
            reqwest_serenity::multipart::Part::bytes(b"of the bot".to_vec()).file_name("a b.txt"),
        );
    let url = format!("https://discord.com/api/v10{path}");
    let request = place.bot.client.request(Method::POST, url).multipart(form);
    let request = request.header("Authorization", format!("Bot {}", place.bot.token));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    let message = place.discord.messages(place.general).pop().unwrap();
    assert_eq!((message.content.as_str(), message.attachments.len()), ("here", 1));
    assert_eq!(message.attachments[0].filename, "a_b.txt");
    let media_type = message.attachments[0].content_type.as_deref();
    assert_eq!(media_type, Some("text/plain; charset=utf-8"), "by its name");
    let id = message.attachments[0].id;
    let bytes = place.discord.view(|it| it.guild.file(id).cloned());
    assert_eq!(bytes.unwrap().as_ref(), b"of the bot");
}

#[tokio::test]
async fn without_the_message_content_intent_the_texts_of_others_are_empty() {
    let options = Options { rate_limits: false, message_content: false, ..Options::default() };
    let place = Place::with(options).await;
    place.discord.say(place.general, place.alice, "secret").unwrap();
    place.discord.say(place.general, place.alice, &format!("<@{BOT_ID}> open")).unwrap();
    place.bot_says(place.general, "own").await;
    let page = place.bot.get(&format!("/channels/{}/messages", place.general)).await.body;
    assert_eq!(contents(&page), ["own", &format!("<@{BOT_ID}> open"), ""]);
    assert_eq!(place.bot.get("/applications/@me").await.body["flags"], 0);
}

#[tokio::test]
async fn allowed_mentions_decide_who_is_pinged() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    let text = format!("<@{}> @everyone", place.alice);
    for (allowed, pings) in [(json!({ "parse": [] }), false), (Value::Null, true)] {
        let mut body = json!({ "content": text });
        if !allowed.is_null() {
            body["allowed_mentions"] = allowed;
        }
        place.bot.post(&path, body).await;
        let message = place.discord.messages(place.general).pop().unwrap();
        assert_eq!(message.mentions.contains(&place.alice), pings);
        assert_eq!(message.mention_everyone, pings);
    }
}

#[tokio::test]
async fn the_sixth_message_in_five_seconds_is_told_to_wait() {
    let place = Place::with(Options::default()).await;
    let path = format!("/channels/{}/messages", place.general);
    for left in ["4", "3", "2", "1", "0"] {
        let answer = place.bot.post(&path, json!({ "content": "x" })).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-ratelimit-limit"), "5");
        assert_eq!(answer.header("x-ratelimit-remaining"), left);
        assert!(!answer.header("x-ratelimit-bucket").is_empty());
    }
    let answer = place.bot.post(&path, json!({ "content": "x" })).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.body["global"], false);
    assert_eq!(answer.header("x-ratelimit-scope"), "user");
    let wait = answer.body["retry_after"].as_f64().unwrap();
    assert!((0.0..=5.0).contains(&wait) && wait > 0.0, "{wait}");
    assert_eq!(answer.header("retry-after"), format!("{wait:.3}"));
    place.discord.advance(Duration::from_secs(5));
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.status, 200);
    assert_eq!(place.discord.messages(place.general).len(), 6);
}
