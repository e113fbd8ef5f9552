//! Where components meet: one declaration per endpoint, the server and the client around it, the store's
//! client, and the typed views of what is in the store.
//!
//! Knows no component: it says how they talk, not what they do. Entry points: [`Service`](serve::Service)
//! and [`Client`](client::Client) over [`Endpoint`](endpoint::Endpoint)s; [`store`] for keys;
//! [`attach`] for the frames of an attached job.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod attach;
pub mod client;
pub mod endpoint;
pub mod paths;
pub mod serve;
pub mod store;
mod wire;

pub use client::{CallError, Client};
pub use endpoint::{Endpoint, Lines, Raw, Upgrade};
pub use serve::Service;
