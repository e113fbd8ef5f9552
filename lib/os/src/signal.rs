//! Waiting for SIGTERM and SIGINT.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when the process was asked to end. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    asked: Arc<AtomicBool>,
}

impl Shutdown {
    /// One that nobody has asked for.
    #[must_use]
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Ask for the end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Have SIGTERM and SIGINT ask for the end.
    ///
    /// # Errors
    /// When the kernel refuses the signal handlers.
    pub fn on_signals(&self) -> io::Result<()> {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&self.asked))?;
        }
        Ok(())
    }

    /// Wait until the end is asked for.
    pub fn wait(&self) {
        while !self.asked() {
            crate::clock::pause(std::time::Duration::from_millis(50));
        }
    }
}
