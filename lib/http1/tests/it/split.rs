//! However a stream is cut, the messages are the same.

use stdx::Rng;

use crate::stream::{Side, Stream};

pub(crate) const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.0\r\n\r\n",
    "\r\nPUT / HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET http://a.example/p?q HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n fold\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
];

pub(crate) const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nA: b\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
];

fn each(check: impl Fn(Side, &[u8])) {
    REQUESTS.iter().for_each(|text| check(Side::Requests, text.as_bytes()));
    RESPONSES.iter().for_each(|text| check(Side::Responses, text.as_bytes()));
}

#[test]
fn split_at_every_point_reads_the_same() {
    each(|side, text| {
        let whole = Stream::whole(side, text);
        for cut in 0..=text.len() {
            let mut stream = Stream::new(side);
            stream.feed(&text[..cut]);
            stream.feed(&text[cut..]);
            stream.end();
            assert_eq!(stream.record, whole, "cut at {cut} of {}", text.escape_ascii());
        }
    });
}

#[test]
fn split_into_bytes_reads_the_same() {
    each(|side, text| {
        let mut stream = Stream::new(side);
        text.iter().for_each(|byte| stream.feed(&[*byte]));
        stream.end();
        assert_eq!(stream.record, Stream::whole(side, text), "{}", text.escape_ascii());
    });
}

#[test]
fn split_at_random_points_reads_the_same() {
    for seed in 0..64 {
        let mut rng = Rng::new(seed);
        each(|side, text| {
            let mut stream = Stream::new(side);
            let mut rng = rng.clone();
            let mut rest = text;
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(1 + rng.index(rest.len()));
                stream.feed(piece);
                rest = left;
            }
            stream.end();
            assert_eq!(stream.record, Stream::whole(side, text), "seed {seed}: {}", text.escape_ascii());
        });
        rng.next_u64();
    }
}
