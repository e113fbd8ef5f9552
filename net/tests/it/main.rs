//! The network of one host in the kernel: as root, each test in network namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test states what must hold")]

mod root;
mod world;
