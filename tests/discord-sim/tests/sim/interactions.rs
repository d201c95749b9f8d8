//! Buttons, menus and modals, and the bot's first answer.

use std::time::Duration;

use discord_sim::{
    ApiError, BOT_ID, Callback, ChannelId, InteractionKind, MessageId, Options, Outcome,
    Permissions,
};
use serde_json::{Value, json};

use crate::support::{DEADLINE, INTENTS, INTERACTION_WINDOW, Place, Socket, modal};

fn path_of(error: &ApiError) -> &str {
    let ApiError::InvalidField { path, .. } = error else { panic!("{error:?}") };
    path
}

#[tokio::test]
async fn a_pressed_button_is_told_with_who_where_and_on_what() {
    let place = Place::new().await;
    let dev = place.discord.role("dev");
    place.discord.give_role(place.alice, dev).unwrap();
    let thread = place.thread().await;
    let message = place.bot_asks(thread).await;
    // Interactions come without any intent.
    let (mut socket, _) = Socket::ready(&place.sim, 0).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    let told = socket.dispatch("INTERACTION_CREATE").await;
    assert_eq!((&told["id"], &told["type"]), (&json!(id), &json!(3)));
    assert_eq!(told["application_id"], BOT_ID.to_string());
    assert_eq!(told["token"], place.token_of(id));
    assert_eq!(told["data"], json!({ "custom_id": "allow", "component_type": 2 }));
    assert_eq!(told["guild_id"], place.discord.guild_id().to_string());
    assert_eq!(told["channel_id"], thread.to_string());
    assert_eq!(told["channel"]["parent_id"], place.general.to_string());
    assert_eq!(told["member"]["user"]["username"], "alice");
    assert_eq!(told["member"]["roles"], json!([dev]));
    assert_eq!(told["message"]["id"], message.to_string());
    assert_eq!(told["message"]["components"][0]["components"][0]["custom_id"], "allow");
    let asked = place.discord.interaction(id).unwrap();
    assert_eq!((asked.kind, asked.outcome), (InteractionKind::Press, Outcome::Waiting));
}

#[tokio::test]
async fn what_is_chosen_in_a_menu_is_told_and_must_be_offered() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    for wrong in [&[][..], &["d"], &["a", "a"], &["a", "b", "c"]] {
        let refused = place.discord.select(message, "pick", wrong, place.alice).unwrap_err();
        assert_eq!((refused.code(), path_of(&refused)), (50_035, "data"), "{wrong:?}");
    }
    place.discord.select(message, "pick", &["c", "a"], place.alice).unwrap();
    let data = socket.dispatch("INTERACTION_CREATE").await["data"].take();
    let expected = json!({ "custom_id": "pick", "component_type": 3, "values": ["c", "a"] });
    assert_eq!(data, expected);
}

#[tokio::test]
async fn a_menu_of_people_is_told_with_who_they_are() {
    let place = Place::new().await;
    let menu = json!([{ "type": 1, "components": [{ "type": 5, "custom_id": "who" }] }]);
    let path = format!("/channels/{}/messages", place.general);
    let posted = place.bot.post(&path, json!({ "components": menu })).await.body;
    let message = posted["id"].as_str().unwrap().parse().unwrap();
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let alice = place.alice.to_string();
    place.discord.select(message, "who", &[&alice], place.alice).unwrap();
    let data = socket.dispatch("INTERACTION_CREATE").await["data"].take();
    assert_eq!(data["resolved"]["users"][&alice]["username"], "alice");
    assert!(data["resolved"]["members"][&alice]["roles"].is_array());
    assert!(place.discord.select(message, "who", &["5"], place.alice).is_err());
}

#[tokio::test]
async fn only_what_is_shown_enabled_and_seen_can_be_used() {
    let place = Place::new().await;
    let (discord, alice) = (&place.discord, place.alice);
    let message = place.bot_asks(place.general).await;
    for (id, fits) in [("none", false), ("old", false), ("pick", false), ("allow", true)] {
        assert_eq!(discord.press(message, id, alice).is_ok(), fits, "{id}");
    }
    assert!(discord.select(message, "allow", &["a"], alice).is_err());
    discord.allow_everyone(Permissions(Permissions::USUAL.0 & !Permissions::VIEW_CHANNEL.0));
    assert_eq!(discord.press(message, "allow", alice), Err(ApiError::MissingAccess));
    discord.allow_everyone(Permissions::USUAL);
    discord.delete(message).unwrap();
    assert_eq!(discord.press(message, "allow", alice), Err(ApiError::UnknownMessage));
}

#[tokio::test]
async fn who_does_not_see_a_channel_uses_nothing_in_it() {
    let place = Place::new().await;
    let (discord, bob) = (&place.discord, place.discord.user("bob"));
    let thread = place.thread().await;
    let message = place.bot_asks(thread).await;
    discord.deny(place.general, bob, Permissions::VIEW_CHANNEL).unwrap();
    assert_eq!(discord.press(message, "allow", bob), Err(ApiError::MissingAccess));
    assert_eq!(discord.select(message, "pick", &["a"], bob), Err(ApiError::MissingAccess));
    assert!(discord.press(message, "allow", place.alice).is_ok(), "others do");
}

#[tokio::test]
async fn a_forged_press_is_told_as_it_was_forged_and_a_real_one_cannot_be_like_it() {
    let place = Place::new().await;
    let (thread, message) = (place.thread().await, place.bot_asks(place.general).await);
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let gone = place.bot_asks(place.general).await;
    place.discord.delete(gone).unwrap();
    for (at, on) in [(thread, message), (place.general, gone)] {
        let id = place.discord.forge_press((at, on), "allow", place.alice).unwrap();
        let told = socket.dispatch("INTERACTION_CREATE").await;
        assert_eq!((&told["id"], &told["channel_id"]), (&json!(id), &json!(at)));
        assert_eq!(told["data"]["custom_id"], "allow");
        // What the bot says first is taken, since Discord's own would be.
        place.answer(id, json!({ "type": 5, "data": { "flags": 64 } })).await;
    }
    assert_eq!(place.discord.press(gone, "allow", place.alice), Err(ApiError::UnknownMessage));
    let nowhere = place.discord.forge_press((ChannelId(5), message), "allow", place.alice);
    assert_eq!(nowhere, Err(ApiError::UnknownChannel));
    let never = place.discord.forge_press((thread, MessageId(5)), "allow", place.alice);
    assert_eq!(never, Err(ApiError::UnknownMessage));
}

#[tokio::test]
async fn a_message_for_all_is_in_the_history_and_one_for_the_person_is_not() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let bob = place.discord.user("bob");
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    for (flags, seen) in [(64, false), (0, true)] {
        let id = place.discord.press(message, "allow", place.alice).unwrap();
        let data = json!({ "content": "decided", "flags": flags });
        place.answer(id, json!({ "type": 4, "data": data })).await;
        let [answer] = &place.discord.answers_to(id)[..] else { panic!("one answer") };
        assert_eq!((answer.content.as_str(), answer.is_ephemeral()), ("decided", !seen));
        assert_eq!(place.discord.messages(place.general).len(), 1 + usize::from(seen));
        let path = format!("/channels/{}/messages/{}", place.general, answer.id);
        assert_eq!(place.bot.get(&path).await.status, if seen { 200 } else { 404 });
    }
    assert_eq!(place.discord.private_messages(place.general, place.alice).len(), 1);
    assert!(place.discord.private_messages(place.general, bob).is_empty());
    let created = socket.dispatch("MESSAGE_CREATE").await;
    assert_eq!(created["flags"], 0, "of the other one the gateway says nothing");
    assert_eq!(created["type"], 19);
    assert_eq!(created["message_reference"]["message_id"], message.to_string());
    assert_eq!(created["interaction_metadata"]["interacted_message_id"], message.to_string());
}

#[tokio::test]
async fn an_interaction_is_answered_once() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    let answer = json!({ "type": 4, "data": { "content": "one" } });
    place.answer(id, answer.clone()).await;
    let second = place.answers(id, answer.clone()).await;
    assert_eq!((second.status, second.code()), (400, 40_060));
    let says = "Interaction has already been acknowledged.";
    assert_eq!(second.body["message"], says);
    place.discord.advance(INTERACTION_WINDOW);
    assert_eq!(place.answers(id, answer.clone()).await.code(), 40_060, "also later");
    assert_eq!(place.discord.answers_to(id).len(), 1);
    let token = place.token_of(id);
    let unknown = place.bot.post(&format!("/interactions/5/{token}/callback"), answer).await;
    assert_eq!((unknown.status, unknown.code()), (404, 10_062));
}

#[tokio::test]
async fn when_its_time_is_over_the_interaction_failed_and_no_answer_is_taken() {
    assert_eq!(Options::default().interaction_window, Duration::from_secs(3));
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let in_time = place.discord.press(message, "allow", place.alice).unwrap();
    place.discord.advance(INTERACTION_WINDOW / 2);
    let late = place.discord.press(message, "deny", place.alice).unwrap();
    place.answer(in_time, json!({ "type": 6 })).await;
    place.discord.advance(INTERACTION_WINDOW);
    assert_eq!(place.discord.outcome(in_time), Some(Outcome::Answered));
    assert_eq!(place.discord.outcome(late), Some(Outcome::Failed));
    let refused = place.answers(late, json!({ "type": 6 })).await;
    assert_eq!((refused.status, refused.code()), (404, 10_062));
    let original = place.bot.get(&place.webhook(late, "/messages/@original")).await;
    assert_eq!((original.status, original.code()), (404, 10_015));
}

#[tokio::test]
async fn a_failed_interaction_wakes_whoever_waits_for_it() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    let failed = place.discord.wait_for("failure", DEADLINE, |it| {
        let asked = it.guild.interaction(id)?;
        (asked.outcome == Outcome::Failed).then_some(asked.custom_id.clone())
    });
    let later = async { place.discord.advance(INTERACTION_WINDOW) };
    let (found, ()) = tokio::join!(failed, later);
    assert_eq!(found.unwrap(), "allow");
    let text = place.discord.transcript();
    assert!(text.contains("alice: Press \"allow\" → Failed"), "{text}");
}

#[tokio::test]
async fn an_interaction_fails_by_itself_though_nothing_else_happens() {
    let window = Duration::from_millis(20);
    let place = Place::with(Options { interaction_window: window, ..Options::default() }).await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    let failed = place.discord.wait_for("failure", DEADLINE, |it| {
        let asked = it.guild.interaction(id)?;
        (asked.outcome == Outcome::Failed).then_some(())
    });
    failed.await.unwrap();
}

#[tokio::test]
async fn a_message_is_updated_by_the_answer_for_all_who_see_it() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    let data = json!({ "content": "alice allowed it", "components": [] });
    place.answer(id, json!({ "type": 7, "data": data })).await;
    let updated = socket.dispatch("MESSAGE_UPDATE").await;
    assert_eq!(updated["content"], "alice allowed it");
    assert_eq!(updated["components"], json!([]));
    let shown = place.discord.message(message).unwrap();
    assert_eq!(shown.before[0].content, "May I?");
    assert!(place.discord.press(message, "allow", place.alice).is_err(), "the button is gone");
    // A message for one person is updated as well, and nobody else hears of it.
    let again = place.bot_asks(place.general).await;
    let id = place.discord.press(again, "allow", place.alice).unwrap();
    let button = json!({ "type": 2, "style": 4, "label": "Sure", "custom_id": "sure" });
    let rows = json!([{ "type": 1, "components": [button] }]);
    let data = json!({ "content": "Sure?", "flags": 64, "components": rows });
    place.answer(id, json!({ "type": 4, "data": data })).await;
    let private = place.discord.answers_to(id)[0].id;
    let bob = place.discord.user("bob");
    assert_eq!(place.discord.press(private, "sure", bob), Err(ApiError::UnknownMessage));
    let sure = place.discord.press(private, "sure", place.alice).unwrap();
    let data = json!({ "content": "Done", "components": [] });
    place.answer(sure, json!({ "type": 7, "data": data })).await;
    let seen = place.discord.private_messages(place.general, place.alice);
    assert_eq!((seen.len(), seen[0].content.as_str()), (1, "Done"));
    assert!(seen[0].is_ephemeral());
}

#[tokio::test]
async fn an_answer_that_discord_refuses_leaves_the_interaction_open() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "allow", place.alice).unwrap();
    let long = json!({ "type": 4, "data": { "content": "x".repeat(2001) } });
    let empty = json!({ "type": 4, "data": {} });
    let bad_modal = json!({ "type": 9, "data": { "custom_id": "m", "title": "t" } });
    for (body, code) in [(long, 50_035), (empty, 50_006), (bad_modal, 50_035)] {
        let refused = place.answers(id, body).await;
        assert_eq!((refused.status, refused.code()), (400, code));
    }
    let unknown = place.answers(id, json!({ "type": 8 })).await;
    assert!(unknown.body["errors"]["type"].is_object(), "{}", unknown.body);
    assert_eq!(place.discord.outcome(id), Some(Outcome::Waiting));
    let with = format!("/interactions/{id}/{}/callback?with_response=true", place.token_of(id));
    let taken = place.bot.post(&with, json!({ "type": 4, "data": { "content": "x" } })).await;
    assert_eq!(taken.status, 200);
    assert_eq!(taken.body["resource"]["message"]["content"], "x");
    assert_eq!(taken.body["interaction"]["response_message_ephemeral"], false);
}

#[tokio::test]
async fn a_modal_is_shown_handed_in_and_told() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let (mut socket, _) = Socket::ready(&place.sim, INTENTS).await;
    let id = place.discord.press(message, "deny", place.alice).unwrap();
    socket.dispatch("INTERACTION_CREATE").await;
    place.answer(id, json!({ "type": 9, "data": modal() })).await;
    let shown = place.discord.modal_of(id).unwrap();
    assert_eq!((shown.title.as_str(), shown.inputs[0].custom_id.as_str()), ("Deny", "why"));
    for wrong in [&[][..], &[("why", "")], &[("why", "far longer than 20 characters")]] {
        let refused = place.discord.submit_modal(id, wrong).unwrap_err();
        assert_eq!(path_of(&refused), "data.why");
    }
    let submitted = place.discord.submit_modal(id, &[("why", "too risky")]).unwrap();
    let told = socket.dispatch("INTERACTION_CREATE").await;
    assert_eq!((&told["id"], &told["type"]), (&json!(submitted), &json!(5)));
    assert_eq!(told["data"]["custom_id"], "reason");
    assert_eq!(told["data"]["components"][0]["components"][0]["value"], "too risky");
    assert_eq!(told["message"]["id"], message.to_string());
    let again = place.answers(submitted, json!({ "type": 9, "data": modal() })).await;
    assert_eq!(again.code(), 50_035, "a modal does not follow a modal");
    place.answer(submitted, json!({ "type": 7, "data": { "components": [] } })).await;
    assert!(place.discord.message(message).unwrap().components.is_empty());
    let twice = place.discord.submit_modal(id, &[("why", "again")]);
    assert_eq!(twice, Err(ApiError::UnknownInteraction));
    let asked = place.discord.interaction(submitted).unwrap();
    assert_eq!((asked.from, asked.callback), (Some(id), Some(Callback::Update)));
}

#[tokio::test]
async fn a_modal_whose_submission_failed_is_open_again_and_a_closed_one_is_not() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let id = place.discord.press(message, "deny", place.alice).unwrap();
    place.answer(id, json!({ "type": 9, "data": modal() })).await;
    let lost = place.discord.submit_modal(id, &[("why", "x")]).unwrap();
    assert_eq!(place.discord.modal_of(id), None);
    place.discord.advance(INTERACTION_WINDOW);
    assert_eq!(place.discord.outcome(lost), Some(Outcome::Failed));
    assert!(place.discord.modal_of(id).is_some());
    place.discord.submit_modal(id, &[("why", "x")]).unwrap();
    let other = place.discord.press(message, "deny", place.alice).unwrap();
    place.answer(other, json!({ "type": 9, "data": modal() })).await;
    place.discord.close_modal(other).unwrap();
    assert!(place.discord.submit_modal(other, &[("why", "x")]).is_err());
}

#[tokio::test]
async fn an_answer_finds_its_thread_archived_locked_or_gone() {
    let place = Place::new().await;
    let thread = place.thread().await;
    let message = place.bot_asks(thread).await;
    let press = || place.discord.press(message, "allow", place.alice).unwrap();
    let (update, private) = (press(), press());
    let says = |flags: u64| json!({ "type": 4, "data": { "content": "x", "flags": flags } });
    place.discord.archive(thread).unwrap();
    let edit = json!({ "type": 7, "data": { "components": [] } });
    assert_eq!(place.answers(update, edit.clone()).await.code(), 50_083);
    place.answer(private, says(64)).await;
    assert_eq!(place.answers(update, edit).await.code(), 50_083, "one for alice wakes nothing");
    place.answer(update, says(0)).await;
    assert_eq!(place.discord.messages(thread).len(), 2, "a message for all wakes the thread");
    place.discord.lock(thread, true).unwrap();
    let (locked, gone) = (press(), press());
    assert_eq!(place.answers(locked, says(0)).await.code(), 160_005);
    place.answer(locked, says(64)).await;
    place.discord.delete_channel(thread).unwrap();
    assert_eq!(place.answers(gone, says(64)).await.code(), 10_003);
    let refused = place.discord.press(message, "allow", place.alice);
    assert_eq!(refused, Err(ApiError::UnknownChannel));
}

#[tokio::test]
async fn components_that_discord_refuses_are_refused_with_their_path() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    let button = json!({ "type": 2, "style": 1, "custom_id": "x", "label": "x".repeat(81) });
    let rows = json!([{ "type": 1, "components": [button] }]);
    let refused = place.bot.post(&path, json!({ "content": "x", "components": rows })).await;
    assert_eq!((refused.status, refused.code()), (400, 50_035));
    let label = &refused.body["errors"]["components"]["0"]["components"]["0"]["label"];
    assert_eq!(label["_errors"][0]["code"], "BASE_TYPE_MAX_LENGTH");
    let own = place.bot_asks(place.general).await;
    let edited = place.bot.patch(&format!("{path}/{own}"), json!({ "components": rows })).await;
    assert_eq!(edited.code(), 50_035, "nor by an edit");
    let id = place.discord.press(own, "allow", place.alice).unwrap();
    let answered = place.answers(id, json!({ "type": 7, "data": { "components": rows } })).await;
    let at: Value = answered.body["errors"]["data"]["components"]["0"].clone();
    assert!(at.is_object(), "nor by an answer: {}", answered.body);
}
