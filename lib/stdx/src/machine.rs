//! The one shape of decision code.

use alloc::vec::Vec;

use crate::Instant;

/// A pure state machine: events in, an ordered batch of effects out.
///
/// `handle` is total: any event in any state, never a panic on a peer's input. The order of `effects`
/// is the order of execution, so what must be durable comes before the sends that rely on it. The
/// shell executes all effects of one event before it feeds the next.
pub trait Machine {
    /// What can happen: a peer's message, the answer to an effect, a command, or the passing of time.
    type Event;
    /// What the shell must do.
    type Effect;

    /// Take in one event at `now`, and append what must be done.
    fn handle(&mut self, now: Instant, event: Self::Event, effects: &mut Vec<Self::Effect>);

    /// When the machine wants to hear that time has passed, if ever.
    fn deadline(&self) -> Option<Instant>;
}
