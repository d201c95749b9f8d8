//! What claude asks → what people are shown of it, and what they decided → what claude is told.
//!
//! A record has little room, so what is shown is cut to fit, evenly and only as far as needed, and says
//! that it is. What claude is told is made of what it asked in full: a decision names options by number.
//!
//! It is pure. It never judges whether something should be allowed.

use schemas::ask::{
    ASK_JSON_MAX, Ask, AskId, Choice, Decision, OPTIONS_MAX, Picked, QUESTIONS_MAX, Question,
    Wanted,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Ask as Asked, told};

/// The tool by which claude asks questions.
const QUESTIONS: &str = "AskUserQuestion";
/// The tool by which claude shows a plan.
const PLAN: &str = "ExitPlanMode";
/// The most bytes of one text that is tried first; it is halved until the ask fits.
const TEXT_MAX: usize = 8 * 1024;
/// The least: room for a few words, and with it every ask fits.
const TEXT_MIN: usize = 4;
/// The most bytes of a rule: what is longer is told apart by its digest.
const RULE_MAX: usize = 300;
/// What claude is told before a person's own words.
const SAID: &str = "The person who was asked said no, and this:";
/// What claude is told when somebody said no without a word.
const NO: &str = "The person who was asked said no. Do not try the same in another way; go on without \
                  it, or ask how to go on.";
/// What claude is told about a plan that is not to be carried out.
const KEEP_PLANNING: &str =
    "The person does not want this plan carried out as it is. Keep planning.";

/// The name of an ask.
pub(crate) fn id_of(request_id: &str) -> AskId {
    let digest = Sha256::digest(request_id.as_bytes());
    AskId::new(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

impl Asked {
    /// Whether it is for leave to use a tool, and not a question or a plan, which are for people.
    pub(crate) fn is_for_leave(&self) -> bool {
        ![QUESTIONS, PLAN].contains(&&*self.tool_name)
    }

    /// What a record says of it.
    pub(crate) fn shown(&self, since_ms: i64) -> Ask {
        let mut max = TEXT_MAX;
        loop {
            let mut cut = Cut { max, happened: false };
            let wanted = self.wanted(&mut cut);
            let ask = Ask { id: id_of(&self.request_id), since_ms, cut: cut.happened, wanted };
            if max <= TEXT_MIN || schemas::to_json(&ask).len() <= ASK_JSON_MAX {
                return ask;
            }
            max /= 2;
        }
    }

    fn wanted(&self, cut: &mut Cut) -> Wanted {
        match &*self.tool_name {
            QUESTIONS => {
                let questions = self.questions(cut);
                if !questions.is_empty() {
                    return Wanted::Question { questions };
                }
            }
            PLAN => {
                let plan = self.input["plan"].as_str().unwrap_or_default();
                return Wanted::Plan { text: cut.text(plan) };
            }
            _ => {}
        }
        Wanted::Permission {
            tool: cut.text(&self.tool_name),
            object: cut.text(&object(&self.input)),
            why: self.description.as_deref().map(|why| cut.text(why)),
            rule: self.rule(),
        }
    }

    fn questions(&self, cut: &mut Cut) -> Vec<Question> {
        let all = list(&self.input, "questions");
        cut.happened |= QUESTIONS_MAX < all.len();
        let question = |asked: &Value| {
            let options = list(asked, "options");
            let text = asked["question"].as_str()?;
            cut.happened |= OPTIONS_MAX < options.len();
            let options = options.iter().take(OPTIONS_MAX).map(|option| Choice {
                label: cut.text(option["label"].as_str().unwrap_or_default()),
                description: option["description"].as_str().map(|it| cut.text(it)),
            });
            let options = options.collect();
            let multi = asked["multiSelect"].as_bool().unwrap_or_default();
            Some(Question { text: cut.text(text), options, multi })
        };
        all.iter().take(QUESTIONS_MAX).filter_map(question).collect()
    }

    /// What leave for a whole thread would be for: what claude itself would remember, else this very
    /// thing.
    fn rule(&self) -> String {
        let rule = self.suggested.clone().unwrap_or_else(|| {
            let what = super::parse::whole_object(&self.input);
            format!("{}({what})", self.tool_name)
        });
        if rule.len() <= RULE_MAX {
            return rule;
        }
        let digest = Sha256::digest(rule.as_bytes());
        let hex = digest.iter().take(16).fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        format!("{}… #{hex}", &rule[..rule.floor_char_boundary(RULE_MAX - 40)])
    }

    /// The line that tells claude what was decided.
    pub(crate) fn decided(&self, decision: &Decision) -> String {
        match decision {
            Decision::Allow => told::allow(&self.request_id, &self.input),
            Decision::Deny { words } => {
                let said = words.as_deref().map(str::trim).filter(|words| !words.is_empty());
                let message = match (&*self.tool_name, said) {
                    (PLAN, None) => KEEP_PLANNING.to_owned(),
                    (PLAN, Some(words)) => format!("{KEEP_PLANNING} They said:\n{words}"),
                    (_, None) => NO.to_owned(),
                    (_, Some(words)) => format!("{SAID}\n{words}"),
                };
                told::deny(&self.request_id, &message)
            }
            Decision::Answers { picked } => {
                let mut input = self.input.clone();
                let asked = list(&self.input, "questions");
                let asked = asked.iter().filter(|it| it["question"].is_string());
                let answers: Map<String, Value> = asked
                    .zip(picked)
                    .map(|(asked, picked)| {
                        let name = asked["question"].as_str().unwrap_or_default().to_owned();
                        (name, answer(asked, picked).into())
                    })
                    .collect();
                if let Value::Object(fields) = &mut input {
                    fields.insert("answers".to_owned(), Value::Object(answers));
                }
                told::allow(&self.request_id, &input)
            }
        }
    }
}

/// The answer to a question, as claude takes it: what was chosen, with commas between.
fn answer(asked: &Value, picked: &Picked) -> String {
    let options = list(asked, "options");
    let chosen = picked.options.iter().filter_map(|n| options.get(usize::from(*n)));
    let chosen = chosen.filter_map(|option| option["label"].as_str());
    chosen.chain(picked.words.as_deref()).collect::<Vec<_>>().join(", ")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What a tool would be used on, for a person to judge: more than a line.
fn object(input: &Value) -> String {
    let text = |key: &str| input[key].as_str();
    match (text("file_path"), text("content"), text("old_string"), text("new_string")) {
        (Some(path), Some(content), ..) => format!("{path}\n\n{content}"),
        (Some(path), _, Some(old), Some(new)) => {
            let lines = |sign: char, text: &str| {
                text.lines().fold(String::new(), |all, line| format!("{all}\n{sign} {line}"))
            };
            format!("{path}\n{}{}", lines('-', old), lines('+', new))
        }
        _ => match text("command") {
            Some(command) => command.to_owned(),
            None if input.as_object().is_some_and(|fields| fields.len() <= 1) => {
                super::parse::whole_object(input)
            }
            None => serde_json::to_string_pretty(input).unwrap_or_else(|_| json!({}).to_string()),
        },
    }
}

/// Cuts texts, and remembers that it did.
struct Cut {
    max: usize,
    happened: bool,
}

impl Cut {
    /// Control characters say nothing to a person, and take the most room.
    fn text(&mut self, text: &str) -> String {
        let text: String =
            text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
        if text.len() <= self.max {
            return text;
        }
        self.happened = true;
        format!("{}…", &text[..text.floor_char_boundary(self.max)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::Event;
    use proptest::prelude::*;

    fn asked(tool_name: &str, input: Value) -> Asked {
        Asked {
            request_id: "r".into(),
            tool_name: tool_name.into(),
            tool_use_id: "t".into(),
            input,
            description: None,
            blocked_path: None,
            suggested: None,
        }
    }

    fn questions() -> Asked {
        let options = json!([{"label": "A", "description": "a"}, {"label": "B"}]);
        let one = json!({"question": "Which?", "header": "H", "options": options});
        let two = json!({"question": "How?", "options": options, "multiSelect": true});
        asked(QUESTIONS, json!({"questions": [one, two], "metadata": 1}))
    }

    fn told(ask: &Asked, decision: &Decision) -> Value {
        let line: Value = serde_json::from_str(&ask.decided(decision)).unwrap();
        assert_eq!(line["response"]["request_id"], "r");
        line["response"]["response"].clone()
    }

    #[test]
    fn leave_gives_claude_its_own_input_back() {
        let input = json!({"command": "touch x", "timeout": 3});
        let ask = asked("Bash", input.clone());
        assert_eq!(told(&ask, &Decision::Allow)["updatedInput"], input);
        let Wanted::Permission { tool, object, rule, .. } = ask.shown(1).wanted else {
            panic!("another kind")
        };
        assert_eq!((&*tool, &*object, &*rule), ("Bash", "touch x", "Bash(touch x)"));
    }

    #[test]
    fn a_no_brings_the_persons_words() {
        let words = Some("use git mv".to_owned());
        let said = told(&asked("Bash", json!({})), &Decision::Deny { words: words.clone() });
        assert_eq!(said["behavior"], "deny");
        assert!(said["message"].as_str().unwrap().ends_with("\nuse git mv"), "{said}");
        let said = told(&asked(PLAN, json!({})), &Decision::Deny { words });
        assert!(said["message"].as_str().unwrap().contains("Keep planning"), "{said}");
    }

    #[test]
    fn answers_are_the_labels_that_claude_gave() {
        let picked = vec![
            Picked { options: vec![1], words: None },
            Picked { options: vec![0, 1], words: Some("or C".into()) },
        ];
        let said = told(&questions(), &Decision::Answers { picked });
        assert_eq!(said["updatedInput"]["answers"], json!({"Which?": "B", "How?": "A, B, or C"}));
        assert_eq!(said["updatedInput"]["metadata"], 1);
        let Wanted::Question { questions } = questions().shown(1).wanted else { panic!("other") };
        assert!(!questions[0].multi && questions[1].multi && questions[1].options.len() == 2);
    }

    #[test]
    fn questions_that_are_none_are_leave_to_use_a_tool() {
        let ask = asked(QUESTIONS, json!({"questions": [{"header": "H"}]})).shown(1);
        assert!(matches!(ask.wanted, Wanted::Permission { .. }), "{ask:?}");
    }

    #[test]
    fn what_leave_for_a_thread_is_for_is_what_claude_would_remember() {
        let line = |suggestions: Value| {
            let input = json!({"command": "touch z && rm -rf q"});
            let request = json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": input,
                "permission_suggestions": suggestions});
            let line = json!({"type": "control_request", "request_id": "r", "request": request});
            let Event::Ask(ask) = Event::parse(line.to_string().as_bytes()) else { panic!("none") };
            ask.rule()
        };
        let rule = |content: &str| json!({"toolName": "Bash", "ruleContent": content});
        let rules = json!({"type": "addRules", "behavior": "allow", "rules": [rule("touch z *"), rule("rm -rf q")]});
        let inside = json!({"type": "addDirectories", "directories": ["/p"]});
        let mode = json!({"type": "setMode", "mode": "acceptEdits"});
        assert_eq!(line(json!([rules, mode])), "Bash(rm -rf q), Bash(touch z *)");
        assert_eq!(line(json!([rules, inside])), "Bash(rm -rf q), Bash(touch z *) in /p");
        assert_eq!(line(json!([mode])), "Bash(touch z && rm -rf q)");
        assert_eq!(line(Value::Null), "Bash(touch z && rm -rf q)");
    }

    #[test]
    fn long_things_that_begin_alike_have_rules_of_their_own() {
        let long = |end: &str| asked("Bash", json!({"command": "x".repeat(900) + end})).rule();
        assert!(long("a").len() <= RULE_MAX + 8 && long("a") != long("b"));
    }

    #[test]
    fn whatever_is_left_out_is_said() {
        let ask = asked(PLAN, json!({"plan": "step\n".repeat(10_000)})).shown(1);
        assert!(ask.cut);
        assert!(!asked(PLAN, json!({"plan": "step"})).shown(1).cut);
        let many: Vec<_> = (0..40).map(|n| json!({"label": format!("{n}")})).collect();
        let ask = asked(QUESTIONS, json!({"questions": [{"question": "?", "options": many}]}));
        assert!(ask.shown(1).cut);
    }

    proptest! {
        // Long texts: fewer cases say as much.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_ask_fits_a_record(
            tool in prop::sample::select(vec![QUESTIONS, PLAN, "Bash", "mcp__x__y"]),
            text in "(\\PC|\u{1}|\"|\n){0,40}",
            times in 1..400_usize,
            count in 0..40_usize,
        ) {
            let long = text.repeat(times);
            let options: Vec<_> =
                (0..count).map(|_| json!({"label": long, "description": long})).collect();
            let question = json!({"question": long, "options": options});
            let questions: Vec<_> = (0..6).map(|_| question.clone()).collect();
            let input = json!({"questions": questions, "plan": long, "command": long, "more": long});
            let ask = asked(tool, input).shown(i64::MAX);
            prop_assert!(schemas::to_json(&ask).len() <= ASK_JSON_MAX);
        }
    }
}
