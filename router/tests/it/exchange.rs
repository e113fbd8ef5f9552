//! One request at a time, of every kind.

use std::io::{Read, Write};
use std::net::TcpStream;

use http1::Method;

use crate::toy::{Client, Toy, engine, instance, tell};

#[test]
fn requests_of_every_kind_come_through() {
    let engine = engine(1);
    let toy = Toy::start("one");
    tell(&engine, instance(&toy, false), 1);
    let mut client = Client::new(engine.addrs()[0]);
    for round in 0..20 {
        let (head, body) = client.get("/").unwrap();
        assert_eq!((head.status, body.as_slice()), (200, b"one".as_slice()), "round {round}");
        let sent: Vec<u8> = (0..200_000_u32).map(|n| b"0123456789"[(n % 10) as usize]).collect();
        assert_eq!(client.post("/echo", &sent).unwrap().1, sent, "round {round}");
        assert_eq!(client.post("/chunked", &sent).unwrap().1, sent, "round {round}");
        assert_eq!(client.get("/large").unwrap().1.len(), 3_000_000);
        let chunks = "POST /echo HTTP/1.1\r\nHost: toy.example\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(client.send(chunks.as_bytes(), &Method::Post).unwrap().1, b"abcde");
        let head = client.send(b"HEAD / HTTP/1.1\r\nHost: toy.example\r\n\r\n", &Method::Head).unwrap().0;
        assert_eq!(head.headers.get_str("content-length"), Some("3"));
    }
    let text = String::from_utf8(client.get("/headers").unwrap().1).unwrap();
    assert!(text.contains("\"X-Forwarded-For\": \"127.0.0.1\""), "{text}");
    assert!(text.contains("\"X-Request-Start\": \"t="), "{text}");
    let metrics = engine.metrics();
    assert!(metrics.contains("slipway_router_requests_total{class=\"2xx\"} 121"), "{metrics}");
    assert!(metrics.contains("slipway_router_upstream_connects_total 1\n"), "one connection was used again: {metrics}");
    engine.finish(std::time::Duration::from_secs(5));
}

#[test]
fn bytes_one_by_one_and_pipelined_come_through() {
    let engine = engine(1);
    let toy = Toy::start("one");
    tell(&engine, instance(&toy, false), 1);
    let mut client = Client::new(engine.addrs()[0]);
    for byte in b"POST /echo HTTP/1.1\r\nHost: TOY.example:80\r\nContent-Length: 3\r\n\r\nabc" {
        client.stream().write_all(&[*byte]).unwrap();
    }
    assert_eq!(client.answer(&Method::Post).unwrap().1, b"abc");
    let two = "GET / HTTP/1.1\r\nHost: toy.example\r\n\r\nPOST /echo HTTP/1.1\r\nHost: toy.example\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.send(two.as_bytes(), &Method::Get).unwrap().1, b"one");
    assert_eq!(client.answer(&Method::Post).unwrap().1, b"hi");
    engine.finish(std::time::Duration::from_secs(5));
}

#[test]
fn upgraded_connection_is_a_tunnel_until_both_close() {
    let engine = engine(1);
    let toy = Toy::start("one");
    tell(&engine, instance(&toy, false), 1);
    let mut stream = TcpStream::connect(engine.addrs()[0]).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream
        .write_all(b"GET /upgrade HTTP/1.1\r\nHost: toy.example\r\nConnection: Upgrade\r\nUpgrade: toy\r\n\r\n")
        .unwrap();
    let sent: Vec<u8> = (0..300_000_u32).map(|n| b"abcdefg"[(n % 7) as usize]).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = os::thread::spawn("writer", move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    })
    .unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    let end = got.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    assert!(got.starts_with(b"HTTP/1.1 101 "));
    assert!(got[end..] == sent, "{} of {} bytes came back", got.len() - end, sent.len());
    engine.finish(std::time::Duration::from_secs(5));
}

#[test]
fn own_answers_say_what_to_do() {
    let engine = engine(1);
    let mut client = Client::new(engine.addrs()[0]);
    let (head, body) = client.get("/").unwrap();
    assert_eq!((head.status, head.headers.get_str("x-slipway-error")), (503, Some("no_backend")));
    assert!(String::from_utf8(body).unwrap().contains("slipway scale"));
    let (head, body) =
        client.send(b"GET / HTTP/1.1\r\nHost: other\r\nAccept: text/html\r\n\r\n", &Method::Get).unwrap();
    assert_eq!(head.status, 404);
    assert!(String::from_utf8(body).unwrap().starts_with("<!doctype html>"));
    let toy = Toy::start("gone");
    tell(&engine, instance(&toy, false), 1);
    toy.kill();
    let (head, _) = client.get("/").unwrap();
    assert_eq!((head.status, head.headers.get_str("x-slipway-error")), (502, Some("backend_refused")));
    let bad = client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &Method::Get).unwrap();
    assert_eq!(bad.0.status, 400);
    engine.finish(std::time::Duration::from_secs(5));
}

#[test]
fn finish_lets_the_request_in_flight_end() {
    let engine = engine(2);
    let toy = Toy::start("one");
    tell(&engine, instance(&toy, false), 1);
    let addr = engine.addrs()[0];
    let clients: Vec<_> = (0..4)
        .map(|_| {
            os::thread::spawn("client", move || {
                let mut client = Client::new(addr);
                client.get("/").unwrap();
                client.stream().write_all(b"GET /slow HTTP/1.1\r\nHost: toy.example\r\n\r\n").unwrap();
                client.answer(&Method::Get)
            })
            .unwrap()
        })
        .collect();
    let placed = || engine.backends().first().map_or(0, |backend| backend.requests);
    crate::toy::wait("all slow requests are in flight", || placed() == 8);
    engine.finish(std::time::Duration::from_secs(10));
    for client in clients {
        let (head, body) = client.join().unwrap().unwrap();
        assert_eq!((head.status, body.as_slice()), (200, b"one".as_slice()));
    }
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}
