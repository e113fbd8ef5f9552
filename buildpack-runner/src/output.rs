//! What people read: Heroku's grammar on one stream, and the steps of the build with it.

use std::io::Write;

use types::stack::BuildPhase;

use crate::core::line::{self, Line};
use crate::core::phases::{Phases, duration, summary};
use crate::failure::Failure;

/// Longest part of a line that is looked at for an arrow.
const LINE_BYTES_MAX: usize = 400;

pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    phases: Phases,
    partial: Vec<u8>,
}

// A reader that went away must not fail a build halfway: the reply says how it ended.
impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, first: &str) -> Output<'a> {
        Output { out, phases: Phases::begin(os::clock::now(), first), partial: Vec::new() }
    }

    /// `-----> step`, which begins a step of this name.
    pub(crate) fn step(&mut self, name: &str, text: &str) {
        self.phases.enter(os::clock::now(), name);
        let _ = writeln!(self.out, "-----> {text}");
        let _ = self.out.flush();
    }

    /// An arrow in the step that goes on.
    pub(crate) fn arrow(&mut self, text: &str) {
        let _ = writeln!(self.out, "-----> {text}");
        let _ = self.out.flush();
    }

    pub(crate) fn detail(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.out, "       {line}");
        }
        let _ = self.out.flush();
    }

    pub(crate) fn warn(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.out, " !     {line}");
        }
        let _ = self.out.flush();
    }

    /// What a buildpack prints, unchanged; its arrows begin steps.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes);
        let _ = self.out.flush();
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.partial);
                match line::parse(&line) {
                    Line::Step(name) => self.phases.enter(os::clock::now(), &name),
                    Line::Cache(said) => self.phases.cache(&said),
                    Line::Other => {}
                }
            } else if self.partial.len() < LINE_BYTES_MAX {
                self.partial.push(byte);
            }
        }
    }

    /// A buildpack has ended: what it began to print ends too.
    pub(crate) fn end_of_child(&mut self) {
        if !self.partial.is_empty() {
            self.pass(b"\n");
        }
    }

    pub(crate) fn current(&self) -> &str {
        self.phases.current()
    }

    pub(crate) fn phases(&self) -> (Vec<BuildPhase>, u64) {
        self.phases.clone().end(os::clock::now())
    }

    /// `=====> Built in 3.2 s` and the steps.
    pub(crate) fn finish(self, headline: &str) {
        let (phases, total) = self.phases.end(os::clock::now());
        let _ = writeln!(self.out, "=====> {headline} in {}", duration(total));
        for line in summary(&phases, total) {
            let _ = writeln!(self.out, "       {line}");
        }
        let _ = self.out.flush();
    }

    pub(crate) fn fail(&mut self, failure: &Failure) {
        let _ = writeln!(self.out, " !");
        self.warn(&format!("Build failed ({}):", failure.code.as_str()));
        self.warn(&failure.what);
        if !failure.todo.is_empty() {
            let _ = writeln!(self.out, " !");
            self.warn(&failure.todo);
        }
        let _ = writeln!(self.out, " !");
        let _ = self.out.flush();
    }
}
