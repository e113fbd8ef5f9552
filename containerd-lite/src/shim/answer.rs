//! What clients ask of a shim.

use api::attach::{Frame, Stream};
use types::job::DownReason;

use super::client::{Pace, Role};
use super::session::Session;
use super::wire::{ExecWish, Reply, Request};
use super::{AttachWish, JOB, Shim, program};
use crate::limits::EXECS_MAX;

impl Shim {
    /// Act on what a client has sent.
    pub(super) fn listen_to(&mut self, at: usize) {
        while let Some(client) = self.clients.get_mut(at) {
            match client.role {
                Role::Asking => match client.take_line() {
                    Some(line) => self.asked(at, &line),
                    None => return,
                },
                Role::Attached { session, wish, .. } => match client.take_frame() {
                    Some(frame) => self.framed(session, wish, frame),
                    None => return,
                },
                Role::Watching | Role::Done => return,
            }
        }
    }

    fn asked(&mut self, at: usize, line: &[u8]) {
        let request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => return self.reply(at, &Reply::Failed(format!("no request: {error}"))),
        };
        match request {
            Request::Watch => {
                let state = self.state();
                self.clients[at].role = Role::Watching;
                self.clients[at].say(&state);
            }
            Request::Start => {
                let reply = self.start();
                self.reply(at, &reply);
            }
            Request::Signal(number) => {
                let reply = match (&self.ended, self.is_started) {
                    (Some(_), _) => Reply::Failed("the job has ended".to_owned()),
                    (None, false) => Reply::Failed("the job has not started".to_owned()),
                    (None, true) => self.signal(JOB, number),
                };
                self.reply(at, &reply);
            }
            Request::Attach(wish) => self.attach(at, wish),
            Request::Exec(wish) => self.exec(at, &wish),
        }
    }

    fn reply(&mut self, at: usize, reply: &Reply) {
        self.clients[at].role = Role::Done;
        self.clients[at].say(reply);
    }

    fn refuse(&mut self, at: usize, why: String) {
        self.clients[at].role = Role::Done;
        self.clients[at].send(&Frame::Error(why));
    }

    fn signal(&mut self, number: u64, signal: i32) -> Reply {
        match self.session(number).map(|session| session.program.signal(signal)) {
            Some(true) => Reply::Done,
            Some(false) => Reply::Failed(format!("signal {signal} was not delivered")),
            None => Reply::Failed("the program has ended".to_owned()),
        }
    }

    fn start(&mut self) -> Reply {
        if self.is_started || self.ended.is_some() {
            // Asked again by a daemon that did not hear the first answer.
            return Reply::Done;
        }
        let Some(job) = self.session(JOB) else { return Reply::Failed("the job has ended".to_owned()) };
        match job.program.start() {
            Ok(()) => {
                self.is_started = true;
                self.tell_watchers();
                Reply::Done
            }
            Err(error) => {
                let reason = os::text::chain(&error);
                let ended = DownReason::Failed { reason: reason.clone() };
                self.finish(os::clock::now(), JOB, &ended);
                Reply::Failed(reason)
            }
        }
    }

    fn attach(&mut self, at: usize, wish: AttachWish) {
        if self.ended.is_some() {
            return self.refuse(at, "the job has ended".to_owned());
        }
        let takes_input = self.session(JOB).is_some_and(|job| job.program.is_attachable());
        if wish.stdin && !takes_input {
            return self.refuse(at, "the job takes no input: it was not started to be attached to".to_owned());
        }
        // Somebody who gives the input of a job is whom it runs for; all others watch.
        let pace = if wish.stdin { Pace::Waits } else { Pace::Drops };
        self.clients[at].role = Role::Attached { session: JOB, wish, pace };
        self.clients[at].send(&Frame::Attached);
        self.tell_watchers();
    }

    fn exec(&mut self, at: usize, wish: &ExecWish) {
        if !self.is_started || self.ended.is_some() {
            return self.refuse(at, "the job is not running".to_owned());
        }
        if self.sessions.len() > EXECS_MAX {
            return self.refuse(at, format!("{EXECS_MAX} programs were added to the job already"));
        }
        let Some(target) = self.session(JOB).and_then(|job| job.program.target()) else {
            return self.refuse(at, "the job is not running".to_owned());
        };
        match program::exec(&self.runtime, &target, wish) {
            Ok((program, streams)) => {
                let number = self.next_session;
                self.next_session += 1;
                self.sessions.push(Session::new(number, program, streams));
                let wish = AttachWish { stdin: true, stdout: true, stderr: true };
                self.clients[at].role = Role::Attached { session: number, wish, pace: Pace::Waits };
                self.clients[at].send(&Frame::Attached);
            }
            Err(error) => self.refuse(at, os::text::chain(&error)),
        }
    }

    fn framed(&mut self, number: u64, wish: AttachWish, frame: Frame) {
        match frame {
            Frame::Bytes(Stream::Stdin, bytes) if wish.stdin => {
                if let Some(session) = self.session(number) {
                    session.feed(&bytes);
                }
            }
            Frame::Signal(signal) if wish.stdin => {
                let signal = i32::try_from(signal).unwrap_or(0);
                drop(self.signal(number, signal));
            }
            Frame::Resize { rows, columns } if wish.stdin => {
                if let Some(session) = self.session(number) {
                    session.program.resize(rows, columns);
                }
            }
            // What only the host says, or a watcher may not.
            _ => {}
        }
    }
}
