//! `run`: a command in the app's release, with this terminal as its own.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use api::attach::{Frame, PROTOCOL, Stream, read_frame, write_bytes, write_frame};
use api::controller::{self as endpoints, NewJob};
use clap::Args;
use nix::sys::termios::{self, SetArg, Termios};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};

use super::Context;
use crate::term;

#[derive(Debug, Args)]
#[command(trailing_var_arg = true)]
pub(super) struct Run {
    /// Print the job's id and let it run
    #[arg(short, long)]
    detached: bool,
    /// Another release than the current one: an id or a number as v3
    #[arg(short, long)]
    release: Option<String>,
    /// Use no terminal even if there is one
    #[arg(long)]
    no_tty: bool,
    /// The command and its arguments
    #[arg(required = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(super) fn run(context: &Context, args: &Run) -> Result<ExitCode> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    context.deployed(&controller, &app)?;
    let tty = !args.detached && !args.no_tty && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let (columns, rows) = terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0));
    let mut request = NewJob {
        release: args.release.clone().unwrap_or_default(),
        args: args.command.clone(),
        tty,
        tty_columns: columns,
        tty_lines: rows,
        ..NewJob::default()
    };
    if tty && let Ok(kind) = std::env::var("TERM") {
        request.env.insert("TERM".to_owned(), kind);
    }
    if args.detached {
        let job = controller.call(&endpoints::JOB_RUN, &[app.id.as_str()], &request)?;
        term::out(job.id.as_str());
        term::note(&format!("next: slipway log --app {} --job {}", app.name, job.id.short()));
        return Ok(ExitCode::SUCCESS);
    }
    // Placing the job, fetching its layers and starting it all happen before the answer.
    let controller = controller.timeout(Some(std::time::Duration::from_secs(600)));
    let (stream, early) = controller.upgrade(&endpoints::JOB_ATTACH, &[app.id.as_str()], &[], PROTOCOL, &request)?;
    let raw = if tty { Some(RawTerminal::enter()?) } else { None };
    let status = attach(stream, early, tty);
    drop(raw);
    let status = status?;
    Ok(ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1)))
}

/// Copy both ways until the job has ended; gives its exit status.
fn attach(stream: UnixStream, early: Vec<u8>, tty: bool) -> Result<u32> {
    let sender = Arc::new(Mutex::new(stream.try_clone().context("share the connection")?));
    send_input(Arc::clone(&sender))?;
    send_signals(sender, tty)?;
    let mut input = std::io::Cursor::new(early).chain(stream);
    loop {
        match read_frame(&mut input).context("read from the job")? {
            Some(Frame::Bytes(Stream::Stdout, bytes)) => term::out_bytes(&bytes),
            Some(Frame::Bytes(Stream::Stderr | Stream::Init, bytes)) => {
                // Standard error of the job is standard error here.
                let _ = std::io::stderr().lock().write_all(&bytes);
            }
            Some(Frame::Exit(status)) => return Ok(status),
            Some(Frame::Error(why)) => bail!("the job did not run: {why}"),
            Some(_) => {}
            None => bail!("the connection to the job ended before the job did; `slipway ps -A` tells how it is"),
        }
    }
}

fn send(sender: &Mutex<UnixStream>, frame: &Frame) -> std::io::Result<()> {
    write_frame(&mut *sender.lock().unwrap_or_else(PoisonError::into_inner), frame)
}

fn send_input(sender: Arc<Mutex<UnixStream>>) -> Result<()> {
    os::thread::spawn("run-stdin", move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            // A broken input ends the job's input too.
            let got = std::io::stdin().lock().read(&mut buffer).unwrap_or(0);
            let sent = {
                let mut out = sender.lock().unwrap_or_else(PoisonError::into_inner);
                write_bytes(&mut *out, Stream::Stdin, &buffer[..got])
            };
            if got == 0 || sent.is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// In a terminal the keys arrive as input, so only its size matters; without one, signals are passed on.
fn send_signals(sender: Arc<Mutex<UnixStream>>, tty: bool) -> Result<()> {
    let wanted: &[i32] = if tty { &[SIGWINCH] } else { &[SIGINT, SIGTERM] };
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    os::thread::spawn("run-signals", move || {
        for signal in &mut signals {
            let frame = if signal == SIGWINCH {
                let Some((width, height)) = terminal_size::terminal_size() else { continue };
                Frame::Resize { rows: height.0, columns: width.0 }
            } else {
                Frame::Signal(u32::try_from(signal).unwrap_or(15))
            };
            if send(&sender, &frame).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The terminal passes every key on; dropping this gives it back as it was.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<RawTerminal> {
        let before = termios::tcgetattr(std::io::stdin()).context("read the terminal's settings")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).context("set the terminal to raw")?;
        Ok(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}
