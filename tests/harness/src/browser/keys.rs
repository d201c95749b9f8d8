//! What Chromium is told of a mouse and a keyboard. Pure.

use serde_json::{Value, json};

/// A press of the left button at a place.
pub(super) fn press(x: f64, y: f64) -> [Value; 2] {
    [mouse("mouseMoved", 0, x, y), mouse("mousePressed", 1, x, y)]
}

/// The left button is let go there.
pub(super) fn release(x: f64, y: f64) -> Value {
    mouse("mouseReleased", 0, x, y)
}

fn mouse(kind: &str, buttons: u8, x: f64, y: f64) -> Value {
    let button = if kind == "mouseMoved" { "none" } else { "left" };
    json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 })
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
