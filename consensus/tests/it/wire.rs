//! The JSON as it stands on the wire, byte for byte.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::cluster::Member;

const IDS: &str = r#""cluster_id":"17","member_id":"34""#;

fn member() -> Member {
    Member::tuned(|options| {
        options.cluster_id = 17;
        options.member_id = 34;
    })
}

/// Send one request on a connection of its own; gives all that comes until `enough`.
fn talk(member: &Member, method: &str, path: &str, body: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = UnixStream::connect(member.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // No Content-Type at all, as one real client does.
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if enough(&text) {
            return text;
        }
        let got = stream.read(&mut chunk).unwrap();
        assert!(got > 0, "closed after {text:?}");
        bytes.extend_from_slice(&chunk[..got]);
    }
}

/// Whether head and body of a reply with a length are there.
fn whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0");
    body.len() >= length.parse().unwrap()
}

/// Path, request, reply; each script is one life of a store.
fn transcript(commands: &str) -> String {
    let member = member();
    let mut out = Vec::new();
    for line in commands.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let body = words.next().unwrap_or("");
        let streams = path.ends_with("/keepalive");
        let done = |text: &str| if streams { text.ends_with("0\r\n\r\n") } else { whole(text) };
        let text = talk(&member, method, path, body, done);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap();
        let body = if streams { body.lines().nth(1).unwrap_or("") } else { body.trim_end() };
        out.push(format!("{status} {}", body.replace(IDS, "IDS")));
    }
    out.join("\n")
}

#[test]
fn script_wire() {
    testkit::script::run("tests/scripts/wire", transcript);
}

#[test]
fn watch_message_is_one_chunk_whatever_its_size() {
    let member = member();
    let client = member.client();
    let large = vec![b'x'; 300_000];
    client.put("w", &large, None).unwrap();
    client.delete("w").unwrap();
    let body = r#"{"create_request":{"key":"dw==","start_revision":"2","prev_kv":true}}"#;
    let text = talk(&member, "POST", "/v3/watch", body, |text| text.contains("DELETE") && text.ends_with("\n\r\n"));
    let (head, mut rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let mut messages = Vec::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let chunk = &after[..size];
        assert!(chunk.ends_with("}\n"), "a chunk is not one line");
        messages.push(serde_json::from_str::<serde_json::Value>(chunk).unwrap());
        rest = &after[size + 2..];
    }
    assert_eq!(messages[0]["result"]["created"], true);
    let events = messages[1]["result"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].get("type"), None);
    assert_eq!(events[1]["kv"].as_object().unwrap().keys().collect::<Vec<_>>(), ["key", "mod_revision"]);
    assert_eq!(events[1]["prev_kv"]["version"], "1");
}

#[test]
fn watch_from_before_the_compacted_revision_is_cancelled_with_it() {
    let member = member();
    let client = member.client();
    for value in 0..5 {
        client.put("w", &[value], None).unwrap();
    }
    talk(&member, "POST", "/v3/kv/compaction", r#"{"revision":"5"}"#, whole);
    let body = r#"{"create_request":{"key":"dw==","start_revision":3}}"#;
    let text = talk(&member, "POST", "/v3/watch", body, |text| text.contains("canceled"));
    assert!(text.contains(r#""canceled":true,"compact_revision":"5"}}"#), "{text}");
    let body = r#"{"create_request":{"key":"dw==","range_end":"dg=="}}"#;
    let text = talk(&member, "POST", "/v3/watch", body, |text| text.contains("canceled"));
    assert!(text.contains(r#""created":true,"canceled":true,"cancel_reason""#), "{text}");
}
