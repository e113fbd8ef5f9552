//! An orderly end: asked for by SIGTERM, SIGINT or the program itself, waited for without looking again and again.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Set when the end was asked for. Cheap to clone and to ask; its descriptor is readable from then on.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: Arc<AtomicBool>,
    /// The first is readable once a byte was written to the second. Nobody ever reads it.
    pair: Arc<(UnixStream, UnixStream)>,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown::new()
    }
}

impl Shutdown {
    /// One that nobody has asked for.
    ///
    /// # Panics
    /// If the kernel gives no descriptor: nothing can be started or ended in order then.
    #[must_use]
    pub fn new() -> Shutdown {
        let pair = UnixStream::pair().expect("a pair of descriptors for the shutdown");
        // A full pipe is readable already, which is all that is wanted of it.
        pair.1.set_nonblocking(true).expect("a socket can be non-blocking");
        Shutdown { asked: Arc::default(), pair: Arc::new(pair) }
    }

    /// Ask for the end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        let _ = (&self.pair.1).write(&[1]);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Have SIGTERM and SIGINT ask for the end.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn on_signals(&self) -> io::Result<()> {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&self.asked))?;
            // After the flag, so that whoever is woken finds it set.
            signal_hook::low_level::pipe::register(signal, self.pair.1.try_clone()?)?;
        }
        Ok(())
    }

    /// Wait until the end is asked for.
    pub fn wait(&self) {
        while !self.wait_for(Duration::from_secs(3_600)) {}
    }

    /// Wait until the end is asked for, or `limit` has passed; whether it was asked for.
    pub fn wait_for(&self, limit: Duration) -> bool {
        if !self.asked() {
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            // An interrupted wait is only a short one. Rounded up: a wait of less than a millisecond is none.
            let millis = limit.as_micros().div_ceil(1_000);
            let _ = poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX));
        }
        self.asked()
    }

    /// Wait until `fd` is readable or closed, the end is asked for, or `limit` has passed; whether `fd` is worth a look.
    #[must_use]
    pub fn wait_readable(&self, fd: BorrowedFd<'_>, limit: Duration) -> bool {
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN), PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let millis = limit.as_micros().div_ceil(1_000);
        let _ = poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX));
        !self.asked() && fds[0].revents().is_some_and(|events| !events.is_empty())
    }
}

impl AsFd for Shutdown {
    /// Readable once the end was asked for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pair.0.as_fd()
    }
}

#[cfg(test)]
mod tests;
