//! What was once written is read for ever: each file of `golden/` parses, and prints as it stands.
//!
//! A golden file is never edited; a change of the wire is a new file.

use schemas::control::Controls;
use schemas::identity::{Identity, Twin};
use schemas::live::Live;
use schemas::presence::Presence;
use schemas::record::Record;
use schemas::request::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn holds<T: Serialize + DeserializeOwned>(file: &str) {
    let path = format!("{}/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value: T = schemas::from_json(&text).unwrap_or_else(|error| panic!("{file}: {error:?}"));
    let written: serde_json::Value =
        serde_json::from_slice(&schemas::to_json(&value)).expect("JSON");
    let golden: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(written, golden, "{file}");
}

#[test]
fn every_golden_file_is_read_and_written_as_it_stands() {
    let folder = format!("{}/golden", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        match name.split('-').next().unwrap_or_default() {
            "request" => holds::<Request>(&name),
            "record" => holds::<Record>(&name),
            "presence" => holds::<Presence>(&name),
            "live" => holds::<Live>(&name),
            "identity" => holds::<Identity>(&name),
            "twin" => holds::<Twin>(&name),
            "control" => holds::<Controls>(&name),
            other => panic!("{other}: no type of that name"),
        }
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} golden files were found");
}

#[test]
fn a_field_of_a_newer_writer_is_ignored() {
    let text = include_str!("../golden/presence-1.json").replacen('{', "{\"mood\": \"good\",", 1);
    schemas::from_json::<Presence>(text.as_bytes()).expect("it is read");
}
