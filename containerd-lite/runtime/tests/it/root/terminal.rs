//! Terminals: the first program's and a joined one's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use runtime::{Console, Exit, Stdio, WindowSize};
use testkit::root::granted;

use crate::bed::{Bed, program};

const SIZE: WindowSize = WindowSize { rows: 33, columns: 77 };
const OTHER: WindowSize = WindowSize { rows: 44, columns: 88 };

/// Read until `word` was seen: a terminal has no end while somebody holds it.
fn read_until(file: &mut File, word: &str) -> String {
    let mut text = String::new();
    let mut part = [0; 256];
    while !text.contains(word) {
        let count = file.read(&mut part).unwrap_or_else(|error| panic!("{error} after {text:?}"));
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    text
}

fn file(console: &Console) -> File {
    use std::os::fd::AsFd;
    let copy: OwnedFd = console.as_fd().try_clone_to_owned().unwrap();
    File::from(copy)
}

#[test]
fn root_terminal_has_size_and_can_be_resized() {
    if !granted("root_terminal_has_size_and_can_be_resized") {
        return;
    }
    let bed = Bed::new("rt-tty");
    let script = "tty; stty size; trap 'stty size; exit 6' WINCH; echo re''ady; while :; do read x; done";
    let mut created = bed.runtime.create(&bed.spec(script), Stdio::Terminal(SIZE)).unwrap();
    let console = created.take_console().unwrap();
    let mut running = created.start().unwrap();
    let mut terminal = file(&console);
    let text = read_until(&mut terminal, "ready");
    assert!(text.contains("/dev/pts/0") || text.contains("/dev/console"), "{text}");
    assert!(text.contains("33 77"), "{text}");
    console.resize(OTHER).unwrap();
    assert!(read_until(&mut terminal, "44 88").contains("44 88"));
    assert_eq!(running.wait().unwrap(), Exit::Exited(6));
    running.delete().unwrap();
}

#[test]
fn root_exec_gets_a_terminal_of_its_own() {
    if !granted("root_exec_gets_a_terminal_of_its_own") {
        return;
    }
    let bed = Bed::new("rt-tty2");
    let job = bed.start(&bed.spec("exec sleep 1000"));
    let script = "tty; stty size; echo x > /dev/tty; read line; echo got $line; exit 2";
    let mut joined = bed.runtime.exec(job.running.target(), &program(script), Stdio::Terminal(SIZE)).unwrap();
    let mut terminal = file(&joined.take_console().unwrap());
    let text = read_until(&mut terminal, "x\r\n");
    assert!(text.contains("/dev/pts/0") && text.contains("33 77"), "{text}");
    terminal.write_all(b"word\n").unwrap();
    read_until(&mut terminal, "got word");
    assert_eq!(joined.wait().unwrap(), Exit::Exited(2));
    // Ctrl-C goes to the program in front, as on any terminal.
    let mut joined =
        bed.runtime.exec(job.running.target(), &program("echo up; exec sleep 1000"), Stdio::Terminal(SIZE)).unwrap();
    let mut terminal = file(&joined.take_console().unwrap());
    read_until(&mut terminal, "up");
    terminal.write_all(&[3]).unwrap();
    assert_eq!(joined.wait().unwrap(), Exit::Signaled(libc::SIGINT));
    job.running.kill().unwrap();
    job.finish();
}
