//! The page and what is behind it.

use reqwest_serenity::{Client, RequestBuilder};
use serde_json::json;

use crate::support::{Answer, DEADLINE, Place, read};

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
    assert!(page.body.as_str().unwrap().contains("EventSource"));
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
