//! Listens to all shims of this host on one thread.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use types::JobId;

use crate::shim::wire::State;

/// What a shim said.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// Where its job is.
    State(State),
    /// Nothing more will come of it.
    Gone { run: u32 },
}

/// One shim that is listened to.
struct Ear {
    job: JobId,
    run: u32,
    stream: UnixStream,
    text: Vec<u8>,
}

/// Where new shims are handed over.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    new: Arc<Mutex<Vec<(JobId, u32, UnixStream)>>>,
    wake: Arc<PipeWriter>,
}

/// More than a state is long; a shim that says more is broken.
const LINE_BYTES_MAX: usize = 1 << 20;

impl Follower {
    pub(crate) fn start(tell: impl Fn(&JobId, Heard) + Send + 'static) -> io::Result<Follower> {
        let (woken, wake) = io::pipe()?;
        let follower = Follower { new: Arc::default(), wake: Arc::new(wake) };
        let new = Arc::clone(&follower.new);
        os::thread::spawn("shims", move || run(woken, &new, &tell))?;
        Ok(follower)
    }

    /// Listen to a shim that is watched on `stream`.
    pub(crate) fn follow(&self, job: &JobId, run: u32, stream: UnixStream) {
        lock(&self.new).push((job.clone(), run, stream));
        // The other end is as long-lived as this one.
        let _ = (&*self.wake).write_all(&[0]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(mut woken: PipeReader, new: &Mutex<Vec<(JobId, u32, UnixStream)>>, tell: &dyn Fn(&JobId, Heard)) {
    let mut ears: BTreeMap<u64, Ear> = BTreeMap::new();
    let mut next = 0;
    loop {
        let ready: Vec<Option<u64>> = {
            let woken: BorrowedFd<'_> = woken.as_fd();
            let keys: Vec<Option<u64>> = std::iter::once(None).chain(ears.keys().copied().map(Some)).collect();
            let fds = std::iter::once(woken).chain(ears.values().map(|ear| ear.stream.as_fd()));
            let mut set: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            // A signal only means another round.
            let _ = nix::poll::poll(&mut set, PollTimeout::NONE);
            let happened = |polled: &PollFd<'_>| polled.any().unwrap_or(false);
            keys.into_iter().zip(&set).filter(|(_, polled)| happened(polled)).map(|(key, _)| key).collect()
        };
        for key in ready {
            let Some(key) = key else {
                match woken.read(&mut [0; 64]) {
                    // The last handle is gone, and with it the daemon's interest.
                    Ok(0) => return,
                    _ => {
                        for (job, run, stream) in std::mem::take(&mut *lock(new)) {
                            ears.insert(next, Ear { job, run, stream, text: Vec::new() });
                            next += 1;
                        }
                    }
                }
                continue;
            };
            if let Some(ear) = ears.get_mut(&key)
                && !listen(ear, tell)
            {
                tell(&ear.job, Heard::Gone { run: ear.run });
                ears.remove(&key);
            }
        }
    }
}

/// Hear what there is; whether more may come.
fn listen(ear: &mut Ear, tell: &dyn Fn(&JobId, Heard)) -> bool {
    let mut chunk = [0; 4096];
    match ear.stream.read(&mut chunk) {
        Ok(0) => return false,
        Ok(count) => ear.text.extend_from_slice(&chunk[..count]),
        Err(error) => return error.kind() == io::ErrorKind::Interrupted,
    }
    while let Some(end) = ear.text.iter().position(|b| *b == b'\n') {
        let line: Vec<u8> = ear.text.drain(..=end).collect();
        match serde_json::from_slice::<State>(&line) {
            Ok(state) if state.run == ear.run => tell(&ear.job, Heard::State(state)),
            Ok(_) => {}
            Err(error) => log::warn!(job:% = ear.job, error:% = error; "a shim said something else"),
        }
    }
    ear.text.len() <= LINE_BYTES_MAX
}
