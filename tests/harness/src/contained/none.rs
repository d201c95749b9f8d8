//! A build that knows no containers: whoever wants one is told how to get it.

use std::process::ExitStatus;

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::Wanted;

/// There is none.
#[derive(Debug)]
pub(crate) enum Contained {}

impl Contained {
    /// Says how to get containers.
    ///
    /// # Errors
    ///
    /// Always.
    pub(crate) fn start(_: &Wanted) -> Result<Self> {
        bail!("this build knows no containers: run `TEST_SERVERS=containers cargo xtask test`")
    }

    pub(crate) fn start_again(&mut self) -> Result<()> {
        match *self {}
    }

    pub(crate) fn pid(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        match *self {}
    }

    pub(crate) fn signal(&self, _: Signal) -> Result<()> {
        match *self {}
    }
}
