use super::*;
use crate::attach::{Frame, Stream, read_frame, write_frame};
use crate::client::{Body, CallError, Client};
use crate::endpoint::{Raw, Upgrade};

const ECHO: Endpoint<String, String> = Endpoint::post("/echo/:name");
const COUNT: Endpoint<(), Lines<u64>> = Endpoint::get("/count");
const SIZE: Endpoint<Raw, u64> = Endpoint::put("/size");
const SHELL: Endpoint<(), Upgrade> = Endpoint::post("/shell");

fn with_service(test: impl FnOnce(&Client)) {
    let dir = std::env::temp_dir().join(format!("api-{}", os::entropy::uuid()));
    let socket = dir.join("s.sock");
    let shutdown = Shutdown::new();
    let listening = Service::new(Arc::new(7u64))
        .on(&ECHO, |state, call, body| {
            if body.is_empty() {
                return Err(ApiError::invalid("body", "is empty").hint("say something"));
            }
            Ok(format!("{state} {} {body} {:?}", call.param(0), call.query("q")))
        })
        .lines(&COUNT, |_, call, (), out| {
            let to = call.number("to")?.unwrap_or(3);
            for n in 0..to {
                out.send(&n)?;
            }
            if call.flag("fail") { Err(ApiError::new(Code::Conflict, "enough")) } else { Ok(()) }
        })
        .raw(&SIZE, |_, _, exchange| {
            let size = io::copy(&mut exchange.body(), &mut io::sink()).unwrap();
            exchange.json(200, &size)
        })
        .raw(&SHELL, |_, _, exchange| {
            let (mut stream, early) = exchange.upgrade("flynn-attach/0")?;
            assert!(early.is_empty());
            let got = read_frame(&mut stream).unwrap().unwrap();
            write_frame(&mut stream, &got).unwrap();
            Ok(())
        })
        .listen(&socket, &shutdown)
        .unwrap();
    test(&Client::socket(&socket));
    shutdown.ask();
    listening.finish();
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn call_gives_reply_and_refusal() {
    with_service(|client| {
        let said = client.call_query(&ECHO, &["a/b c"], &[("q", "1&2")], &"hi".into()).unwrap();
        assert_eq!(said, "7 a/b c hi Some(\"1&2\")");
        let Err(CallError::Refused(error)) = client.call(&ECHO, &["x"], &String::new()) else { panic!("refused") };
        assert_eq!((error.code, error.hint.as_deref()), (Code::Validation, Some("say something")));
        let missing: Endpoint<(), ()> = Endpoint::get("/nothing");
        assert_eq!(client.call(&missing, &[], &()).unwrap_err().code(), Some(Code::NoSuchEndpoint));
        let wrong: Endpoint<(), ()> = Endpoint::delete("/count");
        assert_eq!(client.call(&wrong, &[], &()).unwrap_err().code(), Some(Code::MethodNotAllowed));
    });
}

#[test]
fn lines_stream_and_report_a_late_failure() {
    with_service(|client| {
        let all: Result<Vec<u64>, _> = client.lines(&COUNT, &[], &[("to", "1000")], &()).unwrap().collect();
        assert_eq!(all.unwrap().len(), 1000);
        let mut some = client.lines(&COUNT, &[], &[("fail", "1")], &()).unwrap();
        assert_eq!(some.by_ref().take(3).map(Result::unwrap).sum::<u64>(), 3);
        assert_eq!(some.next().unwrap().unwrap_err().code(), Some(Code::Conflict));
        assert!(client.lines(&COUNT, &[], &[("to", "x")], &()).is_err());
    });
}

#[test]
fn upload_of_any_size_streams() {
    with_service(|client| {
        let mut content = io::repeat(1).take(5_000_000);
        let mut reply = client.request(&Method::Put, "/size", &[], Body::Reader(&mut content)).unwrap();
        let mut text = String::new();
        reply.read_to_string(&mut text).unwrap();
        assert_eq!(text, "5000000");
    });
}

#[test]
fn upgrade_speaks_both_ways() {
    with_service(|client| {
        let (mut stream, early) = client.upgrade(&SHELL, &[], &[], "flynn-attach/0", &()).unwrap();
        let frame = Frame::Bytes(Stream::Stdin, b"ls".to_vec());
        write_frame(&mut stream, &frame).unwrap();
        assert_eq!(read_frame(&mut (&early[..]).chain(&stream)).unwrap(), Some(frame));
    });
}

#[test]
fn bad_requests_get_an_answer_and_the_next_connection_works() {
    use std::io::Write;
    with_service(|client| {
        let dir = format!("{client:?}");
        let socket = dir.split('"').nth(1).unwrap().to_owned();
        for garbage in ["GET / HTTP/9.9\r\n\r\n", "\u{1}\u{2}\u{3}\r\n\r\n", "GET /count HTTP/1.1\r\n\r\n"] {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(garbage.as_bytes()).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert!(reply.starts_with("HTTP/1.1 4") || reply.starts_with("HTTP/1.1 5"), "{garbage:?} got {reply:?}");
        }
        assert!(client.call(&ECHO, &["a"], &"b".into()).is_ok());
    });
}
