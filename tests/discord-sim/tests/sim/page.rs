//! The page and what is behind it.

use std::time::Duration;

use discord_sim::{InteractionId, NewFile, Permissions, UserId};
use reqwest_serenity::multipart::{Form, Part};
use reqwest_serenity::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, INTERACTION_WINDOW, Place, modal, read};

async fn ask(request: RequestBuilder) -> Answer {
    read(request.timeout(DEADLINE).send().await.unwrap()).await.unwrap()
}

fn say(place: &Place, text: &str) -> String {
    json!({ "channel": place.general, "user": place.alice, "text": text }).to_string()
}

#[tokio::test]
async fn somebody_reads_and_writes_at_the_page() {
    let place = Place::new().await;
    let url = &place.sim.page_url;
    let client = Client::new();
    let page = ask(client.get(url)).await;
    assert_eq!(page.status, 200);
    assert!(page.body.as_str().unwrap().contains("/page.js"));
    let script = ask(client.get(format!("{url}page.js"))).await;
    assert!(script.body.as_str().unwrap().contains("EventSource"));
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(ask(client.get(format!("{url}page.css"))).await.status, 200);
    let state = ask(client.get(format!("{url}sim/state"))).await.body;
    assert_eq!(state["users"][0]["name"], "alice");
    assert_eq!(state["channels"][0]["name"], "general");
    let post = client.post(format!("{url}sim/say")).header("Content-Type", "application/json");
    let said = ask(post.body(say(&place, "<b>hello</b>"))).await;
    assert_eq!(said.status, 200);
    place.bot_says(place.general, "answer").await;
    let messages = ask(client.get(format!("{url}sim/messages/{}", place.general))).await.body;
    assert_eq!(messages[0]["content"], "<b>hello</b>");
    assert_eq!((&messages[1]["author"], &messages[1]["bot"]), (&json!("holdfast"), &json!(true)));
    let post = client.post(format!("{url}sim/say")).header("Content-Type", "application/json");
    let refused = ask(post.body(say(&place, ""))).await;
    assert_eq!(refused.code(), 50_006);
    let nowhere = ask(client.get(format!("{url}sim/messages/5"))).await;
    assert_eq!(nowhere.status, 404);
}

#[tokio::test]
async fn a_person_reacts_at_the_page() {
    let place = Place::new().await;
    let message = place.discord.say(place.general, place.alice, "hello").unwrap();
    let body = json!({ "message": message, "user": place.alice, "emoji": "⏹️" });
    let post = Client::new().post(format!("{}sim/react", place.sim.page_url));
    let post = post.header("Content-Type", "application/json").body(body.to_string());
    assert_eq!(ask(post).await.status, 204);
    assert!(place.discord.message(message).unwrap().has_reaction(place.alice, "⏹️"));
}

/// What a person does at the page; the answer.
async fn act(place: &Place, path: &str, body: Value) -> Answer {
    let post = Client::new().post(format!("{}sim/{path}", place.sim.page_url));
    ask(post.header("Content-Type", "application/json").body(body.to_string())).await
}

/// What the page shows of the channel to a person.
async fn seen_by(place: &Place, user: UserId) -> Value {
    let url = format!("{}sim/messages/{}?user={user}", place.sim.page_url, place.general);
    ask(Client::new().get(url)).await.body
}

#[tokio::test]
async fn a_person_edits_answers_and_deletes_at_the_page() {
    let place = Place::new().await;
    let first = place.discord.say(place.general, place.alice, "frist").unwrap();
    let edit = |user| json!({ "message": first, "user": user, "text": "first" });
    let bob = place.discord.user("bob");
    assert_eq!(act(&place, "edit", edit(bob)).await.code(), 50_005, "it is not his");
    assert_eq!(act(&place, "edit", edit(place.alice)).await.status, 204);
    let reply = json!({ "channel": place.general, "user": place.alice, "text": "second",
        "reply_to": first });
    assert_eq!(act(&place, "say", reply).await.status, 200);
    let shown = seen_by(&place, place.alice).await;
    assert_eq!((&shown[0]["content"], &shown[0]["edited"]), (&json!("first"), &json!(true)));
    assert_eq!(shown[0]["before"], json!(["frist"]));
    assert_eq!(shown[1]["reply_to"], first.to_string());
    assert_eq!(shown[1]["answers"], "alice: first");
    let delete = |user| json!({ "message": first, "user": user });
    assert_eq!(act(&place, "delete", delete(bob)).await.code(), 50_013);
    assert_eq!(act(&place, "delete", delete(place.alice)).await.status, 204);
    let shown = seen_by(&place, place.alice).await;
    assert_eq!(shown[0]["content"], "second");
    assert_eq!(shown[0]["answers"], "a message that was deleted");
    let react = json!({ "message": first, "user": place.alice, "emoji": "✅" });
    assert_eq!(act(&place, "react", react).await.code(), 10_008, "it is gone");
}

#[tokio::test]
async fn buttons_menus_and_modals_are_used_at_the_page_and_each_person_sees_the_own_answers() {
    let place = Place::new().await;
    let message = place.bot_asks(place.general).await;
    let (alice, bob) = (place.alice, place.discord.user("bob"));
    let press = json!({ "message": message, "user": alice, "custom_id": "deny" });
    let pressed = act(&place, "press", press).await;
    assert_eq!(pressed.status, 200, "{}", pressed.body);
    let id: InteractionId = pressed.body["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(seen_by(&place, alice).await[0]["last_use"]["outcome"], "waiting");
    assert_eq!(seen_by(&place, bob).await[0]["last_use"], Value::Null);
    place.answer(id, json!({ "type": 9, "data": modal() })).await;
    let modals = format!("{}sim/modals?user=", place.sim.page_url);
    let shown = ask(Client::new().get(format!("{modals}{alice}"))).await.body;
    assert_eq!(shown[0]["modal"]["title"], "Deny");
    assert_eq!(ask(Client::new().get(format!("{modals}{bob}"))).await.body, json!([]));
    let submit = json!({ "interaction": id, "texts": [["why", "too risky"]] });
    let submitted = act(&place, "submit", submit).await.body;
    let id: InteractionId = submitted["id"].as_str().unwrap().parse().unwrap();
    place.answer(id, json!({ "type": 4, "data": { "content": "noted", "flags": 64 } })).await;
    let last = seen_by(&place, alice).await[1].take();
    assert_eq!((&last["content"], &last["ephemeral"]), (&json!("noted"), &json!(true)));
    assert_eq!(seen_by(&place, bob).await.as_array().unwrap().len(), 1);
    let follow = json!({ "content": "for all" });
    assert_eq!(place.bot.post(&place.webhook(id, ""), follow).await.status, 200);
    let last = seen_by(&place, bob).await[1].take();
    assert_eq!(
        (&last["content"], &last["answers"]),
        (&json!("for all"), &json!("a message for one person"))
    );
    let select = json!({ "message": message, "user": bob, "custom_id": "pick", "values": ["a"] });
    assert_eq!(act(&place, "select", select).await.status, 200);
    place.discord.advance(INTERACTION_WINDOW);
    assert_eq!(seen_by(&place, bob).await[0]["last_use"]["outcome"], "failed");
    let wrong = json!({ "message": message, "user": bob, "custom_id": "none" });
    assert_eq!(act(&place, "press", wrong).await.code(), 50_035);
}

#[tokio::test]
async fn a_file_is_saved_from_the_page_and_only_an_image_is_shown() {
    let place = Place::new().await;
    let page = NewFile::text("page.html", "<script>alert(1)</script>");
    let image = NewFile {
        filename: "a.png".to_owned(),
        content_type: Some("image/png".to_owned()),
        bytes: vec![1, 2, 3].into(),
    };
    let files = vec![page, image];
    place.discord.say_with_files(place.general, place.alice, "", files).unwrap();
    let shown = seen_by(&place, place.alice).await[0]["files"].take();
    let get = async |file: &Value| {
        let path = file["url"].as_str().unwrap().trim_start_matches('/');
        ask(Client::new().get(format!("{}{path}", place.sim.page_url))).await
    };
    let (saved, seen) = (get(&shown[0]).await, get(&shown[1]).await);
    assert_eq!(saved.header("content-type"), "application/octet-stream");
    assert_eq!(saved.header("content-disposition"), "attachment; filename=\"page.html\"");
    assert_eq!(seen.header("content-type"), "image/png");
    assert_eq!((&shown[0]["image"], &shown[1]["image"]), (&json!(false), &json!(true)));
    assert_eq!(seen.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn files_are_sent_from_the_page_and_from_no_other() {
    let place = Place::new().await;
    let form = |name: &str| {
        let part = Part::bytes(vec![7; 3_000_000]).file_name(name.to_owned());
        Form::new().text("payload_json", say(&place, "with a file")).part("files[0]", part)
    };
    let own = place.sim.page_url.trim_end_matches('/').to_owned();
    let post = || Client::new().post(format!("{own}/sim/say"));
    assert_eq!(ask(post().multipart(form("a.txt"))).await.status, 403, "from who knows where");
    let elsewhere = post().header("Origin", "https://evil.example");
    assert_eq!(ask(elsewhere.multipart(form("a.txt"))).await.status, 403);
    let sent = ask(post().header("Origin", own.as_str()).multipart(form("../../x"))).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    let said = &place.discord.messages(place.general)[0];
    assert_eq!((said.content.as_str(), said.attachments.len()), ("with a file", 1));
    assert_eq!(
        (said.attachments[0].filename.as_str(), said.attachments[0].size),
        (".._.._x", 3_000_000)
    );
}

/// What the page knows of the channels that somebody sees.
async fn state_of(place: &Place, user: UserId) -> Value {
    ask(Client::new().get(format!("{}sim/state?user={user}", place.sim.page_url))).await.body
}

#[tokio::test]
async fn who_does_not_see_a_channel_neither_reads_nor_writes_in_it_at_the_page() {
    let place = Place::new().await;
    let bob = place.discord.user("bob");
    place.discord.deny(place.general, bob, Permissions::VIEW_CHANNEL).unwrap();
    let thread = place.thread().await;
    assert_eq!(state_of(&place, bob).await["channels"], json!([]));
    assert_eq!(state_of(&place, place.alice).await["channels"].as_array().unwrap().len(), 2);
    let url = format!("{}sim/messages/{thread}?user={bob}", place.sim.page_url);
    assert_eq!(ask(Client::new().get(url)).await.code(), 50_001);
    let said = json!({ "channel": thread, "user": bob, "text": "hello" });
    assert_eq!(act(&place, "say", said).await.code(), 50_001);
    place.discord.deny(place.general, bob, Permissions::SEND_MESSAGES_IN_THREADS).unwrap();
    let said = json!({ "channel": thread, "user": bob, "text": "hello" });
    assert_eq!(act(&place, "say", said).await.code(), 50_013, "he only reads");
}

#[tokio::test]
async fn a_thread_is_started_named_archived_locked_and_deleted_at_the_page() {
    let place = Place::new().await;
    let (alice, message) =
        (place.alice, place.discord.say(place.general, place.alice, "question").unwrap());
    let start = json!({ "message": message, "user": alice, "name": "mine" });
    let thread = act(&place, "start", start).await.body["id"].clone();
    assert_eq!(thread, json!(message));
    let change = async |what: Value| {
        let mut body = json!({ "channel": thread, "user": alice });
        body.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        act(&place, "thread", body).await.status
    };
    let url = format!("{}sim/messages/{message}?user={alice}", place.sim.page_url);
    let first = ask(Client::new().get(url)).await.body[0].take();
    assert_eq!(first["starter"]["content"], "question", "the thread begins with it");
    let shown = async || state_of(&place, alice).await["channels"].get(1).cloned();
    assert_eq!(change(json!({ "name": "ours" })).await, 204);
    assert_eq!(change(json!({ "archived": true, "locked": true })).await, 204);
    let now = shown().await.unwrap();
    assert_eq!(
        (&now["name"], &now["archived"], &now["locked"]),
        (&json!("ours"), &json!(true), &json!(true))
    );
    assert_eq!(change(json!({ "name": "x" })).await, 400, "it is archived");
    let remove = json!({ "channel": thread, "user": alice });
    assert_eq!(act(&place, "remove", remove).await.status, 204);
    assert_eq!(shown().await, None);
}

#[tokio::test]
async fn people_and_roles_are_added_and_taken_at_the_page() {
    let place = Place::new().await;
    let bob = act(&place, "join", json!({ "name": "bob" })).await.body["id"].clone();
    let role = |has: bool| json!({ "user": bob, "role": "dev", "has": has });
    let roles = async || {
        let users = state_of(&place, place.alice).await["users"].take();
        users.as_array().unwrap().iter().find(|it| it["id"] == bob).unwrap()["roles"].clone()
    };
    assert_eq!(act(&place, "role", role(true)).await.status, 204);
    assert_eq!(roles().await, json!([place.discord.role("dev")]));
    assert_eq!(act(&place, "role", role(false)).await.status, 204);
    assert_eq!(roles().await, json!([]));
}

#[tokio::test]
async fn who_types_is_shown_until_that_one_wrote_or_ten_seconds_are_over() {
    let place = Place::new().await;
    let typing = async || state_of(&place, place.alice).await["channels"][0]["typing"].take();
    let path = format!("/channels/{}/typing", place.general);
    let types = async || assert_eq!(place.bot.post(&path, json!({})).await.status, 204);
    assert_eq!(typing().await, json!([]));
    types().await;
    assert_eq!(typing().await[0]["name"], "holdfast");
    place.discord.say(place.general, place.alice, "and I do not").unwrap();
    assert_eq!(typing().await[0]["name"], "holdfast");
    place.bot_says(place.general, "there").await;
    assert_eq!(typing().await, json!([]));
    types().await;
    place.discord.advance(Duration::from_secs(10));
    assert_eq!(typing().await, json!([]));
}

#[tokio::test]
async fn a_change_is_heard_live() {
    let place = Place::new().await;
    let feed = Client::new().get(format!("{}sim/events", place.sim.page_url));
    let mut feed = feed.send().await.unwrap();
    let mut next = async || {
        let chunk = tokio::time::timeout(DEADLINE, feed.chunk()).await.unwrap();
        String::from_utf8(chunk.unwrap().unwrap().to_vec()).unwrap()
    };
    let first = next().await;
    assert!(first.starts_with("data: "), "{first}");
    place.discord.say(place.general, place.alice, "hello").unwrap();
    assert_ne!(next().await, first);
}

#[tokio::test]
async fn a_page_of_somebody_else_is_refused() {
    let place = Place::new().await;
    let client = Client::new();
    let post = || {
        let request = client.post(format!("{}sim/say", place.sim.page_url));
        request.body(say(&place, "forged"))
    };
    let json = |request: RequestBuilder| request.header("Content-Type", "application/json");
    let own = place.sim.page_url.trim_end_matches('/').to_owned();
    assert_eq!(ask(json(post()).header("Origin", "https://evil.example")).await.status, 403);
    assert_eq!(ask(json(post()).header("Host", "evil.example")).await.status, 403);
    assert_eq!(ask(post().header("Content-Type", "text/plain")).await.status, 403);
    assert!(place.discord.messages(place.general).is_empty());
    assert_eq!(ask(json(post()).header("Origin", own)).await.status, 200);
    let state = client.get(format!("{}sim/state", place.sim.page_url));
    assert_eq!(ask(state.header("Host", "evil.example:80")).await.status, 403);
}
