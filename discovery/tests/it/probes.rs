//! Checks of real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use discovery::agent::{Begin, Health};
use types::job::CheckKind;

use crate::store::Store;
use crate::world::{LIMIT, host, job, loopback, quick};

fn http(path: &str) -> CheckKind {
    CheckKind::Http { path: path.into() }
}

/// Answers each connection with the next of `replies`, and the last one for ever.
fn serve(replies: Vec<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    os::thread::spawn("served", move || {
        let mut replies = replies.into_iter().peekable();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            let text = String::from_utf8(request).unwrap();
            assert!(text.is_empty() || text.starts_with("GET /up HTTP/1.1\r\nhost: 127.0.0.1"), "{text}");
            let reply = *replies.peek().unwrap();
            if replies.len() > 1 {
                replies.next();
            }
            let _ = stream.write_all(reply.as_bytes());
        }
    })
    .unwrap();
    address
}

#[test]
fn tcp_check_passes_once_the_port_listens() {
    let store = Store::start();
    let host = host(&store, "h1");
    // A port that is bound and does not listen yet refuses.
    let address = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    host.agent.check(&job("h1-a"), address, &quick(CheckKind::Tcp), Begin::Starting).unwrap();
    assert!(host.health.recv_timeout(Duration::from_millis(100)).is_err());
    let listener = TcpListener::bind(address).unwrap();
    assert_eq!(host.health.recv_timeout(LIMIT).unwrap(), (job("h1-a"), Health::Healthy));
    drop(listener);
    let (_, health) = host.health.recv_timeout(LIMIT).unwrap();
    assert_eq!(health, Health::Unhealthy { reason: "connect: Connection refused".into() });
}

#[test]
fn http_check_wants_a_status_from_200_to_399() {
    let store = Store::start();
    let host = host(&store, "h1");
    let address = serve(vec![
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 302 Found\r\nlocation: /in\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    ]);
    host.agent.check(&job("h1-a"), address, &quick(http("/up")), Begin::Starting).unwrap();
    assert_eq!(host.health.recv_timeout(LIMIT).unwrap().1, Health::Healthy);
    assert_eq!(host.health.recv_timeout(LIMIT).unwrap().1, Health::Unhealthy { reason: "status 500".into() });
}

#[test]
fn job_that_never_answers_is_told_with_the_reason() {
    let store = Store::start();
    let host = host(&store, "h1");
    // Connections are accepted by the kernel, and nothing is said on them.
    let silent = TcpListener::bind(loopback()).unwrap();
    let mut check = quick(http("/up"));
    (check.timeout_ms, check.start_timeout_ms) = (40, 300);
    host.agent.check(&job("h1-a"), silent.local_addr().unwrap(), &check, Begin::Starting).unwrap();
    // Another job is not held up by it.
    host.agent.check(&job("h1-b"), silent.local_addr().unwrap(), &quick(CheckKind::Tcp), Begin::Starting).unwrap();
    assert_eq!(host.health.recv_timeout(LIMIT).unwrap(), (job("h1-b"), Health::Healthy));
    let (_, health) = host.health.recv_timeout(LIMIT).unwrap();
    assert_eq!(health, Health::StartFailed { reason: "no answer within 40 ms".into() });
}

#[test]
fn check_that_cannot_be_asked_fails_and_says_why() {
    let store = Store::start();
    let host = host(&store, "h1");
    let mut check = quick(http("no path"));
    check.start_timeout_ms = 100;
    host.agent.check(&job("h1-a"), loopback(), &check, Begin::Starting).unwrap();
    let (_, health) = host.health.recv_timeout(LIMIT).unwrap();
    assert!(matches!(&health, Health::StartFailed { reason } if reason.contains("\"no path\"")), "{health:?}");
}

#[test]
fn job_that_is_no_longer_checked_is_not_reported() {
    let store = Store::start();
    let host = host(&store, "h1");
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    host.agent.check(&job("h1-a"), address, &quick(CheckKind::Tcp), Begin::KnownWell).unwrap();
    host.agent.uncheck(&job("h1-a"));
    drop(listener);
    assert!(host.health.recv_timeout(Duration::from_millis(150)).is_err());
    host.agent.uncheck(&job("h1-a"));
}
