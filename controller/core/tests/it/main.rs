//! Script tests of every strategy and every failure, and a simulation with deaths of the controller.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cell;
mod scripts;
mod sim;
