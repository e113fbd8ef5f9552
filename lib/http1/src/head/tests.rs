use super::*;

fn refuse(text: &str) -> Error {
    parse_request(text.as_bytes(), &Limits::STANDARD).expect_err(text)
}

#[test]
fn request_complete_leaves_the_rest() {
    let text = b"POST /a?b=c HTTP/1.1\r\nHost: x.example:80\r\nA:b\r\n\r\nbody";
    let Ok(Parsed::Complete { head, consumed }) = parse_request(text, &Limits::STANDARD) else { panic!("complete") };
    assert_eq!(consumed, text.len() - 4);
    assert_eq!((head.method, head.target.path(), head.target.query()), (Method::Post, "/a", Some("b=c")));
    assert_eq!(head.headers.get_str("a"), Some("b"));
}

#[test]
fn refusal_comes_before_the_head_is_complete() {
    assert_eq!(refuse("GET / HTTP/1.1\r\nA: b\n"), Error::BareLf);
    assert_eq!(refuse("\x16\x03\x01"), Error::ControlByte);
    assert_eq!(refuse("GET /\r\n"), Error::RequestLine);
    assert_eq!(refuse("PRI * HTTP/2.0\r\n"), Error::Version);
    assert_eq!(refuse("GET / HTTP/1.1\r\nA: b\rc"), Error::BareCr);
}

#[test]
fn parser_is_ready_for_the_next_head() {
    let mut parser = HeadParser::new();
    let text = b"\r\nGET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n";
    let Ok(Parsed::Complete { consumed, .. }) = parser.request(text, &Limits::STANDARD) else { panic!("first") };
    assert!(parser.is_idle());
    let Ok(Parsed::Complete { head, .. }) = parser.request(&text[consumed..], &Limits::STANDARD) else {
        panic!("second")
    };
    assert_eq!(head.target.path(), "/2");
}
