//! Named threads.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Stack of every thread we start: enough for serde on nested JSON, small enough for many threads.
const STACK_BYTES: usize = 512 * 1024;

/// Start a thread that `ps -L` and a core dump show as `name` (the kernel keeps 15 bytes of it).
///
/// # Errors
/// When the kernel refuses another thread.
pub fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body)
}
