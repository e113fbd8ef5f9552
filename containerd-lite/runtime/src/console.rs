//! The master of a container's terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::spec::WindowSize;
use crate::sys;

/// Reads what the program writes to its terminal, writes what it reads. Reading fails with EIO when the last program
/// on the terminal is gone.
#[derive(Debug)]
pub struct Console {
    fd: OwnedFd,
}

impl Console {
    pub(crate) fn new(fd: OwnedFd) -> Console {
        Console { fd }
    }

    /// Tell the terminal its size; the program in front gets SIGWINCH.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        resize(self.fd.as_fd(), size)
    }

    /// The descriptor itself.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// [`Console::resize`] for who has taken the descriptor.
///
/// # Errors
/// When it is no terminal.
pub fn resize(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    sys::set_window_size(terminal, size.rows, size.columns)
}
