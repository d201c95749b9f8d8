//! The lines of the log: for people, or JSON with the ids of the trace in each.
//!
//! Which lines there are is said by the filter of `telemetry.rs`, not here.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::settings::LogFormat;

/// Writes lines in this format; with colours where `colours` and the format have room for them.
pub(super) fn layer<S, W>(
    format: LogFormat,
    writer: W,
    colours: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).boxed(),
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_span_list(false);
            json.map_event_format(WithTrace).boxed()
        }
    }
}

/// A line of JSON with the ids of the trace at its beginning, where there is a trace.
struct WithTrace<E>(E);

impl<S, N, E> FormatEvent<S, N> for WithTrace<E>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    E: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // Of the trace and not of the filter: a span that no line shows has its ids all the same.
        let current = Context::current();
        let span = current.span();
        let ids = span.span_context();
        match line.strip_prefix('{') {
            Some(rest) if ids.is_valid() => {
                let (trace, span) = (ids.trace_id(), ids.span_id());
                write!(writer, "{{\"trace_id\":\"{trace}\",\"span_id\":\"{span}\",{rest}")
            }
            Some(_) | None => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::{Ids, within};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of `log`, in JSON, with spans that have ids.
    fn lines_of(log: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let to = written.clone();
        let lines = layer(LogFormat::Json, move || to.clone(), true);
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_of_json_has_the_ids_of_its_trace() {
        let ids = Ids::root();
        let lines = lines_of(|| {
            tracing::info!(run = "m7", "outside");
            let span = tracing::info_span!("accept", message.id = 7);
            let said = async { span.in_scope(|| tracing::warn!(why = "so \"it\" is", "inside")) };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(within(Some(&ids), said));
        });
        assert!(lines[0].starts_with("{\"timestamp\":"), "{}", lines[0]);
        assert!(!lines[0].contains("trace_id"), "{}", lines[0]);
        let parent = ids.traceparent();
        let ids: Vec<_> = parent.split('-').collect();
        let begins = format!("{{\"trace_id\":\"{}\",\"span_id\":\"{}\",", ids[1], ids[2]);
        assert!(lines[1].starts_with(&begins), "{}", lines[1]);
        for part in [
            "\"level\":\"WARN\"",
            "\"message\":\"inside\"",
            "\"why\":\"so \\\"it\\\" is\"",
            "\"span\":{\"message.id\":7,\"name\":\"accept\"}",
        ] {
            assert!(lines[1].contains(part), "{part} is not in {}", lines[1]);
        }
        assert_eq!(lines.len(), 2);
    }
}
