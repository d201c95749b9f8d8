//! A second gateway beside the one of a world, on the same PostgreSQL, with a session of its own of
//! the same bot.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;

use crate::http;
use crate::measure::Happened::{Killed, Started, Stopped};
use crate::ports::free_port;
use crate::postgres::Postgres;
use crate::ready::until_ready;
use crate::service::Service;
use crate::stack::STOP_WITHIN;
use crate::world::{PATIENCE, World};

/// The name of its log.
const NAME: &str = "second-gateway";

/// A second gateway. Dropping it kills it.
#[derive(Debug)]
pub struct SecondGateway {
    service: Service,
    health: SocketAddr,
}

impl SecondGateway {
    /// Where its pages are.
    pub(crate) fn health(&self) -> SocketAddr {
        self.health
    }
}

impl World {
    /// The gateway keeps its store on this server, from its next start on.
    pub async fn store_on(&self, server: &Postgres) {
        let mut stack = self.stack.lock().await;
        let env = &mut stack.gateway().plan_mut().env;
        env.insert("DATABASE_URL".into(), server.url().into());
    }

    /// A second gateway with the settings of the first, not started.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub async fn gateway_beside(&self) -> Result<SecondGateway> {
        let mut plan = self.stack.lock().await.gateway().plan_mut().clone();
        let health = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        plan.name = NAME;
        plan.env.insert("HTTP_LISTEN".into(), health.to_string().into());
        plan.log = self.folder().logs().join(format!("{NAME}.log"));
        Ok(SecondGateway { service: Service::new(plan), health })
    }

    /// Starts the second gateway and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_second(&self, second: &mut SecondGateway) -> Result<()> {
        self.measure.note(Started("the second gateway"));
        second.service.start()?;
        let ready = until_ready(&mut second.service, second.health).await;
        self.noting(ready)
    }

    /// Starts the second gateway, which is to kill itself at a point, and waits until it is ready
    /// or dead.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn start_second_to_die_at(
        &self,
        second: &mut SecondGateway,
        point: &str,
    ) -> Result<()> {
        second.service.once("HOLDFAST_CRASH_AT", point);
        let started = self.start_second(second).await;
        if second.service.ended().is_some() { Ok(()) } else { started }
    }

    /// Kills the second gateway.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill_second(&self, second: &mut SecondGateway) -> Result<()> {
        self.measure.note(Killed("the second gateway".to_owned()));
        self.noting(block_in_place(|| second.service.kill()))
    }

    /// Ends the second gateway by SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub fn stop_second(&self, second: &mut SecondGateway) -> Result<()> {
        self.measure.note(Stopped("the second gateway"));
        let status = block_in_place(|| second.service.stop(STOP_WITHIN));
        self.noting(status.and_then(|status| {
            ensure!(status.success(), "the second gateway ended with {status}");
            Ok(())
        }))
    }
}

impl SecondGateway {
    /// Waits until it has killed itself.
    ///
    /// # Errors
    ///
    /// When it does not, or ends otherwise.
    pub fn dies(&mut self) -> Result<()> {
        let ended = block_in_place(|| self.service.wait(PATIENCE));
        let tail = self.service.tail();
        let status = ended.with_context(|| format!("it never came to its point\n{tail}"))?;
        ensure!(status.signal() == Some(9), "it ended with {status} and not by SIGKILL\n{tail}");
        Ok(())
    }

    /// The status and the text of one of its health pages.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn page(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.health, path).await
    }
}
