//! What a thread's runs begin with: a session, fresh or not, and a model; and what people are told of it.
//!
//! Pure. The store keeps it and freezes it at release: what runs already is not changed by any of it.

use schemas::ids::{ModelName, RunnerId, SessionId};
use schemas::record::Whereabouts;

/// How to choose a model: told to whoever did otherwise.
pub(crate) const MODEL_USAGE: &str = "That is no name of a model; nothing was done. `!model opus` chooses one for this thread, \
     `!model default` goes back, `!model` alone tells.";

/// What somebody wants of a thread's model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// To know it.
    Tell,
    /// To have this one.
    Set(ModelName),
    /// To have the runner's own.
    Default,
}

impl Model {
    /// What stands behind `!model`; `None`: no name.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        match rest {
            "" => Some(Model::Tell),
            name if name.eq_ignore_ascii_case("default") => Some(Model::Default),
            name => name.parse().ok().map(Model::Set),
        }
    }
}

/// Whether something is at work in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtWork {
    /// A run is released.
    Yes,
    /// None is.
    No,
}

/// What is told of a thread's model. `changed`: whether it was just chosen.
pub(crate) fn model_line(model: Option<&ModelName>, wanted: &Model, at_work: AtWork) -> String {
    let is = match model {
        Some(model) => format!("**{}**", shown(model)),
        None => "its runner's own choice".to_owned(),
    };
    match wanted {
        Model::Tell => format!("This thread's model is {is}."),
        Model::Set(_) | Model::Default => match at_work {
            AtWork::Yes => format!(
                "This thread's model is {is}, from the next question on; what runs now keeps its own."
            ),
            AtWork::No => format!("This thread's model is {is}, from the next question on."),
        },
    }
}

/// A name as Discord shows it: its one mark that Discord reads is an underscore.
fn shown(model: &ModelName) -> String {
    model.as_str().replace('_', "\\_")
}

/// What is told when a thread's next question is to begin a fresh session.
pub(crate) fn restart_line(at_work: Option<AtWork>) -> &'static str {
    match at_work {
        None => "Nothing was asked in this thread yet; its first question begins a fresh session.",
        Some(AtWork::No) => {
            "The next question begins a fresh session: claude will not know what was said before. \
             The files stay as they are."
        }
        Some(AtWork::Yes) => {
            "What runs now goes on to its end. The next question after it begins a fresh session: \
             claude will not know what was said before. The files stay as they are."
        }
    }
}

/// A thread's session, as a person may want to go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    /// The session.
    pub(crate) session: SessionId,
    /// Whether the next question leaves it.
    pub(crate) is_left: bool,
    /// The runner that had its last run.
    pub(crate) runner: Option<RunnerId>,
    /// The model that was chosen.
    pub(crate) model: Option<ModelName>,
    /// Where claude works, or worked last, as its runner said.
    pub(crate) whereabouts: Option<Whereabouts>,
    /// Whether a run is at work.
    pub(crate) at_work: AtWork,
}

/// What `!session` says.
pub(crate) fn session_text(conversation: Option<&Conversation>) -> String {
    let Some(it) = conversation else {
        return "Nothing was asked in this thread yet, so it has no session.".to_owned();
    };
    let left = if it.is_left { "; the next question begins another" } else { "" };
    let mut lines = vec![format!("Session `{}`{left}.", it.session)];
    lines.extend(it.model.as_ref().map(|model| format!("Model **{}**.", shown(model))));
    match (&it.runner, &it.whereabouts) {
        (Some(runner), Some(at)) => {
            lines.push(format!("Runner **{runner}**, in `{}`.", at.dir));
            lines.push(format!("To take it up in a terminal there:\n```\n{}\n```", at.resume));
            match it.at_work {
                AtWork::Yes => {
                    lines.push(format!("To see claude at work:\n```\n{}\n```", at.attach));
                    lines.push(
                        "-# claude is at work in it: take it up when that has ended, or each would \
                         lose what the other says."
                            .to_owned(),
                    );
                }
                AtWork::No => {}
            }
        }
        (Some(runner), None) => lines.push(format!("Runner **{runner}**.")),
        (None, _) => lines.push("No runner has begun it yet.".to_owned()),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::PAGE_MAX;
    use schemas::record::WHEREABOUTS_MAX;

    #[test]
    fn a_model_has_a_name_that_is_no_option_and_no_sentence() {
        assert_eq!(Model::parse(""), Some(Model::Tell));
        assert_eq!(Model::parse("Default"), Some(Model::Default));
        assert_eq!(Model::parse("sonnet[1m]"), Some(Model::Set("sonnet[1m]".parse().unwrap())));
        for text in ["--dangerously-skip-permissions", "opus now", "`x`", &"x".repeat(4000)] {
            assert_eq!(Model::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_session_of_any_length_fits_one_message() {
        let long = "x".repeat(WHEREABOUTS_MAX);
        let at = Whereabouts { dir: long.clone(), resume: long.clone(), attach: long };
        let conversation = Conversation {
            session: SessionId::random(),
            is_left: true,
            runner: Some("host".parse().unwrap()),
            model: Some("x".repeat(100).parse().unwrap()),
            whereabouts: Some(at),
            at_work: AtWork::Yes,
        };
        let text = session_text(Some(&conversation));
        assert!(text.encode_utf16().count() <= PAGE_MAX, "{}", text.len());
    }
}
