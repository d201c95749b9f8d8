//! What a configuration says of telemetry: the table `[telemetry]`, the same in both services.
//!
//! Pure values and their checks; nothing is connected to here.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{Environment, Problems};

/// The variable that is taken over `otlp_url` (OpenTelemetry's own name for it).
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The variable that is taken over `otlp_ca_file` (OpenTelemetry's own name for it).
pub const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// The table `[telemetry]` as it is written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelemetryFile {
    /// A collector that takes OTLP over HTTP: the base of its URLs. When it is gone or slow, what is for it
    /// is dropped and nothing else happens.
    ///
    /// Default: none: nothing is sent
    /// Environment: `OTEL_EXPORTER_OTLP_ENDPOINT`
    pub otlp_url: Option<String>,
    /// The authority (PEM) that signed the collector's certificate; it is trusted instead of the public
    /// ones. Looked for beside the file of the configuration.
    ///
    /// Default: none: the public ones
    /// Environment: `OTEL_EXPORTER_OTLP_CERTIFICATE`
    pub otlp_ca_file: Option<PathBuf>,
    /// The share of traces that are kept. Whoever begins a trace decides for all of it: the gateway, for a
    /// whole message.
    ///
    /// Default: `1.0`
    /// Bounds: 0 to 1
    pub sample: Option<f64>,
    /// Whether what people write, and what claude answers them, goes into telemetry.
    ///
    /// Default: `false`
    pub texts: Option<bool>,
    /// How the lines of the log look; as JSON they are an object each, with the trace's ids.
    ///
    /// Type: `"text"` or `"json"`
    /// Default: `"text"`
    pub log_format: Option<String>,
}

/// What is sent where, and how lines look. Nothing in it can be invalid.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The base of the collector's URLs, without a slash at its end; `None`: nothing is sent.
    pub otlp_url: Option<String>,
    /// Whose signature the collector's certificate must have; `None`: a public authority's.
    pub otlp_ca: Option<Authority>,
    /// The share of traces that are kept, 0 to 1. Whoever begins a trace decides for all of it.
    pub sample: f64,
    /// Whether what people wrote goes into telemetry.
    pub texts: bool,
    /// How lines look.
    pub log_format: LogFormat,
}

/// An authority that signs certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Where it lies.
    pub file: PathBuf,
    /// Its certificates (PEM), at least one.
    pub pem: Vec<u8>,
}

/// How the lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line, with the ids of the trace.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            otlp_url: None,
            otlp_ca: None,
            sample: 1.0,
            texts: false,
            log_format: LogFormat::Text,
        }
    }
}

impl TelemetryFile {
    /// Checks it, with the environment over it. A path that is not absolute is looked for beside
    /// `config`, the file that it stands in; one of the environment, where the process runs.
    pub fn check(
        self,
        config: &Path,
        env: &Environment,
        problems: &mut Problems,
    ) -> Option<Settings> {
        let usual = Settings::default();
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let otlp_url = match set(ENDPOINT).or(self.otlp_url) {
            Some(url) => problems.take("telemetry.otlp_url", base(&url)).map(Some),
            None => Some(None),
        };
        let beside = |file| config.parent().unwrap_or(Path::new("")).join(file);
        let otlp_ca = match set(CERTIFICATE).map(PathBuf::from).or(self.otlp_ca_file.map(beside)) {
            Some(file) => problems.take("telemetry.otlp_ca_file", authority(&file)).map(Some),
            None => Some(None),
        };
        let sample = self.sample.unwrap_or(usual.sample);
        problems.check((0.0..=1.0).contains(&sample), "telemetry.sample", || {
            format!("must be 0 to 1, is {sample}")
        });
        let log_format = match self.log_format.as_deref() {
            None => Ok(usual.log_format),
            Some("text") => Ok(LogFormat::Text),
            Some("json") => Ok(LogFormat::Json),
            Some(other) => Err(format!("must be \"text\" or \"json\", is {other:?}")),
        };
        let log_format = problems.take("telemetry.log_format", log_format);
        let texts = self.texts.unwrap_or(usual.texts);
        let (otlp_url, otlp_ca) = (otlp_url?, otlp_ca?);
        Some(Settings { otlp_url, otlp_ca, sample, texts, log_format: log_format? })
    }
}

/// The authority in a file.
fn authority(file: &Path) -> Result<Authority, String> {
    let shown = file.display().to_string();
    let pem = fs::read(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem);
    let found = found.map_err(|error| format!("{shown} holds no certificate: {error}"))?;
    if found.is_empty() {
        return Err(format!("{shown} holds no certificate (PEM)"));
    }
    // claude is told of it as well, and works elsewhere.
    let file = std::path::absolute(file).map_err(|error| format!("{shown}: {error}"))?;
    Ok(Authority { file, pem })
}

/// The base URL, to which the paths of the signals are added.
fn base(text: &str) -> Result<String, String> {
    // What is wrong with it is said without repeating it: it may hold a password.
    let like = || "must be like http://127.0.0.1:4318, the base of the collector's URLs".to_owned();
    let url = reqwest::Url::parse(text).map_err(|error| format!("{} ({error})", like()))?;
    let is_base = ["http", "https"].contains(&url.scheme())
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_base {
        return Err(like());
    }
    if url.path().ends_with("/v1/traces") {
        return Err(format!("{}: the path /v1/traces is added to it", like()));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let file: TelemetryFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut problems = Problems::default();
        let settings = file.check(Path::new("/etc/holdfast/a.toml"), &env, &mut problems);
        problems.none(Path::new("a.toml")).map_err(|error| error.to_string())?;
        Ok(settings.expect("settings without problems are whole"))
    }

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named() {
        assert_eq!(check("", &[]), Ok(Settings::default()));
        let empty = check("", &[(ENDPOINT, "")]).unwrap();
        assert_eq!(empty.otlp_url, None);
    }

    #[test]
    fn the_environment_names_another_collector() {
        let text = "otlp_url = \"http://a:4318/\"\nsample = 0.25\ntexts = true\n\
                    log_format = \"json\"";
        let expected = Settings {
            otlp_url: Some("http://a:4318".into()),
            otlp_ca: None,
            sample: 0.25,
            texts: true,
            log_format: LogFormat::Json,
        };
        assert_eq!(check(text, &[]), Ok(expected.clone()));
        let other = check(text, &[(ENDPOINT, "https://b/otlp")]).unwrap();
        assert_eq!(other, Settings { otlp_url: Some("https://b/otlp".into()), ..expected });
    }

    #[test]
    fn an_authority_is_a_file_of_certificates() {
        let missing = check("otlp_ca_file = \"none.pem\"", &[]).unwrap_err();
        let beside = "telemetry.otlp_ca_file: cannot read /etc/holdfast/none.pem: ";
        assert!(missing.contains(beside), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, "no certificate").unwrap();
        let set = [(CERTIFICATE, file.to_str().unwrap())];
        let empty = check("otlp_ca_file = \"none.pem\"", &set).unwrap_err();
        assert!(empty.contains("ca.pem holds no certificate"), "{empty}");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let text = "otlp_url = \"grpc://user:secret@a\"\nsample = 1.5\nlog_format = \"xml\"";
        let error = check(text, &[]).unwrap_err();
        for key in ["telemetry.otlp_url: ", "telemetry.sample: ", "telemetry.log_format: "] {
            assert!(error.contains(key), "{key:?} is not in\n{error}");
        }
        assert!(!error.contains("secret"), "{error}");
        for url in ["a:4318", "http://", "http://a/v1/traces", "http://a/?b=c", "nonsense"] {
            let error = check(&format!("otlp_url = {url:?}"), &[]).unwrap_err();
            assert!(error.contains("telemetry.otlp_url: must be like http://"), "{url}: {error}");
        }
        assert!(check("sample = nan", &[]).is_err());
        assert!(check("otlp_ulr = \"x\"", &[]).is_err());
    }
}
