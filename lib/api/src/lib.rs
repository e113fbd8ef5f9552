//! Where components meet: one declaration per endpoint, the server and the client around it, the store's
//! client, and the typed views of what is in the store.
//!
//! Knows no component: it says how they talk, not what they do. Entry points: [`Service`]
//! and [`Client`] over [`Endpoint`]s; [`store`] for keys and
//! [`Table`](table::Table)s of typed rows over them: [`cell`], [`discovery`], [`objects`];
//! [`attach`] for the frames of an attached job. Nothing else in the platform builds a key.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod attach;
pub mod blobs;
pub mod cell;
pub mod client;
pub mod controller;
pub mod discovery;
pub mod endpoint;
pub mod host;
pub mod objects;
pub mod paths;
pub mod scheduling;
pub mod serve;
pub mod store;
pub mod table;
mod wire;

pub use client::{CallError, Client};
pub use endpoint::{Endpoint, Lines, Raw, Upgrade};
pub use serve::Service;
