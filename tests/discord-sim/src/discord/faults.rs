//! What goes wrong on command, at REST and at the gateway, and the clock.
//!
//! Faults that are ordered reach connections that are open now; rules stay until they are used up.

use std::time::Duration;

use super::Discord;
use crate::faults::FaultRule;
use crate::guild::membership::Membership;
use crate::hub::{Inner, Outage};
use crate::sessions::{Order, Slip};

/// Faults.
impl Discord {
    /// Adds a fault of REST to the queue.
    pub fn fault(&self, rule: FaultRule) {
        self.hub.note(|inner| inner.faults.add(rule));
    }

    /// Forgets all faults of REST.
    pub fn clear_faults(&self) {
        self.hub.note(|inner| inner.faults.clear());
    }

    /// Closes every connection to REST as soon as it is made, until [`Discord::resume`].
    pub fn stop_accepting(&self) {
        self.hub.set_outage(Outage::Refused);
    }

    /// Answers every request with 503, until [`Discord::resume`].
    pub fn unavailable(&self) {
        self.hub.set_outage(Outage::Unavailable);
    }

    /// Ends [`Discord::stop_accepting`] and [`Discord::unavailable`].
    pub fn resume(&self) {
        self.hub.set_outage(Outage::None);
    }

    /// Cuts all gateway connections and takes no new ones, until opened again. Sessions live on
    /// for as long as Discord keeps them.
    pub fn open_gateway(&self, open: bool) {
        self.hub.note(|inner| inner.sessions.open = open);
    }

    /// Drops the next events of a name (`MESSAGE_CREATE`; none for any): no session ever gets them.
    pub fn drop_events(&self, name: Option<&str>, times: u32) {
        self.slip(Slip::Drop, name, times);
    }

    /// The ids of the messages (or other things) whose events were never sent, oldest first.
    pub fn unsent(&self) -> Vec<String> {
        self.hub.peek(|inner| inner.sessions.unsent().to_vec())
    }

    /// Sends the next events of a name twice, as Discord may after a RESUME.
    pub fn repeat_events(&self, name: Option<&str>, times: u32) {
        self.slip(Slip::Repeat, name, times);
    }

    /// Sends the next events of a name each after the event that follows it.
    pub fn delay_events(&self, name: Option<&str>, times: u32) {
        self.slip(Slip::Late, name, times);
    }

    fn slip(&self, slip: Slip, name: Option<&str>, times: u32) {
        self.hub.note(|inner| inner.sessions.slip_next(slip, name, times));
    }

    /// Closes the gateway's connections with a code.
    pub fn close_sessions(&self, code: u16) {
        self.order(Order::Close(code));
    }

    /// Cuts the gateway's connections without a close frame.
    pub fn cut_sessions(&self) {
        self.order(Order::Cut);
    }

    /// Asks the clients to reconnect (op 7).
    pub fn request_reconnect(&self) {
        self.order(Order::Reconnect);
    }

    /// Tells the clients that their session is invalid (op 9).
    pub fn say_invalid_session(&self, resumable: bool) {
        self.order(Order::Invalid { resumable });
    }

    /// Makes the next RESUME of every session of now be refused.
    pub fn invalidate_sessions(&self) {
        self.hub.note(|inner| inner.sessions.invalidate());
    }

    /// Whether heartbeats are acknowledged.
    pub fn acknowledge_heartbeats(&self, acknowledge: bool) {
        self.hub.note(|inner| inner.sessions.acks = acknowledge);
    }

    fn order(&self, order: Order) {
        self.hub.note(|inner| inner.sessions.order(order));
    }

    /// Resets the bot's token, as Discord does with one that was leaked or that identified too
    /// often: sessions end with 4004, REST answers 401, until [`Discord::restore_token`].
    pub fn revoke_token(&self) {
        self.hub.note(Inner::revoke_token);
    }

    /// Makes the token good again, as its owner does who puts the new one in place.
    pub fn restore_token(&self) {
        self.hub.note(|inner| inner.token_is_good = true);
    }

    /// Whether the token is good.
    pub fn token_is_good(&self) -> bool {
        self.hub.look(|inner| inner.token_is_good)
    }

    /// Takes the bot out of the guild, or invites it again, or lets the guild have an outage. People
    /// can write all the time.
    pub fn stands(&self, membership: Membership) {
        self.hub.act(|guild| guild.stands(membership));
    }

    /// Moves the simulator's clock forward: nonces, limits, sessions, interactions and ids follow
    /// it.
    pub fn advance(&self, by: Duration) {
        self.hub.clock.advance(by);
        // Settles what the time has decided, and wakes who waits for it.
        self.hub.note(|_| {});
    }
}
