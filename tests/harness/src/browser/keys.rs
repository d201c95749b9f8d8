//! What Chromium is told of a mouse and a keyboard. Pure.

use serde_json::{Value, json};

/// A click of the left button at a place.
pub(super) fn click(x: f64, y: f64) -> [Value; 3] {
    let at = |kind: &str, buttons: u8| {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 })
    };
    [at("mouseMoved", 0), at("mousePressed", 1), at("mouseReleased", 0)]
}

/// The mouse goes into the corner, where nothing is.
pub(super) fn away() -> Value {
    json!({ "type": "mouseMoved", "x": 1, "y": 1, "button": "none", "buttons": 0 })
}

/// A press of Enter.
pub(super) fn enter() -> [Value; 2] {
    let key = |kind: &str, text: &str| {
        json!({
            "type": kind,
            "key": "Enter",
            "code": "Enter",
            "text": text,
            "windowsVirtualKeyCode": 13,
        })
    };
    [key("keyDown", "\r"), key("keyUp", "")]
}
