//! What the pusher reads: Heroku's grammar, each line sent at once.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use api::attach::{Frame, Stream, write_bytes, write_frame};

/// The pusher's screen, shared by all who write to it.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    out: Arc<Mutex<UnixStream>>,
}

impl Screen {
    pub(crate) fn new(out: UnixStream) -> Screen {
        Screen { out: Arc::new(Mutex::new(out)) }
    }

    /// Text as it is. Fails when the pusher is gone.
    pub(crate) fn text(&self, bytes: &[u8]) -> io::Result<()> {
        write_bytes(&mut *self.out.lock().unwrap_or_else(PoisonError::into_inner), Stream::Stderr, bytes)
    }

    /// `-----> line`. A pusher who is gone is noticed by the reader of the connection, so failures end here.
    pub(crate) fn step(&self, line: &str) {
        let _ = self.text(format!("-----> {line}\n").as_bytes());
    }

    /// A line under a step.
    pub(crate) fn detail(&self, line: &str) {
        let _ = self.text(format!("       {line}\n").as_bytes());
    }

    /// `=====> line`.
    pub(crate) fn headline(&self, line: &str) {
        let _ = self.text(format!("=====> {line}\n").as_bytes());
    }

    /// What failed, why, and what to do.
    pub(crate) fn failure(&self, message: &str, hint: Option<&str>) {
        let mut text = String::from("\n");
        for line in message.lines() {
            text.push_str(&format!(" !     {line}\n"));
        }
        for line in hint.into_iter().flat_map(str::lines) {
            text.push_str(&format!("       {line}\n"));
        }
        text.push('\n');
        let _ = self.text(text.as_bytes());
    }

    /// The end: 0 lets git move the branch.
    pub(crate) fn exit(&self, status: u32) {
        let _ = write_frame(&mut *self.out.lock().unwrap_or_else(PoisonError::into_inner), &Frame::Exit(status));
    }
}

/// Seconds with one digit, as at the end of a line.
pub(crate) fn seconds(span: std::time::Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}
