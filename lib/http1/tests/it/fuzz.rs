//! Seeded mutation: nothing panics, pieces do not matter, and what is accepted is unambiguous.

use http1::{Limits, Parsed};
use stdx::Rng;

use crate::split::{REQUESTS, RESPONSES};
use crate::stream::{Side, Stream, round_trip};

const SEEDS: u64 = 4_000;

/// Bytes and words that parsers have disagreed on.
const DICTIONARY: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    "\x0b",
    ":",
    ";",
    ",",
    "0",
    "-1",
    "+1",
    "0x10",
    "\r\n\r\n",
    "chunked",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 44\r\n",
    "Content-Length : 1\r\n",
    "Host: b\r\n",
    " HTTP/1.1",
    "HTTP/2.0",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "\u{e9}",
    "identity",
];

fn mutate(rng: &mut Rng, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..1 + rng.index(4) {
        let at = rng.index(bytes.len() + 1);
        match rng.index(5) {
            0 => bytes.splice(at..at, DICTIONARY[rng.index(DICTIONARY.len())].bytes()).for_each(drop),
            1 => drop(bytes.drain(at..(at + rng.index(8)).min(bytes.len()))),
            2 if at < bytes.len() => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
            3 => {
                let copy = bytes[at..(at + rng.index(40)).min(bytes.len())].to_vec();
                let to = rng.index(bytes.len() + 1);
                bytes.splice(to..to, copy).for_each(drop);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

fn mutants(mut check: impl FnMut(u64, Side, &[u8], &mut Rng)) {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let (side, corpus) = if rng.chance(2, 3) { (Side::Requests, REQUESTS) } else { (Side::Responses, RESPONSES) };
        let seed_text = corpus[rng.index(corpus.len())].as_bytes();
        let text = mutate(&mut rng, seed_text);
        check(seed, side, &text, &mut rng);
    }
}

/// What an accepted head must look like, judged on its bytes alone.
fn ambiguity(head: &[u8]) -> Option<&'static str> {
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let (last, lines) = lines.split_last()?;
    if !last.is_empty() || lines.iter().any(|line| line.last() != Some(&b'\r')) {
        return Some("bare LF");
    }
    if lines.iter().any(|line| line[..line.len() - 1].iter().any(|&b| b == b'\r' || (b < b' ' && b != b'\t'))) {
        return Some("control byte");
    }
    let names: Vec<String> = lines[1..]
        .iter()
        .map(|line| String::from_utf8_lossy(line.split(|&b| b == b':').next().unwrap_or(&[])).to_ascii_lowercase())
        .collect();
    if names.iter().any(|name| name.contains([' ', '\t'])) {
        return Some("blank in a name");
    }
    let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
    match (count("content-length"), count("transfer-encoding"), count("host")) {
        (0, 0 | 1, 0 | 1) | (1, 0, 0 | 1) => None,
        _ => Some("two framings or two hosts"),
    }
}

#[test]
fn fuzz_split_streams_read_the_same() {
    mutants(|seed, side, text, rng| {
        let whole = Stream::whole(side, text);
        let mut stream = Stream::new(side);
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(1 + rng.index(rest.len().min(9)));
            stream.feed(piece);
            rest = left;
        }
        stream.end();
        assert_eq!(stream.record, whole, "seed {seed}: {}", text.escape_ascii());
        stream.requests.iter().for_each(round_trip);
    });
}

#[test]
fn fuzz_accepted_heads_are_unambiguous() {
    let mut accepted = 0;
    mutants(|seed, side, text, _| {
        if side == Side::Requests
            && let Ok(Parsed::Complete { head, consumed }) = http1::parse_request(text, &Limits::STANDARD)
            && http1::request_body(&head).is_ok()
        {
            accepted += 1;
            assert_eq!(ambiguity(&text[..consumed]), None, "seed {seed}: {}", text.escape_ascii());
        }
    });
    assert!(accepted > 100, "the mutator leaves too little intact: {accepted}");
}

/// A lenient parser must be caught, else the two tests above prove nothing.
#[test]
fn fuzz_canary_lenient_parser_is_caught() {
    let mut caught = std::collections::BTreeSet::new();
    mutants(|_, side, text, _| {
        let mut table = [httparse::EMPTY_HEADER; 64];
        let mut raw = httparse::Request::new(&mut table);
        if side == Side::Requests
            && let Ok(httparse::Status::Complete(consumed)) = raw.parse(text)
        {
            caught.extend(ambiguity(&text[..consumed]));
        }
    });
    assert!(caught.contains("bare LF") && caught.contains("two framings or two hosts"), "{caught:?}");
}
