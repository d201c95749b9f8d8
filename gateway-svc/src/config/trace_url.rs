//! `trace_url`: where a person finds the trace of an answer.

use std::fmt;

/// What stands in the template for the trace's id.
const PLACE: &str = "{trace_id}";
/// The most bytes of the template: the line under an answer stays one.
const LEN_MAX: usize = 300;

/// A URL with a place for a trace's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceUrl(String);

impl TraceUrl {
    /// Takes a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence that continues "`trace_url`: ".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        // Discord takes it between < and >, and a link ends at a bracket.
        let fits = |c: char| c.is_ascii_graphic() && !"<>()[]\\".contains(c);
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let is_url = !host.is_empty() && !host.contains('{') && text.chars().all(fits);
        if !is_url || text.matches(PLACE).count() != 1 || LEN_MAX < text.len() {
            return Err(format!(
                "must be like https://jaeger.example/trace/{PLACE}, with {PLACE} once, of at most \
                 {LEN_MAX} letters without spaces or brackets, is {text:?}"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Where this trace is shown.
    pub(crate) fn of(&self, trace: impl fmt::Display) -> String {
        self.0.replace(PLACE, &trace.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_place_for_the_trace() {
        let url = TraceUrl::parse("https://j.example/trace/{trace_id}?x=1").unwrap();
        assert_eq!(url.of("4bf9"), "https://j.example/trace/4bf9?x=1");
        TraceUrl::parse("http://localhost:16686/trace/{trace_id}").unwrap();
        for bad in [
            "",
            "https://j.example/trace",
            "https://{trace_id}",
            "ftp://j.example/{trace_id}",
            "https://j.example/{trace_id}/{trace_id}",
            "https://j.example/{trace_id} x",
            "https://j.example/({trace_id})",
            "j.example/{trace_id}",
        ] {
            let error = TraceUrl::parse(bad).unwrap_err();
            assert!(error.starts_with("must be like https://"), "{bad}: {error}");
        }
        let long = format!("https://j.example/{}/{{trace_id}}", "x".repeat(LEN_MAX));
        assert!(TraceUrl::parse(&long).is_err());
    }
}
