//! `docker-compose.yml` against the schema of compose files, and against what is promised of it: little
//! rights, bounded resources, pinned images, nothing published but on loopback.
//!
//! It reads the file alone; `cargo xtask compose-test` starts it. Needs no engine.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// Services that end by themselves.
const ONCE: [&str; 2] = ["keys", "provision"];

/// The one that begins as root, to become its image's own user, with the rights that this needs.
const BECOMES_A_USER: &str = "postgres";

/// Services of images that hold nothing but their program, so that no health check can run in them.
const BARE: [&str; 2] = ["collector", "jaeger"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

/// The file, with its anchors and merge keys resolved.
fn compose() -> Value {
    let text = fs::read_to_string(root().join("docker-compose.yml")).expect("it is there");
    serde_saphyr::from_str(&text).expect("it is YAML")
}

fn services(file: &Value) -> &Map<String, Value> {
    file["services"].as_object().expect("it has services")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[test]
fn the_file_is_what_the_schema_of_compose_files_says() {
    let schema = root().join("xtask/vendor/compose-spec/compose_spec.json");
    let schema = fs::read_to_string(schema).expect("the schema is there");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let problems = |file: &Value| {
        let shown = |it: jsonschema::ValidationError<'_>| format!("{}: {it}", it.instance_path());
        validator.iter_errors(file).map(shown).collect::<Vec<_>>()
    };
    let mut file = compose();
    assert_eq!(problems(&file), Vec::<String>::new());
    // It does tell what is wrong.
    file["services"]["gateway"]["read_onyl"] = Value::Bool(true);
    assert_eq!(problems(&file).len(), 1);
}

#[test]
fn every_service_has_few_rights_and_bounded_resources() {
    let file = compose();
    for (name, service) in services(&file) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let may_become = service.get("cap_add").is_some();
        assert_eq!(may_become, name == BECOMES_A_USER, "{name}");
        for key in ["mem_limit", "cpus", "pids_limit", "logging"] {
            assert!(service.get(key).is_some(), "{name} has no {key}");
        }
        assert!(service.get("container_name").is_none(), "{name} could be there once only");
        let ours = service["image"].as_str().is_some_and(|it| it.starts_with("holdfast-"));
        // Our images have a user of their own.
        assert!(ours || service.get("user").is_some() || name == BECOMES_A_USER, "{name} is root");
        assert!(ours == service.get("build").is_some(), "{name}");
    }
}

#[test]
fn what_ends_by_itself_is_not_started_again_and_the_rest_has_a_health_check() {
    let file = compose();
    for (name, service) in services(&file) {
        let once = ONCE.contains(&name.as_str());
        assert_eq!(service["restart"], if once { "no" } else { "unless-stopped" }, "{name}");
        let bare = BARE.contains(&name.as_str());
        assert_eq!(service.get("healthcheck").is_some(), !once && !bare, "{name}");
    }
}

#[test]
fn nothing_is_published_but_on_loopback_and_the_gateway_may_be_several() {
    let file = compose();
    for (name, service) in services(&file) {
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
    assert_eq!(texts(&file["services"]["gateway"]["ports"]), ["127.0.0.1::7070"]);
}

#[test]
fn a_service_waits_for_what_it_needs_and_volumes_are_named() {
    let file = compose();
    let conditions = |name: &str| {
        let needs = file["services"][name]["depends_on"].as_object().cloned().unwrap_or_default();
        let shown = |(on, how): (String, Value)| {
            format!("{on} {}", how["condition"].as_str().unwrap_or_default())
        };
        let mut all: Vec<_> = needs.into_iter().map(shown).collect();
        all.sort();
        all
    };
    assert_eq!(conditions("nats"), ["keys service_completed_successfully"]);
    assert_eq!(conditions("provision"), ["nats service_healthy"]);
    assert_eq!(
        conditions("gateway"),
        ["postgres service_healthy", "provision service_completed_successfully"]
    );
    let named = file["volumes"].as_object().expect("there are volumes");
    for (name, service) in services(&file) {
        for volume in texts(&service["volumes"]) {
            let of_host = volume.starts_with('.') || volume.starts_with("${");
            let known = volume.split(':').next().is_some_and(|it| named.contains_key(it));
            assert!(of_host || known, "{name}: {volume}");
        }
    }
}
