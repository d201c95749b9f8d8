//! Misbehaviour, as the script orders it: a runner must bear it.

use anthropic_sim::script::{Fault, Signal};
use rustix::process::{getpid, kill_process};
use serde_json::json;

use crate::claude::Stop;
use crate::output;

/// Misbehaves as the script says.
pub(crate) fn commit(fault: &Fault) -> Result<(), Stop> {
    match fault {
        Fault::Exit(code) => return Err(Stop::Exit(*code)),
        Fault::Garbage => output::raw("this line is not JSON")?,
        Fault::BigLine(size) => {
            let empty =
                json!({"type": "system", "subtype": "claude_sim_big_line", "text": ""}).to_string();
            let text = "x".repeat(size.saturating_sub(empty.len()));
            output::line(
                &json!({"type": "system", "subtype": "claude_sim_big_line", "text": text}),
            )?;
        }
        Fault::Hang => sleep_for_ever(),
        Fault::Die(signal) => {
            kill_process(getpid(), number(*signal)).map_err(std::io::Error::from)?;
            sleep_for_ever();
        }
    }
    Ok(())
}

fn number(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Int => rustix::process::Signal::INT,
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Abrt => rustix::process::Signal::ABORT,
        Signal::Segv => rustix::process::Signal::SEGV,
    }
}

/// Deaf to everything but a signal.
fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}
