//! The codec from outside: corner tables, every split point, seeded mutation.
#![expect(clippy::unwrap_used, reason = "a test states what must hold")]

mod fuzz;
mod rfc;
mod split;
mod stream;
