//! What both services need of their process: NATS, telemetry, health and configuration.
//!
//! It knows what a service is and nothing of runs, Discord or claude: whatever only one of the
//! two services needs lives there.

mod chain;
pub mod clock;
pub mod config;
pub mod crash;
pub mod doctor;
pub mod health;
pub mod metrics;
pub mod nats;
pub mod reload;
pub mod shutdown;
pub mod supervisor;
pub mod tasks;
pub mod telemetry;
pub mod terminal;
pub mod times;
pub mod version;

/// Exit code for a wrong configuration or command line (`EX_USAGE` of sysexits.h).
pub const EXIT_CONFIG: u8 = 64;
