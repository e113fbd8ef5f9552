//! Corner cases by section of RFC 9110 and RFC 9112.

use http1::{Error, Limits, Method, Parsed, RequestHead, ResponseHead, Version};

fn request(text: &str) -> Result<RequestHead, Error> {
    match http1::parse_request(text.as_bytes(), &Limits::STANDARD)? {
        Parsed::Complete { head, .. } => Ok(head),
        Parsed::Incomplete => panic!("{text:?} is incomplete"),
    }
}

fn response(text: &str) -> Result<ResponseHead, Error> {
    match http1::parse_response(text.as_bytes(), &Limits::STANDARD)? {
        Parsed::Complete { head, .. } => Ok(head),
        Parsed::Incomplete => panic!("{text:?} is incomplete"),
    }
}

fn check_refused(table: &[(&str, Error)]) {
    for (text, want) in table {
        assert_eq!(request(text).expect_err(text), *want, "{text:?}");
    }
}

#[test]
fn rfc9112_2_2_message_parsing() {
    check_refused(&[
        ("GET / HTTP/1.1\nHost: h\n\n", Error::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", Error::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", Error::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n", Error::BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0\r\n\r\n", Error::ControlByte),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \x0bchunked\r\n\r\n", Error::ControlByte),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", Error::HeaderName),
    ]);
    assert!(request("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_ok(), "one empty line in front is skipped");
    assert_eq!(response("\r\nHTTP/1.1 200 OK\r\n\r\n"), Err(Error::StatusLine));
}

#[test]
fn rfc9112_2_3_version() {
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").unwrap().version, Version::Http10);
    check_refused(&[
        ("GET / HTTP/2.0\r\n\r\n", Error::Version),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", Error::Version),
        ("GET / HTTP/0.9\r\n\r\n", Error::Version),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET / HTTP/11\r\nHost: h\r\n\r\n", Error::RequestLine),
    ]);
    assert_eq!(response("HTTP/2.0 200 OK\r\n\r\n"), Err(Error::Version));
}

#[test]
fn rfc9112_3_request_line() {
    check_refused(&[
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
        ("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", Error::HostInvalid),
    ]);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(Limits::STANDARD.first_line_bytes_max));
    assert_eq!(request(&long), Err(Error::RequestLineTooLong));
    let custom = request("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(custom.method.as_str(), "BREW");
    assert_eq!(request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().target.path_and_query(), "*");
}

#[test]
fn rfc9112_3_2_host() {
    check_refused(&[
        ("GET / HTTP/1.1\r\n\r\n", Error::HostMissing),
        ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Error::HostRepeated),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: h:\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: h:8o\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Error::HostInvalid),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Error::HostConflict),
        ("GET http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n", Error::HostConflict),
    ]);
    let head = request("GET http://A.example/x?y HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n").unwrap();
    assert_eq!(head.authority().unwrap().unwrap().host, "A.example");
    assert_eq!(head.target.path_and_query(), "/x?y");
    let head = request("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n").unwrap();
    let authority = head.authority().unwrap().unwrap();
    assert_eq!((authority.host, authority.port), ("[2001:db8::1]", Some(8080)));
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").unwrap().authority(), Ok(None));
}

#[test]
fn rfc9112_5_fields() {
    check_refused(&[
        ("GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", Error::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", Error::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\n: c\r\n\r\n", Error::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", Error::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", Error::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", Error::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n", Error::HeaderName),
    ]);
    for text in ["HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n"] {
        assert_eq!(response(text), Err(Error::HeaderName), "{text:?}");
    }
    let head = request("GET / HTTP/1.1\r\nHost: h\r\nA: \t b c \t\r\nEmpty:\r\n\r\n").unwrap();
    assert_eq!((head.headers.get_str("a"), head.headers.get_str("empty")), (Some("b c"), Some("")));
}

#[test]
fn heads_are_bounded() {
    let limits = Limits::STANDARD;
    let line = format!("A: {}\r\n", "b".repeat(100));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", line.repeat(limits.headers_max));
    assert_eq!(request(&many), Err(Error::TooManyHeaders));
    let long = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(limits.header_line_bytes_max));
    assert_eq!(request(&long), Err(Error::HeaderLineTooLong));
    let line = format!("A: {}\r\n", "b".repeat(10_000));
    let large = format!("GET / HTTP/1.1\r\n{}", line.repeat(4));
    assert_eq!(request(&large), Err(Error::HeadTooLarge));
    let exact = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(limits.headers_max - 1));
    assert_eq!(request(&exact).unwrap().headers.len(), limits.headers_max);
}

#[test]
fn rfc9112_4_status_line() {
    for (text, status, reason) in [
        ("HTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        ("HTTP/1.1 200 \r\n\r\n", 200, ""),
        ("HTTP/1.1 404\r\n\r\n", 404, ""),
        ("HTTP/1.0 599 Odd one\r\n\r\n", 599, "Odd one"),
    ] {
        let head = response(text).unwrap();
        assert_eq!((head.status, head.reason()), (status, reason), "{text:?}");
    }
    for text in ["HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 600 X\r\n\r\n", "HTTP/1.1 20 X\r\n\r\n", "HTTP/1.1  200 X\r\n\r\n"]
    {
        assert!(response(text).is_err(), "{text:?}");
    }
}

#[test]
fn rfc9112_9_3_persistence() {
    let keeps = |text: &str| {
        let head = request(text).unwrap();
        http1::keep_alive(head.version, &head.headers)
    };
    assert!(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

#[test]
fn rfc9110_7_8_upgrade() {
    let offered = |fields: &str| {
        let head = request(&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).unwrap();
        http1::upgrade_requested(&head).map(<[u8]>::to_vec)
    };
    assert_eq!(offered("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"), Some(b"websocket".to_vec()));
    assert_eq!(offered("Upgrade: websocket\r\n"), None);
    assert_eq!(offered("Connection: upgrade\r\n"), None);
    assert_eq!(offered("Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"), None);
    let head = response("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
    assert_eq!(http1::upgrade_protocol(&head), Some(b"websocket".as_slice()));
    assert!(!head.is_interim());
}

#[test]
fn rfc9110_10_1_1_expect() {
    let expects = |fields: &str| {
        http1::expects_continue(&request(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).unwrap())
    };
    assert_eq!(expects(""), Ok(false));
    assert_eq!(expects("Expect: 100-Continue\r\n"), Ok(true));
    assert_eq!(expects("Expect: 200-ok\r\n"), Err(Error::Expectation));
    assert_eq!(expects("Expect: 100-continue\r\nExpect: 100-continue\r\n"), Err(Error::Expectation));
    assert_eq!(Error::Expectation.status(), 417);
}

#[test]
fn rfc9110_7_6_1_hop_by_hop() {
    let mut head = request(concat!(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Secret , Host\r\nConnection: x-other\r\nX-Secret: 1\r\n",
        "X-Other: 2\r\nKeep-Alive: 3\r\nTE: trailers\r\nTrailer: a\r\nUpgrade: b\r\nProxy-Connection: c\r\nStays: d\r\n\r\n"
    ))
    .unwrap();
    http1::strip_hop_by_hop(&mut head.headers);
    let left: Vec<_> = head.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["Host", "Stays"]);
}

#[test]
fn encoders_write_what_parsers_read() {
    let mut head = RequestHead::new(Method::Put, "http://h:1/a?b").unwrap();
    head.headers.append("Host", "h:1").unwrap();
    head.headers.append("X", "y z").unwrap();
    crate::stream::round_trip(&head);
    let mut head = ResponseHead::new(503);
    head.headers.append("Retry-After", "1").unwrap();
    crate::stream::response_round_trip(&head);

    let mut trailers = http1::Headers::new();
    trailers.append("X-Sum", "9").unwrap();
    let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    http1::encode_chunk(&[b'x'; 300], &mut text);
    http1::encode_chunk(b"", &mut text);
    http1::encode_last_chunk(Some(&trailers), &mut text);
    let record = crate::stream::Stream::whole(crate::stream::Side::Responses, &text);
    assert_eq!(record[1], format!("body {} Some({{\"X-Sum\": \"9\"}})", "x".repeat(300)));
    let mut line = Vec::new();
    http1::encode_chunk_head(usize::MAX, &mut line);
    assert_eq!(line.len(), http1::CHUNK_HEAD_BYTES_MAX);
}
