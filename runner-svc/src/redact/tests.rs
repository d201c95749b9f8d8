//! What is redacted, wherever it stands, and what is not.

use proptest::prelude::*;

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn own(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Tokens as they look, each in halves, so that nobody takes this file for a leak.
fn tokens() -> Vec<String> {
    let many = |c: &str, times: usize| c.repeat(times);
    vec![
        format!("MTk4NjIyNDgzNDcxOTI1MjQ4.{}.{}", "Gx3YzQ", many("aB3_x", 6)),
        format!("sk-{}", "ant-api03-abcdefghijklmnop_-QRST"),
        format!("sk-{}", "proj-abcdefghijklmnopqrstuvwx"),
        format!("sk-{}", many("a1B2", 12)),
        format!("AIza{}", many("a1B2c", 7)),
        format!("hf_{}", many("a1B2c", 7)),
        format!("ghp_{}", many("a1B2", 9)),
        format!("github_pat_{}", many("a1B2_", 12)),
        format!("glpat-{}", many("a1B2", 5)),
        format!("AKIA{}", many("A1B2", 4)),
        format!("xoxb-{}", "1234567890-abcdefghij"),
        format!("xapp-1-{}", "A0123456789-abcdef"),
        format!("sk_live_{}", many("a1B2", 6)),
        format!("eyJ{}.eyJ{}.{}", many("a1B2", 4), many("c3D4", 4), many("e5F6", 6)),
        format!("SU{}", many("AB2CD3EF", 7)),
        format!("-----BEGIN RSA {0} KEY-----\nMIIE\nx+/=\n-----END RSA {0} KEY-----", "PRIVATE"),
        format!("-----BEGIN OPENSSH {} KEY-----\nb3BlbnNza", "PRIVATE"),
    ]
}

#[test]
fn every_kind_of_token_is_redacted() {
    for token in tokens() {
        let text = format!("it is `{token}`");
        let redacted = Redactor::default().own(&text);
        assert!(redacted.starts_with("it is `[redacted]"), "{redacted}");
        assert!(!redacted.contains(&token[token.len() / 2..]), "{redacted}");
    }
}

#[test]
fn what_stands_around_a_secret_stays() {
    let redactor = Redactor::default();
    for (text, redacted) in [
        ("postgres://ada:pa55word@db/x", "postgres://ada:[redacted]@db/x"),
        (
            "https://discord.com/api/webhooks/7/abcdefghijklmnopqrstuv_-1 ok",
            "https://discord.com/api/webhooks/7/[redacted] ok",
        ),
        (
            "AWS_SECRET_ACCESS_KEY=abcdefghijklmnopqrstuvwxyzABCDEFGHIJ/+12",
            "AWS_SECRET_ACCESS_KEY=[redacted]",
        ),
        (
            "https://hooks.slack.com/services/T00000000/B00000000/abcdefgh",
            "https://hooks.slack.com/services/[redacted]",
        ),
    ] {
        assert_eq!(redactor.own(text), redacted);
    }
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let redactor = Redactor::new(
        &env(&[("PWD", "/home/ada/a-project-of-hers"), ("EDITOR", "emacs"), ("X", "short")]),
        &own(&[("GIT_AUTHOR_NAME", "claude the author of it all")]),
    );
    for text in [
        "see https://example.org:8080/a@b and git@example.org:ada/x.git, user@host:/a/b",
        "commit 2f5a7c7e0e274f5d8a515b6f2a6d3e02aa11bb22, uuid 2f5a7c7e-0e27-4f5d-8a51-5b6f2a6d3e02",
        "sk-learn is scikit-learn; risk-averse-and-long-words-with-many-dashes-in-them",
        "in /home/ada/a-project-of-hers with emacs: claude the author of it all",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "`std::collections::HashMap::with_capacity_and_hasher` SUPERCALIFRAGILISTIC",
    ] {
        assert_eq!(redactor.own(text), text);
    }
}

#[test]
fn the_values_of_the_environment_are_redacted_by_their_names() {
    let redactor = Redactor::new(
        &env(&[
            ("DEPLOY_TOKEN", "correct horse"),
            ("ANTHROPIC_AUTH_TOKEN", "battery-staple"),
            ("ANTHROPIC_MODEL", "a-model-of-that-name-1234"),
            ("ODD", "a value of nobody knows what"),
            ("HOME", "/home/ada"),
            ("PASS", "short"),
        ]),
        &own(&[("NPM_TOKEN", "of the project")]),
    );
    for (text, redacted) in [
        ("say correct horse!", "say [redacted: DEPLOY_TOKEN]!"),
        ("battery-staple", "[redacted: ANTHROPIC_AUTH_TOKEN]"),
        ("a-model-of-that-name-1234", "a-model-of-that-name-1234"),
        ("it is a value of nobody knows what", "it is [redacted: ODD]"),
        ("of the project", "[redacted: NPM_TOKEN]"),
        ("/home/ada is short", "/home/ada is short"),
    ] {
        assert_eq!(redactor.own(text), redacted);
    }
}

#[test]
fn each_line_of_a_long_value_is_a_secret() {
    let value = "the first line of it\nthe second line of it";
    let redactor = Redactor::new(&env(&[("A_KEY", value)]), &BTreeMap::new());
    assert_eq!(redactor.own(value), "[redacted: A_KEY]");
    assert_eq!(redactor.own("> the second line of it"), "> [redacted: A_KEY]");
}

#[test]
fn a_record_is_redacted_in_all_that_people_read() {
    let text = include_str!("../../../schemas/golden/record-1-answered.json");
    let record: Record = schemas::from_json(text.as_bytes()).unwrap();
    let redactor = Redactor::new(&env(&[("A_KEY", "the-secret")]), &BTreeMap::new());
    assert_eq!(redactor.record(&record), record, "nothing was in it");
    let secret = || "it is the-secret".to_owned();
    let denied = vec![Denial { tool: "Bash".into(), object: secret() }];
    let outcomes = [
        Outcome::Answered { answer: Text::Inline(secret()), denied: denied.clone() },
        Outcome::Failed { why: secret(), denied },
    ];
    for outcome in outcomes {
        let state = State::Ended { outcome, usage: None };
        let about = schemas::carried::About::Changes;
        let remarks = vec![Remark { about, text: secret() }];
        let notice = Some(secret());
        let redacted = redactor.record(&Record { state, notice, remarks, ..record.clone() });
        let told = String::from_utf8(schemas::to_json(&redacted)).unwrap();
        assert!(!told.contains("the-secret"), "{told}");
        assert_eq!(redactor.record(&redacted), redacted, "twice is once");
    }
}

#[test]
fn what_is_told_live_has_no_secret_in_it_nor_half_of_one() {
    let text = include_str!("../../../schemas/golden/live-1.json");
    let live: Live = schemas::from_json(text.as_bytes()).unwrap();
    let redactor = Redactor::new(&env(&[("A_KEY", "the-secret")]), &BTreeMap::new());
    assert_eq!(redactor.live(&live), live, "nothing was in it");
    for fill in 100..130 {
        let long = format!("{} the-secret", "x".repeat(fill));
        let step = || Step { tool: long.clone(), object: long.clone(), failed: false };
        let told = redactor.live(&Live {
            doing: Doing::Tool { step: step(), agent: Some(long.clone()), others: 0 },
            steps: vec![step()],
            list: vec![Point { text: long.clone(), state: schemas::live::PointState::Open }],
            ..live.clone()
        });
        let told = String::from_utf8(schemas::to_json(&told)).unwrap();
        assert!(!told.contains("the-s") && told.len() < 8 * 1024, "{told}");
    }
}

#[test]
fn the_environment_is_not_printed() {
    let redactor = Redactor::new(&env(&[("A_KEY", "the-secret")]), &BTreeMap::new());
    assert!(!format!("{redactor:?}").contains("the-secret"));
}

proptest! {
    #[test]
    fn no_value_of_the_environment_is_left_in_any_text(
        value in "[ -~]{16,60}", before in "\\PC{0,40}", between in "\\PC{0,40}", after in "\\PC{0,40}",
    ) {
        let value = value.trim();
        prop_assume!(is_secret("A_KEY", value) && !value.contains("redacted"));
        let redactor = Redactor::new(&env(&[("A_KEY", value)]), &BTreeMap::new());
        let redacted = redactor.own(&format!("{before}{value}{between}{value}{after}"));
        prop_assert!(!redacted.contains(value), "{redacted}");
    }

    #[test]
    fn no_token_is_left_in_any_text(
        which in 0..15_usize, before in "(\\PC{0,40} )?", after in "( \\PC{0,40})?",
    ) {
        let token = &tokens()[which];
        let redacted = Redactor::default().own(&format!("{before}{token}{after}"));
        prop_assert!(!redacted.contains(token), "{redacted}");
    }

    #[test]
    fn plain_words_stay(text in "([a-zé👍]{1,12}[ .,\n]){0,60}") {
        let redactor = Redactor::new(&env(&[("A_KEY", "THE-SECRET-1")]), &BTreeMap::new());
        prop_assert_eq!(redactor.own(&text), text);
    }
}

#[test]
fn an_ask_is_shown_without_secrets_and_told_with_them() {
    let redactor = Redactor::new(&env(&[("A_KEY", "correct-horse-battery")]), &BTreeMap::new());
    let line = br#"{"type":"control_request","request_id":"r1","request":{"subtype":"can_use_tool",
        "tool_name":"Bash","tool_use_id":"t","input":{"command":"curl -u correct-horse-battery x"}}}"#;
    let crate::claude::Event::Ask(ask) = crate::claude::Event::parse(line) else {
        panic!("no ask")
    };
    let shown = schemas::to_json(&redactor.ask(&ask).shown(1));
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("curl -u [redacted: A_KEY] x") && !shown.contains("horse"), "{shown}");
    assert!(ask.input.to_string().contains("correct-horse-battery"));
}
