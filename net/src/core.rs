//! What is decided without touching the kernel: addresses, names, rules.

pub mod firewall;
pub mod ipam;
pub mod name;
pub mod subnet;
