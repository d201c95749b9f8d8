//! Faults on command.

use std::time::Duration;

use discord_sim::{ApiError, FaultKind, FaultRule};
use reqwest_serenity::Method;
use serde_json::json;

use crate::support::{DEADLINE, Place};

const POSTS: &str = "/channels/{id}/messages";

#[tokio::test]
async fn a_status_before_the_effect_has_none_and_after_it_has_one() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    place.discord.fault(FaultRule::once("POST", POSTS, FaultKind::StatusBefore(502)));
    place.discord.fault(FaultRule::once("POST", POSTS, FaultKind::StatusAfter(502)));
    for shown in [0, 1] {
        let answer = place.bot.post(&path, json!({ "content": "x" })).await;
        assert_eq!(answer.status, 502);
        assert!(answer.body.is_string(), "a proxy's page, no JSON of Discord");
        assert_eq!(place.discord.messages(place.general).len(), shown);
    }
    assert_eq!(place.bot.post(&path, json!({ "content": "x" })).await.status, 200);
    assert_eq!(place.discord.requests_of(&format!("POST {POSTS}")), 3);
}

#[tokio::test]
async fn a_connection_is_cut_before_the_effect_or_after_it() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    for (kind, shown) in [(FaultKind::CutBefore, 0), (FaultKind::CutAfter, 1)] {
        place.discord.fault(FaultRule::once("POST", POSTS, kind));
        let cut = place.bot.send(Method::POST, &path, Some(json!({ "content": "x" }))).await;
        let error = cut.unwrap_err();
        assert!(!error.is_timeout(), "{error}");
        assert_eq!(place.discord.messages(place.general).len(), shown);
    }
}

#[tokio::test]
async fn a_refusal_of_choice_carries_discords_code() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    place.discord.fault(FaultRule::once("POST", POSTS, FaultKind::Refuse(ApiError::MissingAccess)));
    place.discord.fault(FaultRule::once("POST", POSTS, FaultKind::StatusBefore(403)));
    let answer = place.bot.post(&path, json!({ "content": "x" })).await;
    assert_eq!((answer.status, answer.code()), (403, 50_001));
    let answer = place.bot.post(&path, json!({ "content": "x" })).await;
    assert_eq!((answer.status, answer.code()), (403, 0));
}

#[tokio::test]
async fn a_limit_on_command_says_how_long_to_wait() {
    let place = Place::new().await;
    let retry_after = Duration::from_millis(1500);
    let rule = FaultRule::once("GET", "/gateway", FaultKind::RateLimited { retry_after });
    place.discord.fault(rule);
    let answer = place.bot.get("/gateway").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1.500"));
}

#[tokio::test]
async fn a_limit_says_whose_it_is() {
    let place = Place::new().await;
    let retry_after = Duration::from_secs(2);
    for (kind, scope, global) in [
        (FaultKind::RateLimited { retry_after }, "user", false),
        (FaultKind::RateLimitedByOthers { retry_after }, "shared", false),
        (FaultKind::RateLimitedGlobally { retry_after }, "global", true),
    ] {
        place.discord.fault(FaultRule::once("GET", "/gateway", kind));
        let answer = place.bot.get("/gateway").await;
        assert_eq!((answer.status, answer.header("x-ratelimit-scope")), (429, scope));
        assert_eq!(answer.body["global"], global);
        assert_eq!(answer.body["retry_after"], 2.0);
        assert_eq!(place.bot.get("/gateway").await.status, 429, "it is not over");
        place.discord.advance(retry_after);
        assert_eq!(place.bot.get("/gateway").await.status, 200);
    }
    assert_eq!(place.discord.view(|it| it.early_requests), 3);
}

#[tokio::test]
async fn what_stands_in_between_answers_with_a_page_and_an_answer_may_be_garbled() {
    let place = Place::new().await;
    let path = format!("/channels/{}/messages", place.general);
    place.discord.fault(FaultRule::once("POST", POSTS, FaultKind::PageBefore(403)));
    let answer = place.bot.post(&path, json!({ "content": "x" })).await;
    assert!(answer.status == 403 && answer.body.is_string(), "{}", answer.body);
    assert_eq!(place.discord.messages(place.general).len(), 0);
    place.discord.fault(FaultRule::once("POST", POSTS, FaultKind::GarbledAfter));
    let answer = place.bot.post(&path, json!({ "content": "x" })).await;
    assert!(answer.status == 200 && answer.body.is_string(), "{}", answer.body);
    assert_eq!(place.discord.messages(place.general).len(), 1);
}

#[tokio::test]
async fn a_delayed_request_is_answered_in_the_end_and_others_are_not_held_up() {
    let place = Place::new().await;
    let kind = FaultKind::Delay(Duration::from_millis(50));
    place.discord.fault(FaultRule::once("POST", POSTS, kind).times(2));
    let path = format!("/channels/{}/messages", place.general);
    let slow = place.bot.post(&path, json!({ "content": "slow" }));
    let quick = place.bot.get("/gateway");
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((slow.status, quick.status), (200, 200));
    assert_eq!(place.discord.view(|it| it.faults_left), 1);
    place.discord.clear_faults();
    assert_eq!(place.discord.view(|it| it.faults_left), 0);
}

#[tokio::test]
async fn what_is_answered_late_has_happened_at_once() {
    let place = Place::new().await;
    let late = FaultKind::AnswerLate(DEADLINE);
    place.discord.fault(FaultRule::once("POST", POSTS, late));
    let path = format!("/channels/{}/messages", place.general);
    let posting = place.bot.post(&path, json!({ "content": "x" }));
    let shown = place.discord.wait_for("the message", DEADLINE, |it| {
        it.guild.messages(place.general).next().map(|_| ())
    });
    tokio::select! {
        biased;
        answer = posting => panic!("{} came too soon", answer.status),
        shown = shown => shown.unwrap(),
    }
}

#[tokio::test]
async fn rest_can_be_away_as_a_whole() {
    let place = Place::new().await;
    assert_eq!(place.bot.get("/gateway").await.status, 200);
    place.discord.unavailable();
    assert_eq!(place.bot.get("/gateway").await.status, 503);
    place.discord.stop_accepting();
    // The first is over the open connection, the second over a new one.
    for _ in 0..2 {
        let refused = place.bot.send(Method::GET, "/gateway", None).await;
        assert!(!refused.unwrap_err().is_timeout());
    }
    place.discord.resume();
    assert_eq!(place.bot.get("/gateway").await.status, 200);
}

#[tokio::test]
async fn a_wait_ends_with_the_change_or_with_the_whole_guild_in_its_error() {
    let place = Place::new().await;
    let general = place.general;
    let waiting = place.discord.wait_for("the answer", DEADLINE, |it| {
        it.guild.messages(general).find(|it| it.is_bot).map(|it| it.content.clone())
    });
    let (found, _) = tokio::join!(waiting, place.bot_says(general, "answer"));
    assert_eq!(found.unwrap(), "answer");
    let never = place.discord.wait_for("a miracle", Duration::ZERO, |_| None::<()>).await;
    let error = never.unwrap_err().to_string();
    assert!(error.contains("a miracle") && error.contains("#general"), "{error}");
    assert!(error.contains("holdfast: \"answer\""), "{error}");
}
