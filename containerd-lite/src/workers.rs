//! A few threads for effects that take time, and a bounded queue before them.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

type Work = Box<dyn FnOnce() + Send>;

/// A pool of threads. They end when it is dropped and the queue is empty.
#[derive(Clone)]
pub(crate) struct Workers {
    queue: SyncSender<Work>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workers")
    }
}

impl Workers {
    pub(crate) fn start(name: &str, threads: usize, queue: usize) -> io::Result<Workers> {
        let (sender, inbox) = sync_channel::<Work>(queue);
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..threads {
            let inbox = Arc::clone(&inbox);
            os::thread::spawn(name, move || {
                while let Some(work) = next(&inbox) {
                    work()
                }
            })?;
        }
        Ok(Workers { queue: sender })
    }

    /// Have it done, in the order of the calls. The queue has room for all jobs, so a full one is a defect of ours:
    /// the caller then waits instead of losing work.
    pub(crate) fn push(&self, work: impl FnOnce() + Send + 'static) {
        if let Err(TrySendError::Full(work)) = self.queue.try_send(Box::new(work)) {
            log::warn!("workers are behind");
            let _ = self.queue.send(work);
        }
    }
}

fn next(inbox: &Mutex<Receiver<Work>>) -> Option<Work> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
