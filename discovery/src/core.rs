//! What is decided without clocks and sockets: who is there, who is well, what is answered.

pub mod dns;
pub mod health;
pub mod registry;
pub mod upstream;
