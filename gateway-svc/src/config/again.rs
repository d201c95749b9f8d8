//! What of the configuration may change while the gateway runs: everything that is not named here.
//!
//! Pure. Where it listens and to whom, where its store and NATS are and who it is in Discord count until the
//! next start: connections and locks were made with them.

use platform::reload::{Refused, without_restart};

use super::{Config, Discord};

impl Config {
    /// This configuration in place of the one that holds.
    ///
    /// # Errors
    ///
    /// [`Refused::NeedsRestart`] with the keys that would need one.
    pub(crate) fn after(self, now: &Self) -> Result<Self, Refused> {
        // Named one by one: whoever adds a key decides here.
        let Self {
            discord: Discord { token, connect_to, ca_pem },
            nats,
            database_url,
            http_listen,
            tokens,
            routes: _,
            posting: _,
            catch_up: _,
            times: _,
            answers: _,
            shows_status: _,
            telemetry,
            trace_url: _,
        } = now;
        let new = &self;
        let own = [
            ("http_listen", *http_listen != new.http_listen),
            ("api.tokens", *tokens != new.tokens),
            ("telemetry", *telemetry != new.telemetry),
            ("database_url", !database_url.is_same(&new.database_url)),
            ("discord.token_file", token.reveal() != new.discord.token.reveal()),
            ("discord.connect_to", *connect_to != new.discord.connect_to),
            ("discord.ca_file", *ca_pem != new.discord.ca_pem),
        ];
        without_restart(own.into_iter().chain(nats.changed(&new.nats)))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;

    const PROJECT: &str = "[projects.app]\nchannels = [\"7\"]\nallow = \"everyone\"\n";

    #[test]
    fn what_a_start_stands_on_is_named_and_the_rest_is_taken() {
        let now = load(PROJECT).unwrap();
        let other = "http_listen = \"127.0.0.1:1\"\ndatabase_url = \"sqlite:///elsewhere.db\"\n\
                     nats_url = \"nats://elsewhere:4222\"\ncatch_up_max_s = 5\n\
                     [discord]\nconnect_to = \"127.0.0.1:2\"\n";
        let refused = load(&format!("{other}{PROJECT}")).unwrap().after(&now).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "needs a restart: http_listen, database_url, discord.connect_to, nats_url"
        );
        let more = "catch_up_max_s = 5\n[status]\nshow = false\n".to_owned() + PROJECT;
        let more = more + "[projects.b]\nchannels = [\"8\"]\nallow = { users = [\"5\"] }\n";
        let taken = load(&more).unwrap().after(&now).unwrap();
        assert!(taken.routes.project_of("8".parse().unwrap()).is_some() && !taken.shows_status);
    }
}
