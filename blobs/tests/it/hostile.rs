//! Requests that no client of ours sends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::{Running, digest_of};

fn ask(running: &Running, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(running.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn paths_that_are_no_digest_are_refused() {
    let running = Running::start(|_, _| {});
    let long = "a".repeat(65);
    for path in ["../../etc/passwd", "%2e%2e%2fetc%2fpasswd", "ABCDEF", "", ".", "%00", &long, "a/b"] {
        for method in ["PUT", "GET", "HEAD", "DELETE"] {
            let reply = ask(
                &running,
                format!("{method} /blobs/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").as_bytes(),
            );
            let status = reply.split(' ').nth(1).unwrap_or("none").to_owned();
            assert!(matches!(status.as_str(), "400" | "404" | "405"), "{method} {path}: {reply}");
        }
    }
    assert_eq!(running.unfinished(), 0);
    assert!(running.client.list(None).unwrap().blobs.is_empty());
}

#[test]
fn upload_that_breaks_off_leaves_nothing() {
    let running = Running::start(|_, _| {});
    let digest = digest_of(b"whole content");
    for body in [
        "Content-Length: 13\r\n\r\nwhole",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        ask(&running, format!("PUT /blobs/{digest} HTTP/1.1\r\nHost: a\r\n{body}").as_bytes());
        testkit::wait_until("the upload to be removed", Duration::from_secs(10), || {
            (running.unfinished() == 0).then_some(())
        });
        assert!(running.client.stat(&digest).unwrap().is_none());
    }
}

#[test]
fn announced_length_over_the_limit_is_refused_unread() {
    let running = Running::start(|_, _| {});
    let digest = digest_of(b"x");
    let reply = ask(
        &running,
        format!("PUT /blobs/{digest} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n").as_bytes(),
    );
    assert!(reply.starts_with("HTTP/1.1 413") && reply.contains("over_limit"), "{reply}");
}

#[test]
fn head_says_the_length_and_sends_no_body() {
    let running = Running::start(|_, _| {});
    let digest = digest_of(b"12345");
    running.client.put(&digest, &mut b"12345".as_slice()).unwrap();
    let reply = ask(&running, format!("HEAD /blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 200") && reply.to_ascii_lowercase().contains("content-length: 5"), "{reply}");
    assert!(reply.ends_with("\r\n\r\n"), "{reply}");
}

#[test]
fn same_blob_by_many_at_once_is_one_blob() {
    let running = Running::start(|_, _| {});
    let content = vec![9; 300_000];
    let digest = digest_of(&content);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| running.client.put(&digest, &mut content.as_slice()).unwrap());
        }
    });
    assert_eq!(running.client.list(None).unwrap().blobs.len(), 1);
    assert_eq!(running.unfinished(), 0);
}
