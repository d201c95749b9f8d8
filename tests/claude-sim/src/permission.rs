//! May this tool run? Pure; as the real one decides in its default mode, for the tools that
//! scripts use.
//!
//! A rule is `Tool` or `Tool(pattern)`; for Bash the pattern is a command or, with `:*`, how a
//! command begins, and *every* part of a compound command must be allowed.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

/// The tools that the real one has in a session.
pub(crate) const TOOLS: [&str; 11] = [
    "Task",
    "AskUserQuestion",
    "Bash",
    "Edit",
    "ExitPlanMode",
    "Glob",
    "Grep",
    "Read",
    "WebFetch",
    "WebSearch",
    "Write",
];

/// Commands that only look; the real one lets them run without being asked.
const READ_ONLY: [&str; 14] = [
    "cat", "date", "echo", "false", "grep", "head", "ls", "pwd", "sleep", "tail", "true", "wc",
    "which", "whoami",
];

/// One rule of an allow or deny list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    tool: String,
    pattern: Option<String>,
}

/// What is decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// It runs.
    Allow,
    /// The host is asked; what the request says besides the tool.
    Ask(Value),
    /// A rule denies it, whatever else allows it; what claude is told.
    Deny(String),
    /// There is no such tool; what claude is told.
    NoTool(String),
}

/// The rules and the mode of a session.
#[derive(Clone, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) allowed: &'a [Rule],
    pub(crate) disallowed: &'a [Rule],
    pub(crate) mode: &'a str,
    pub(crate) cwd: &'a Path,
}

impl Rule {
    /// Reads rules parted by commas or spaces; those within brackets do not part.
    pub(crate) fn list(text: &str) -> Vec<Self> {
        let mut depth = 0_usize;
        let parts = text.split(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && (c == ',' || c.is_whitespace())
        });
        parts.filter(|part| !part.is_empty()).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Self {
        let (tool, pattern) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((tool, pattern)) => (tool, Some(pattern.to_owned())),
            None => (text, None),
        };
        Self { tool: tool.to_owned(), pattern }
    }

    /// True if the rule covers a part of a command line.
    fn covers(&self, part: &str) -> bool {
        match self.pattern.as_deref() {
            None | Some("*") => true,
            Some(pattern) => {
                match pattern.strip_suffix(":*").or_else(|| pattern.strip_suffix(" *")) {
                    Some(start) => {
                        part == start
                            || part.strip_prefix(start).is_some_and(|rest| rest.starts_with(' '))
                    }
                    None => part == pattern,
                }
            }
        }
    }
}

impl Rules<'_> {
    /// Decides about one call.
    pub(crate) fn decide(&self, tool: &str, input: &Value) -> Decision {
        let disabled =
            self.disallowed.iter().any(|rule| rule.tool == tool && rule.pattern.is_none());
        let rules: Vec<&Rule> = self.allowed.iter().filter(|rule| rule.tool == tool).collect();
        if disabled || (!TOOLS.contains(&tool) && !rules.is_empty()) {
            let why = format!(
                "No such tool available: {tool}. {tool} is disabled for this session, in subagents as well as here."
            );
            return Decision::NoTool(why);
        }
        if !TOOLS.contains(&tool) {
            return Decision::NoTool(format!("No such tool available: {tool}"));
        }
        if self.denies(tool, input) {
            let command = input["command"].as_str().unwrap_or_default();
            return Decision::Deny(format!(
                "Permission to use {tool} with command {command} has been denied."
            ));
        }
        if matches!(tool, "AskUserQuestion" | "ExitPlanMode") {
            return Decision::Ask(json!({"requires_user_interaction": true}));
        }
        let edits = self.mode == "acceptEdits" && matches!(tool, "Edit" | "Write");
        if self.mode == "bypassPermissions" || edits {
            return Decision::Allow;
        }
        let allowed = match tool {
            "Bash" => allows_command(&rules, input["command"].as_str().unwrap_or_default()),
            "Read" | "Glob" | "Grep" => !rules.is_empty() || self.is_inside(input),
            _ => !rules.is_empty(),
        };
        if allowed { Decision::Allow } else { Decision::Ask(self.question(tool, input)) }
    }

    /// Whether a part of a command is on the list of what is denied; that comes before every mode and
    /// every other list. Patterns for paths are not simulated.
    fn denies(&self, tool: &str, input: &Value) -> bool {
        let rules = self.disallowed.iter().filter(|rule| rule.tool == tool);
        let command = input["command"].as_str().unwrap_or_default();
        let mut parts = command.split(['\n', ';', '|', '&']).map(str::trim);
        parts.any(|part| {
            // The real one looks behind such a word, too.
            let part = part.strip_prefix("env ").unwrap_or(part);
            rules.clone().any(|rule| rule.covers(part))
        })
    }

    fn is_inside(&self, input: &Value) -> bool {
        let path = input["file_path"].as_str().or(input["path"].as_str()).unwrap_or(".");
        plain(&self.cwd.join(path)).starts_with(self.cwd)
    }

    /// What the request to the host says besides the tool and its input.
    fn question(&self, tool: &str, input: &Value) -> Value {
        let rule = |content: &str| json!({"type": "addRules", "rules": [{"toolName": tool, "ruleContent": content}], "behavior": "allow", "destination": "localSettings"});
        match tool {
            "Bash" => {
                let command = input["command"].as_str().unwrap_or_default();
                let description = input["description"].as_str().unwrap_or(command);
                json!({"description": description, "permission_suggestions": [rule(command)]})
            }
            "Read" | "Glob" | "Grep" | "Edit" | "Write" => {
                let path = input["file_path"].as_str().or(input["path"].as_str()).unwrap_or(".");
                let mut question = json!({"description": path, "permission_suggestions": []});
                if !self.is_inside(input) {
                    question["decision_reason"] =
                        json!("Path is outside allowed working directories");
                    question["decision_reason_type"] = json!("workingDir");
                }
                question
            }
            "WebFetch" => json!({"description": input["url"], "permission_suggestions": []}),
            _ => json!({"permission_suggestions": []}),
        }
    }
}

/// True if every part of a command line is allowed, or only looks.
fn allows_command(rules: &[&Rule], command: &str) -> bool {
    if rules.iter().any(|rule| rule.pattern.is_none()) {
        return true;
    }
    let hidden = command.contains(['>', '<', '`']) || command.contains("$(");
    let mut parts =
        command.split(['\n', ';', '|', '&']).map(str::trim).filter(|part| !part.is_empty());
    !hidden
        && parts.all(|part| {
            let first = part.split_whitespace().next().unwrap_or_default();
            READ_ONLY.contains(&first) || rules.iter().any(|rule| rule.covers(part))
        })
}

/// A path without `.` and `..`, as far as its text tells.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "Read,Edit,Write,Glob,Grep,Bash(git:*),TodoWrite";

    fn decide(allowed: &str, mode: &str, tool: &str, input: &Value) -> Decision {
        let allowed = Rule::list(allowed);
        let rules = Rules { allowed: &allowed, disallowed: &[], mode, cwd: Path::new("/project") };
        rules.decide(tool, input)
    }

    fn runs(allowed: &str, command: &str) -> bool {
        decide(allowed, "default", "Bash", &json!({"command": command})) == Decision::Allow
    }

    #[test]
    fn a_list_may_have_brackets_commas_and_spaces() {
        let expected = [
            Rule { tool: "Read".into(), pattern: None },
            Rule { tool: "Bash".into(), pattern: Some("git log, -p:*".into()) },
            Rule { tool: "Edit".into(), pattern: None },
        ];
        assert_eq!(Rule::list("Read, Bash(git log, -p:*) Edit"), expected);
    }

    #[test]
    fn a_command_runs_if_each_of_its_parts_is_allowed() {
        for command in
            ["git --version", "git status; sleep 1", "ls -la", "git log | head -3", "git"]
        {
            assert!(runs(DEFAULT, command), "{command}");
        }
        for command in [
            "touch x",
            "git --version && touch x",
            "echo hi > y",
            "gitk",
            "git $(touch x)",
            "git `id`",
        ] {
            assert!(!runs(DEFAULT, command), "{command}");
        }
        assert!(runs("Bash", "touch x"));
        assert!(runs("Bash(touch x)", "touch x"));
    }

    #[test]
    fn a_read_in_the_project_needs_no_rule_and_one_outside_does() {
        let read =
            |allowed, path: &str| decide(allowed, "default", "Read", &json!({"file_path": path}));
        assert_eq!(read("", "/project/a"), Decision::Allow);
        assert_eq!(read("Read", "/etc/hostname"), Decision::Allow);
        for path in ["/etc/hostname", "../a", "/project/../etc/hostname"] {
            let Decision::Ask(question) = read("", path) else {
                panic!("{path} must be asked for")
            };
            assert_eq!(question["decision_reason_type"], "workingDir");
        }
    }

    #[test]
    fn modes_allow_more() {
        let write = json!({"file_path": "/project/a"});
        assert!(matches!(decide("", "default", "Write", &write), Decision::Ask(_)));
        assert_eq!(decide("", "acceptEdits", "Write", &write), Decision::Allow);
        assert_eq!(decide("", "bypassPermissions", "WebFetch", &json!({})), Decision::Allow);
    }

    #[test]
    fn what_is_denied_is_denied_whatever_is_allowed() {
        let denied = |disallowed: &str, mode, command: &str| {
            let (allowed, disallowed) = (Rule::list("Bash"), Rule::list(disallowed));
            let cwd = Path::new("/project");
            let rules = Rules { allowed: &allowed, disallowed: &disallowed, mode, cwd };
            matches!(rules.decide("Bash", &json!({"command": command})), Decision::Deny(_))
        };
        for command in ["touch x", "git --version && touch x", "env touch x", "ls; touch x"] {
            assert!(denied("Bash(touch:*)", "default", command), "{command}");
            assert!(denied("Bash(touch:*)", "bypassPermissions", command), "{command}");
        }
        assert!(!denied("Bash(touch:*)", "default", "ls touch"));
        assert!(!denied("WebFetch(domain:example.org)", "default", "touch x"));
    }

    #[test]
    fn a_question_is_asked_whatever_is_allowed() {
        let asked = decide("AskUserQuestion", "bypassPermissions", "AskUserQuestion", &json!({}));
        assert!(matches!(asked, Decision::Ask(_)));
    }

    #[test]
    fn a_tool_that_is_not_there_is_told_so() {
        let no_tool = |tool: &str| match decide(DEFAULT, "default", tool, &json!({})) {
            Decision::NoTool(why) => why,
            other @ (Decision::Allow | Decision::Ask(_) | Decision::Deny(_)) => {
                panic!("{tool}: {other:?}")
            }
        };
        assert_eq!(no_tool("Nope"), "No such tool available: Nope");
        assert!(no_tool("TodoWrite").contains("TodoWrite is disabled for this session"));
    }
}
