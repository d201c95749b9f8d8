//! What each service may say and hear on NATS: the least that it works with, each with its reason.
//!
//! `gateway-svc provision` writes these lists into the configuration of nats-server; a story tries
//! what is not on them. The admin is not here: it may do everything, and no service runs as admin.
//!
//! A subject that is not granted is refused, and to the one who asks the refusal looks like a
//! time-out. Nobody here may make, change, purge or delete a stream, and nobody may take a consumer
//! away that work or records are delivered by. Nothing here talks to NATS.

use crate::ids::{ProjectName, RunnerId};
use crate::streams::{
    self, CONTROL, ConsumerSpec, RUNNERS, RUNS, WORK, bucket_stream, bucket_subject, files_bucket,
    files_stream,
};

/// One subject, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The subject, with NATS' wildcards.
    pub subject: String,
    /// Why the service needs it.
    pub why: &'static str,
}

/// What a service may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What it may publish, requests included.
    pub publish: Vec<Grant>,
    /// What it may listen to.
    pub subscribe: Vec<Grant>,
}

/// The name of the gateway's key. All gateways have one in common: they are one service.
pub const GATEWAY: &str = "gateway";
/// The name of the admin's key, which `provision` works with.
pub const ADMIN: &str = "admin";

/// The name of a runner's key.
pub fn runner_user(runner: &RunnerId) -> String {
    format!("runner-{runner}")
}

/// What the inboxes of a user begin with. Each has its own, so that nobody hears another's answers:
/// `_INBOX.>`, which clients take by themselves, would be everybody's.
pub fn inbox(user: &str) -> String {
    format!("_INBOX_{user}")
}

/// What the gateway may do. `projects` are those whose files it reads.
pub fn gateway(projects: &[ProjectName]) -> Permissions {
    let mut may = Permissions::of(GATEWAY);
    may.looks_at_streams();
    may.says("work.>", "publishes released runs");
    may.says(api("DIRECT.GET", RUNS, "$KV.RUNS.>"), "reads the record of each released run");
    may.consumes(&streams::feed_consumer(), "is fed with records");
    may.says(api("DIRECT.GET", CONTROL, "$KV.CONTROL.>"), "reads the controls it is to replace");
    may.says(bucket_subject(CONTROL, &">"), "writes controls");
    may.hears(streams::ALL_LIVE, "hears what claude does this second");
    let presence = bucket_stream(RUNNERS);
    may.watches(&presence, "watches presence, by a consumer that goes with the connection");
    may.says(
        format!("$JS.API.CONSUMER.DELETE.{presence}.*"),
        "takes its last watch away before it makes a new one; nobody else has a consumer there",
    );
    for project in projects {
        may.reads_files(project);
        may.says(
            format!("$O.{}.>", files_bucket(project)),
            "writes the files of questions; what is there already cannot be purged",
        );
    }
    may
}

/// What a runner may do that works for these projects.
pub fn runner(runner: &RunnerId, projects: &[ProjectName]) -> Permissions {
    let mut may = Permissions::of(&runner_user(runner));
    may.looks_at_streams();
    may.consumes(&streams::runner_consumer(runner), "asks for its own work");
    let name = streams::identity_key(runner);
    let get = |bucket: &str, subject: &str| api("DIRECT.GET", bucket, subject);
    may.says(get(RUNS, &bucket_subject(RUNS, &name)), "reads who has its name");
    may.says(bucket_subject(RUNS, &name), "takes its name");
    may.says(bucket_subject(RUNS, &streams::twin_key(runner)), "tells that it was refused it");
    may.says(bucket_subject(RUNNERS, runner), "shows presence, as itself alone");
    for project in projects {
        // Three tokens, as a run's key has them: `runner.<name>` and `twin.<name>` have two, so that
        // a project may have either name.
        let runs = bucket_subject(RUNS, &format_args!("{project}.*.*"));
        may.says(get(RUNS, &runs), "reads the records of its projects");
        may.says(runs, "writes the records of its projects");
        let controls = bucket_subject(CONTROL, &format_args!("{project}.*.*"));
        may.says(get(CONTROL, &controls), "reads what people decided about its runs");
        may.hears(controls, "is hinted at once that somebody decided");
        may.says(format!("live.{project}.*.*"), "tells what claude does this second");
        may.consumes(&streams::project_consumer(project), "asks for work that any runner may do");
        may.reads_files(project);
        may.says(
            format!("$O.{}.>", files_bucket(project)),
            "writes answers, files and transcripts; what is there already cannot be purged",
        );
    }
    may
}

impl Permissions {
    fn of(user: &str) -> Self {
        let mut may = Self::default();
        may.hears(format!("{}.>", inbox(user)), "hears answers to its own requests");
        may
    }

    fn says(&mut self, subject: impl Into<String>, why: &'static str) {
        self.publish.push(Grant { subject: subject.into(), why });
    }

    fn hears(&mut self, subject: impl Into<String>, why: &'static str) {
        self.subscribe.push(Grant { subject: subject.into(), why });
    }

    fn looks_at_streams(&mut self) {
        let buckets = [RUNS, CONTROL, RUNNERS].map(bucket_stream);
        for stream in [WORK.to_owned()].into_iter().chain(buckets) {
            let why = "checks the settings at the start, and whether it was made anew";
            self.says(format!("$JS.API.STREAM.INFO.{stream}"), why);
        }
    }

    fn consumes(&mut self, consumer: &ConsumerSpec, why: &'static str) {
        let ConsumerSpec { stream, name, .. } = consumer;
        self.says(format!("$JS.API.CONSUMER.INFO.{stream}.{name}"), "checks its settings");
        self.says(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"), why);
        self.says(format!("$JS.ACK.{stream}.{name}.>"), "acknowledges it");
        // The subject gets two tokens more, domain and account, by a setting of the server.
        self.says(format!("$JS.ACK.*.*.{stream}.{name}.>"), "acknowledges it, newer form");
    }

    fn watches(&mut self, stream: &str, why: &'static str) {
        self.says(format!("$JS.API.CONSUMER.CREATE.{stream}"), why);
        self.says(format!("$JS.API.CONSUMER.CREATE.{stream}.>"), why);
        self.says(format!("$JS.FC.{stream}.>"), "says that it keeps pace");
        self.says(format!("$JS.FC.*.*.{stream}.>"), "says that it keeps pace, newer form");
    }

    fn reads_files(&mut self, project: &ProjectName) {
        let bucket = files_bucket(project);
        let stream = files_stream(project);
        self.says(format!("$JS.API.STREAM.INFO.{stream}"), "opens the files of its projects");
        self.says(format!("$JS.API.DIRECT.GET.{stream}.$O.{bucket}.M.*"), "finds a file");
        self.watches(&stream, "reads a file, by a consumer that goes when it is read");
    }
}

/// A request about one subject of a bucket.
fn api(what: &str, bucket: &str, subject: &str) -> String {
    format!("$JS.API.{what}.{}.{subject}", bucket_stream(bucket))
}

/// Whether a subject with wildcards takes this one, which may have some itself: the rule by which
/// nats-server holds a subject against a grant.
pub fn covers(granted: &str, subject: &str) -> bool {
    let (mut granted, mut subject) = (granted.split('.'), subject.split('.'));
    loop {
        match (granted.next(), subject.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(grant), Some(token)) if grant == token => {}
            (Some(_) | None, _) => return false,
        }
    }
}

impl Permissions {
    /// Whether it may publish this.
    pub fn may_say(&self, subject: &str) -> bool {
        self.publish.iter().any(|grant| covers(&grant.subject, subject))
    }

    /// Whether it may listen to this.
    pub fn may_hear(&self, subject: &str) -> bool {
        self.subscribe.iter().any(|grant| covers(&grant.subject, subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner_of_api() -> Permissions {
        runner(&"build-2".parse().unwrap(), &["api".parse().unwrap()])
    }

    #[test]
    fn a_grant_covers_what_its_wildcards_say() {
        assert!(covers("$KV.RUNS.api.*.*", "$KV.RUNS.api.7.m7"));
        assert!(!covers("$KV.RUNS.api.*.*", "$KV.RUNS.api.7"));
        assert!(!covers("$KV.RUNS.api.*.*", "$KV.RUNS.api.>"), "more than is granted");
        assert!(covers("work.>", "work.api.any.m7.1") && !covers("work.>", "work"));
        assert!(!covers("a.b", "a.b.c") && !covers("a.*.c", "a.b"));
    }

    #[test]
    fn a_runner_may_do_its_own_work_in_both_forms() {
        let may = runner_of_api();
        for subject in [
            "$JS.API.CONSUMER.MSG.NEXT.WORK.runner-build-2",
            "$JS.ACK.WORK.runner-build-2.1.7.9.1700.0",
            "$JS.ACK.hub.ACCHASH.WORK.runner-build-2.1.7.9.1700.0.r",
            "$JS.API.CONSUMER.INFO.WORK.project-api",
            "$JS.API.CONSUMER.MSG.NEXT.WORK.project-api",
            "$JS.ACK.WORK.project-api.1.7.9.1700.0",
            "$JS.ACK.hub.ACCHASH.WORK.project-api.1.7.9.1700.0.r",
            "$KV.RUNS.api.7.m7",
            "$JS.API.DIRECT.GET.KV_RUNS.$KV.RUNS.api.7.m7",
            "$KV.RUNS.runner.build-2",
            "$KV.RUNNERS.build-2",
            "$O.FILES_api.C.x",
            "live.api.7.m7",
        ] {
            assert!(may.may_say(subject), "{subject}");
        }
        assert!(may.may_hear("_INBOX_runner-build-2.x") && may.may_hear("$KV.CONTROL.api.7.m7"));
    }

    #[test]
    fn a_runner_may_not_do_anothers() {
        let may = runner_of_api();
        for subject in [
            "work.api.any.m7.1",
            "work.api.at.build-2.m7.1",
            "$KV.RUNS.web.7.m7",
            "$KV.RUNS.runner.build-1",
            "$KV.RUNNERS.build-1",
            "$KV.CONTROL.api.7.m7",
            "$O.FILES_web.C.x",
            "live.web.7.m7",
            "$JS.API.DIRECT.GET.WORK",
            "$JS.API.DIRECT.GET.KV_RUNS",
            "$JS.API.DIRECT.GET.KV_RUNS.$KV.RUNS.web.7.m7",
            "$JS.API.STREAM.MSG.GET.KV_RUNS",
            "$JS.API.STREAM.INFO.OBJ_FILES_web",
            "$JS.API.CONSUMER.MSG.NEXT.WORK.runner-build-1",
            "$JS.API.CONSUMER.MSG.NEXT.WORK.project-web",
            "$JS.ACK.WORK.project-web.1.7.9.1700.0",
            "$JS.ACK.WORK.runner-build-1.1.7.9.1700.0",
            "$JS.API.CONSUMER.CREATE.WORK.x",
            "$JS.API.CONSUMER.CREATE.OBJ_FILES_web",
        ] {
            assert!(!may.may_say(subject), "{subject}");
        }
        for subject in [">", "_INBOX.>", "_INBOX_gateway.>", "$KV.CONTROL.>", "$KV.RUNS.api.*.*"] {
            assert!(!may.may_hear(subject), "{subject}");
        }
    }

    #[test]
    fn a_project_may_be_called_as_the_keys_of_runners_are() {
        let named = |name: &str| runner(&"a".parse().unwrap(), &[name.parse().unwrap()]);
        assert!(!named("runner").may_say("$KV.RUNS.runner.b"));
        assert!(!named("twin").may_say("$KV.RUNS.twin.b"));
    }

    #[test]
    fn nobody_but_the_admin_makes_or_takes_away_streams() {
        for may in [runner_of_api(), gateway(&["api".parse().unwrap()])] {
            for stream in ["WORK", "KV_RUNS", "KV_CONTROL", "KV_RUNNERS", "OBJ_FILES_api"] {
                for verb in ["CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "RESTORE"] {
                    let subject = format!("$JS.API.STREAM.{verb}.{stream}");
                    assert!(!may.may_say(&subject), "{subject}");
                }
            }
            for consumer in ["WORK.runner-build-2", "KV_RUNS.gateway"] {
                for verb in ["CREATE", "DURABLE.CREATE", "DELETE", "RESET", "PAUSE"] {
                    let subject = format!("$JS.API.CONSUMER.{verb}.{consumer}");
                    assert!(!may.may_say(&subject), "{subject}");
                }
            }
        }
    }

    #[test]
    fn every_grant_is_given_once_and_says_why() {
        for may in [runner_of_api(), gateway(&["api".parse().unwrap()])] {
            let all: Vec<_> = may.publish.iter().chain(&may.subscribe).collect();
            let mut subjects: Vec<_> = all.iter().map(|grant| &grant.subject).collect();
            let count = subjects.len();
            subjects.sort();
            subjects.dedup();
            assert_eq!(subjects.len(), count);
            assert!(all.iter().all(|grant| !grant.why.is_empty()));
        }
    }
}
