//! What of the configuration may change while the runner runs: everything that is not named here.
//!
//! Pure. What the runner is called, where it keeps its state, where it listens and how NATS is reached
//! count until the next start: locks and connections were made with them.

use platform::reload::{Refused, without_restart};

use super::Config;

impl Config {
    /// This configuration in place of the one that holds.
    ///
    /// # Errors
    ///
    /// [`Refused::NeedsRestart`] with the keys that would need one.
    pub(crate) fn after(self, now: &Self) -> Result<Self, Refused> {
        // Named one by one: whoever adds a key decides here.
        let Self {
            name,
            state_dir,
            slots: _,
            max_waiting_runs: _,
            run_max: _,
            silent_notice: _,
            nats,
            http_listen,
            claude: _,
            labels: _,
            times: _,
            telemetry,
            projects: _,
        } = now;
        let own = [
            ("name", *name != self.name),
            ("state_dir", *state_dir != self.state_dir),
            ("http_listen", *http_listen != self.http_listen),
            ("telemetry", *telemetry != self.telemetry),
        ];
        without_restart(own.into_iter().chain(nats.changed(&self.nats)))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;

    #[test]
    fn what_a_start_stands_on_is_named_and_the_rest_is_taken() {
        let project = "[projects.app]\ndirectory = \"/src/app\"\n";
        let now = load(project).unwrap();
        let other = "name = \"b\"\nstate_dir = \"/elsewhere\"\nhttp_listen = \"127.0.0.1:1\"\n\
                     nats_url = \"nats://elsewhere:4222\"\nslots = 9\n";
        let refused = load(&format!("{other}{project}")).unwrap().after(&now).unwrap_err();
        let named = "needs a restart: name, state_dir, http_listen, nats_url";
        assert_eq!(refused.to_string(), named);
        let more = "slots = 9\nlabels = [\"gpu\"]\n[claude]\nmodel = \"opus\"\n".to_owned();
        let more = more + "[projects.b]\ndirectory = \"/src/b\"\n";
        let taken = load(&more).unwrap().after(&now).unwrap();
        assert_eq!((taken.slots, taken.projects.len()), (9, 1));
    }
}
