//! What a user would notice: one test binary, a file for each subject, a fact for each name.
//!
//! A story acts as a person in Discord and looks at what a person sees. It names no type of a
//! service, never sleeps, and leaves nothing behind: the harness looks after that.

mod answers;
mod asking;
mod broken;
mod bus;
mod carried;
mod cluster;
mod config;
mod deciding;
mod discord_away;
mod disks;
mod doctor;
mod draining;
mod ended;
mod ending;
mod forged;
mod gateways;
mod handed_over;
mod hosts;
mod kills;
mod leaving;
mod long;
mod missed;
mod moved;
mod network;
mod operator;
mod order;
mod page;
mod phases;
mod points;
mod posting;
mod queue;
mod refused;
mod removed;
mod replay;
mod restarts;
mod same_events;
mod scale_out;
mod scene;
mod secrets;
mod secured;
mod seed;
mod shared;
mod shut_out;
mod status;
mod threadless;
mod threads;
mod unchanged;
mod up;
mod waiting;
mod watching;
mod worktrees;
