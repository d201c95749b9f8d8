//! Threads, from the bot's side and from a person's.

use std::time::Duration;

use discord_sim::{ChannelId, MessageKind, Permissions};
use serde_json::{Value, json};

use crate::support::{INTENTS, Place, Socket};

#[tokio::test]
async fn a_thread_has_the_number_of_its_message_and_there_is_only_one() {
    let place = Place::new().await;
    let message = place.discord.say(place.general, place.alice, "question").unwrap();
    let path = format!("/channels/{}/messages/{message}/threads", place.general);
    for (name, code) in [(String::new(), 50_035), ("x".repeat(101), 50_035)] {
        assert_eq!(place.bot.post(&path, json!({ "name": name })).await.code(), code);
    }
    let started = place.bot.post(&path, json!({ "name": "x".repeat(100) })).await;
    assert_eq!(started.status, 201);
    assert_eq!(started.body["id"], message.to_string());
    assert_eq!(place.discord.thread_of(message), Some(ChannelId::from(message)));
    assert_eq!(place.bot.post(&path, json!({ "name": "again" })).await.code(), 160_004);
    let unknown = format!("/channels/{}/messages/5/threads", place.general);
    assert_eq!(place.bot.post(&unknown, json!({ "name": "x" })).await.code(), 10_008);
    let parent = format!("/channels/{}/messages/{message}", place.general);
    let parent = place.bot.get(&parent).await.body;
    assert_eq!(parent["thread"]["id"], message.to_string());
    let first = &place.discord.history(message.into())[0];
    assert_eq!(first.kind, MessageKind::THREAD_STARTER);
    assert!(place.discord.messages(message.into()).is_empty(), "nobody wrote in it yet");
}

#[tokio::test]
async fn a_thread_without_a_message_has_a_number_of_its_own() {
    let place = Place::new().await;
    let path = format!("/channels/{}/threads", place.general);
    let started = place.bot.post(&path, json!({ "name": "plan", "type": 11 })).await;
    assert_eq!(started.status, 201);
    let guild = place.discord.guild_id();
    let active = place.bot.get(&format!("/guilds/{guild}/threads/active")).await.body;
    assert_eq!(active["threads"][0]["name"], "plan");
    assert_eq!(active["members"][0]["id"], started.body["id"]);
}

#[tokio::test]
async fn lists_of_threads_say_of_each_what_its_last_message_is() {
    let place = Place::new().await;
    let guild = place.discord.guild_id();
    let (quiet, busy, gone) = (place.thread().await, place.thread().await, place.thread().await);
    let last = place.discord.say(busy, place.alice, "last").unwrap();
    place.discord.say(gone, place.alice, "last").unwrap();
    place.discord.delete_channel(gone).unwrap();
    let active = place.bot.get(&format!("/guilds/{guild}/threads/active")).await.body;
    let listed = active["threads"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "a deleted thread is in no list");
    let of = |list: &[Value], id: ChannelId| {
        let found = list.iter().find(|it| it["id"] == id.to_string());
        found.map(|it| it["last_message_id"].clone())
    };
    assert_eq!(of(listed, busy), Some(json!(last)));
    let starter = place.discord.history(quiet)[0].id;
    assert_eq!(of(listed, quiet), Some(json!(starter)), "also where nobody wrote yet");
    assert!(listed.iter().all(|it| it["thread_metadata"]["archived"] == false));
    place.discord.archive(busy).unwrap();
    let active = place.bot.get(&format!("/guilds/{guild}/threads/active")).await.body;
    assert_eq!(of(active["threads"].as_array().unwrap(), busy), None);
    let archived = format!("/channels/{}/threads/archived/public", place.general);
    let archived = place.bot.get(&archived).await.body;
    let listed = archived["threads"].as_array().unwrap();
    assert_eq!((listed.len(), of(listed, busy)), (1, Some(json!(last))));
    assert_eq!(archived["members"][0]["id"], busy.to_string());
}

#[tokio::test]
async fn archived_threads_are_listed_in_pages_latest_archived_first() {
    let place = Place::new().await;
    let mut threads = Vec::new();
    for _ in 0..3 {
        let thread = place.thread().await;
        place.discord.archive(thread).unwrap();
        place.discord.advance(Duration::from_secs(1));
        threads.insert(0, thread.to_string());
    }
    let list = format!("/channels/{}/threads/archived/public", place.general);
    let ids = |page: &Value| -> Vec<String> {
        let threads = page["threads"].as_array().unwrap().iter();
        threads.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = place.bot.get(&format!("{list}?limit=2")).await.body;
    assert_eq!((ids(&first), &first["has_more"]), (threads[..2].to_vec(), &json!(true)));
    let before = first["threads"][1]["thread_metadata"]["archive_timestamp"].as_str().unwrap();
    let before = before.replace('+', "%2B");
    let second = place.bot.get(&format!("{list}?limit=2&before={before}")).await.body;
    assert_eq!((ids(&second), &second["has_more"]), (threads[2..].to_vec(), &json!(false)));
    for wrong in ["limit=1", "limit=101", "before=1700000000"] {
        assert_eq!(place.bot.get(&format!("{list}?{wrong}")).await.code(), 50_035, "{wrong}");
    }
}

#[tokio::test]
async fn a_message_wakes_an_archived_thread_and_an_edit_does_not() {
    let place = Place::new().await;
    let thread = place.thread().await;
    let own = place.bot_says(thread, "answer").await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    place.discord.archive(thread).unwrap();
    let archived = socket.dispatch("THREAD_UPDATE").await;
    assert_eq!(archived["thread_metadata"]["archived"], true);
    let path = format!("/channels/{thread}/messages/{own}");
    assert_eq!(place.bot.patch(&path, json!({ "content": "x" })).await.code(), 50_083);
    assert_eq!(place.bot.put(&format!("{path}/reactions/%E2%9C%85/@me")).await.code(), 50_083);
    assert_eq!(place.bot.delete(&path).await.code(), 50_083);
    let list = format!("/channels/{}/threads/archived/public", place.general);
    assert_eq!(place.bot.get(&list).await.body["threads"][0]["id"], thread.to_string());
    place.bot_says(thread, "awake").await;
    let awake = socket.dispatch("THREAD_UPDATE").await;
    assert_eq!(awake["thread_metadata"]["archived"], false);
}

#[tokio::test]
async fn a_locked_thread_takes_no_message() {
    let place = Place::new().await;
    let thread = place.thread().await;
    place.discord.lock(thread, true).unwrap();
    let path = format!("/channels/{thread}/messages");
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.code(), 160_005);
    let refused = place.discord.say(thread, place.alice, "x").unwrap_err();
    assert_eq!(refused.code(), 160_005);
    place.discord.allow_everyone(Permissions::USUAL | Permissions::MANAGE_THREADS);
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.status, 200);
}

#[tokio::test]
async fn a_thread_that_is_archived_and_locked_is_woken_by_nobody_but_its_managers() {
    let place = Place::new().await;
    let thread = place.thread().await;
    place.discord.lock(thread, true).unwrap();
    place.discord.archive(thread).unwrap();
    let path = format!("/channels/{thread}/messages");
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.code(), 50_083);
    let archived = |it: &discord_sim::View<'_>| {
        it.guild.channel(thread).unwrap().thread.as_ref().unwrap().archived
    };
    assert!(place.discord.view(archived));
    place.discord.allow_everyone(Permissions::USUAL | Permissions::MANAGE_THREADS);
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.status, 200);
    assert!(!place.discord.view(archived));
}

#[tokio::test]
async fn the_bot_renames_and_archives_the_thread_that_it_started() {
    let place = Place::new().await;
    let thread = place.thread().await;
    let path = format!("/channels/{thread}");
    let renamed = place.bot.patch(&path, json!({ "name": "✅ done" })).await;
    assert_eq!((renamed.status, renamed.body["name"].as_str()), (200, Some("✅ done")));
    let last = place.discord.history(thread).pop().unwrap();
    assert_eq!(last.kind, MessageKind::RENAMED, "Discord says so in the thread");
    assert_eq!(place.bot.patch(&path, json!({ "archived": true })).await.status, 200);
    assert_eq!(place.bot.patch(&path, json!({ "name": "x" })).await.code(), 50_083);
    assert_eq!(place.bot.patch(&path, json!({ "archived": false })).await.status, 200);
    let channel = format!("/channels/{}", place.general);
    assert_eq!(place.bot.patch(&channel, json!({ "name": "x" })).await.code(), 50_013);
}

#[tokio::test]
async fn a_deleted_channel_takes_its_threads_along_but_not_their_history() {
    let place = Place::new().await;
    let thread = place.thread().await;
    place.bot_says(thread, "answer").await;
    place.discord.delete_channel(place.general).unwrap();
    let path = format!("/channels/{thread}/messages");
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.code(), 10_003);
    assert_eq!(place.bot.get(&path).await.code(), 10_003);
    assert_eq!(place.discord.messages(thread)[0].content, "answer");
}
