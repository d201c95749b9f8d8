//! What follows the first answer to an interaction.

use std::time::Duration;

use discord_sim::Outcome;
use reqwest_serenity::Method;
use serde_json::json;

use crate::support::{Bot, INTENTS, Place, Socket};

const ORIGINAL: &str = "/messages/@original";
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

#[tokio::test]
async fn a_deferred_answer_thinks_until_it_is_edited() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    for flags in [64, 0] {
        let id = place.discord.press(message, "allow", place.alice).unwrap();
        let before = place.bot.patch(&place.webhook(id, ORIGINAL), json!({ "content": "x" })).await;
        assert_eq!((before.status, before.code()), (404, 10_015), "nothing was answered yet");
        place.answer(id, json!({ "type": 5, "data": { "flags": flags } })).await;
        assert_eq!(place.discord.outcome(id), Some(Outcome::Thinking));
        assert!(place.discord.answers_to(id)[0].is_loading());
        place.discord.advance(Duration::from_secs(10));
        let done = json!({ "content": "done", "flags": 64 - flags });
        let edited = place.bot.patch(&place.webhook(id, ORIGINAL), done).await;
        assert_eq!(edited.status, 200, "{}", edited.body);
        assert_eq!(edited.body["flags"], flags, "who sees it stays as it was deferred");
        assert!(edited.body["edited_timestamp"].is_null());
        assert_eq!(place.discord.outcome(id), Some(Outcome::Answered));
        let original = place.bot.get(&place.webhook(id, ORIGINAL)).await;
        assert_eq!(original.body["content"], "done");
    }
    assert_eq!(place.discord.messages(place.general).len(), 2);
    assert_eq!(place.discord.private_messages(place.general, place.alice).len(), 1);
}

#[tokio::test]
async fn the_gateway_tells_of_a_deferred_answer_and_of_what_becomes_of_it() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    place.answer(id, json!({ "type": 5 })).await;
    assert_eq!(socket.dispatch("MESSAGE_CREATE").await["flags"], 128);
    // Right after "thinking" a follow-up is what was thought of.
    let follow = place.bot.post(&place.webhook(id, ""), json!({ "content": "done" })).await;
    assert_eq!(follow.status, 200, "{}", follow.body);
    let updated = socket.dispatch("MESSAGE_UPDATE").await;
    assert_eq!((&updated["id"], &updated["flags"]), (&follow.body["id"], &json!(0)));
    assert_eq!(place.discord.answers_to(id).len(), 1);
}

#[tokio::test]
async fn an_answer_is_edited_and_deleted_by_its_token_alone() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let bare = Bot { token: "wrong".to_owned(), ..place.bot.clone() };
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    place.answer(id, json!({ "type": 4, "data": { "content": "draft" } })).await;
    let path = place.webhook(id, ORIGINAL);
    assert_eq!(bare.get(&path).await.status, 401, "a wrong token of the bot is still wrong");
    let url = format!("https://discord.com/api/v10{path}");
    let without = place.bot.client.request(Method::GET, url).send().await.unwrap();
    assert_eq!(without.status().as_u16(), 200, "none is needed");
    let edited = place.bot.patch(&path, json!({ "content": "final" })).await;
    assert!(edited.body["edited_timestamp"].is_string());
    assert_eq!(place.bot.delete(&path).await.status, 204);
    assert_eq!(place.bot.delete(&path).await.code(), 10_008);
    assert!(place.discord.answers_to(id).is_empty());
    let gone = place.discord.history(place.general).pop().unwrap();
    assert_eq!((gone.content.as_str(), gone.is_visible()), ("final", false));
}

#[tokio::test]
async fn the_original_of_an_update_is_the_message_itself_and_a_modal_has_none() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    place.answer(id, json!({ "type": 6 })).await;
    assert!(place.discord.answers_to(id).is_empty(), "the person sees nothing new");
    let done = json!({ "content": "allowed", "components": [] });
    let edited = place.bot.patch(&place.webhook(id, ORIGINAL), done).await;
    assert_eq!(edited.body["id"], message.to_string());
    assert_eq!(place.discord.message(message).unwrap().content, "allowed");
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "deny", place.alice).unwrap();
    place.answer(id, json!({ "type": 9, "data": crate::support::modal() })).await;
    assert_eq!(place.bot.get(&place.webhook(id, ORIGINAL)).await.code(), 10_008);
}

#[tokio::test]
async fn more_messages_follow_each_for_all_or_for_the_person() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    place.answer(id, json!({ "type": 4, "data": { "content": "one", "flags": 64 } })).await;
    let hook = place.webhook(id, "");
    let two = place.bot.post(&hook, json!({ "content": "two", "nonce": "n" })).await;
    assert_eq!(two.status, 200, "{}", two.body);
    assert!(two.body.get("nonce").is_none(), "a nonce means nothing here");
    let three = place.bot.post(&hook, json!({ "content": "three", "flags": 64 })).await;
    let texts: Vec<_> = place.discord.answers_to(id).into_iter().map(|it| it.content).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(place.discord.messages(place.general).len(), 2, "the question and the second");
    let path = format!("/messages/{}", three.body["id"].as_str().unwrap());
    let path = place.webhook(id, &path);
    assert_eq!(place.bot.patch(&path, json!({ "content": "3" })).await.body["content"], "3");
    assert_eq!(place.bot.delete(&path).await.status, 204);
    assert_eq!(place.bot.get(&path).await.code(), 10_008);
    let foreign = place.webhook(id, &format!("/messages/{message}"));
    assert_eq!(place.bot.get(&foreign).await.code(), 10_008, "not of this interaction");
    let empty = place.bot.post(&hook, json!({})).await;
    assert_eq!(empty.code(), 50_006);
}

#[tokio::test]
async fn after_fifteen_minutes_the_token_is_worth_nothing() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    place.answer(id, json!({ "type": 5 })).await;
    place.discord.advance(TOKEN_LIFE.saturating_sub(Duration::from_secs(60)));
    assert_eq!(place.bot.get(&place.webhook(id, ORIGINAL)).await.status, 200);
    place.discord.advance(Duration::from_secs(60));
    let answers = [
        place.bot.get(&place.webhook(id, ORIGINAL)).await,
        place.bot.patch(&place.webhook(id, ORIGINAL), json!({ "content": "x" })).await,
        place.bot.post(&place.webhook(id, ""), json!({ "content": "x" })).await,
    ];
    for late in answers {
        assert_eq!((late.status, late.code()), (401, 50_027));
    }
    assert_eq!(place.discord.outcome(id), Some(Outcome::Failed), "it thought for too long");
    let path = format!("/webhooks/{}/nonsense{ORIGINAL}", place.discord.bot());
    assert_eq!(place.bot.get(&path).await.code(), 50_027);
    let path = place.webhook(id, ORIGINAL).replace(&place.discord.bot().to_string(), "5");
    assert_eq!(place.bot.get(&path).await.code(), 10_015);
}
