//! Where a program's output and its end go.

use api::attach::{Frame, Stream};
use os::file::Durability;
use stdx::Instant;
use types::job::DownReason;

use super::client::{Pace, Role};
use super::session::exit_status;
use super::{AttachWish, JOB, Lines, Shim, Source, names, write_json};
use crate::limits::SHIM_LINGER;
use crate::stored::{StoredExit, VERSION};

impl Shim {
    pub(super) fn read_output(&mut self, now: Instant, number: u64, stream: Stream, buffer: &mut [u8]) {
        let Some(count) = self.session(number).and_then(|session| session.read(stream, buffer)) else { return };
        let bytes = &buffer[..count];
        if number == JOB && self.is_logged(stream) {
            let source = if stream == Stream::Stderr { Source::Err } else { Source::Out };
            let mut records = Vec::new();
            self.lines.push(now, os::clock::wall().unix_millis(), source, bytes, &mut records);
            self.write_log(&records);
        }
        for client in &mut self.clients {
            let Role::Attached { session, wish, pace } = client.role else { continue };
            if session != number || !wants(wish, stream) {
                continue;
            }
            client.send_output(stream, bytes);
            client.is_gone |= pace == Pace::Drops && client.is_full();
        }
    }

    fn is_logged(&self, stream: Stream) -> bool {
        if stream == Stream::Stderr { self.plan.logs_error } else { self.plan.logs_output }
    }

    pub(super) fn write_log(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.log.append(records) {
            // Most likely a full disk: the job goes on, and the log says how much it missed once there is room.
            log::warn!(job:% = self.plan.job, error:% = os::text::chain(&error); "log not written");
            self.lines.lose(records.len() as u64);
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        let mut records = Vec::new();
        Lines::note(os::clock::wall().unix_millis(), text, &mut records);
        self.write_log(&records);
    }

    pub(super) fn out_of_memory(&mut self) {
        let killed = self.sessions.iter().find(|session| session.number == JOB).map(|job| job.program.oom_kills());
        let limit =
            self.plan.memory_bytes.map_or_else(|| "its".to_owned(), |bytes| format!("its {} MB of", bytes >> 20));
        self.note(&format!(
            "out of memory: the job went over {limit} memory and the kernel killed one of its processes"
        ));
        log::warn!(job:% = self.plan.job, kills:? = killed; "job is out of memory");
        // Asked anew: what was readable once would be so for ever.
        self.oom = self.sessions.iter().find(|session| session.number == JOB).and_then(|job| job.program.oom_notice());
    }

    /// A program ended and all its output was read.
    pub(super) fn finish(&mut self, now: Instant, number: u64, reason: &DownReason) {
        if number == JOB {
            self.finish_job(now, reason);
        }
        let status = exit_status(reason);
        for client in &mut self.clients {
            let Role::Attached { session, wish, .. } = client.role else { continue };
            if session != number {
                continue;
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                if wants(wish, stream) {
                    client.send_output(stream, &[]);
                }
            }
            client.role = Role::Done;
            client.send(&Frame::Exit(status));
        }
        self.sessions.retain(|session| session.number != number);
    }

    fn finish_job(&mut self, now: Instant, reason: &DownReason) {
        self.oom = None;
        let wall_ms = os::clock::wall().unix_millis();
        let mut records = Vec::new();
        self.lines.finish(wall_ms, &mut records);
        self.write_log(&records);
        if !matches!(reason, DownReason::Exited { code: 0 }) {
            self.note(&format!("{}: {reason}", self.plan.job));
        }
        if let Some(job) = self.session(JOB) {
            job.program.delete();
        }
        let exit = StoredExit { version: VERSION, run: self.plan.run, reason: reason.clone(), ended_ms: wall_ms };
        if let Err(error) = write_json(&self.dir.join(names::EXIT), &exit, Durability::Synced) {
            // The daemon hears it all the same, as long as both live.
            log::error!(job:% = self.plan.job, error:% = os::text::chain(&error); "end not written down");
        }
        self.ended = Some(reason.clone());
        self.linger_until = Some(now.after(SHIM_LINGER));
        self.tell_watchers();
    }
}

fn wants(wish: AttachWish, stream: Stream) -> bool {
    match stream {
        Stream::Stdout => wish.stdout,
        Stream::Stderr => wish.stderr,
        Stream::Stdin | Stream::Init => false,
    }
}
