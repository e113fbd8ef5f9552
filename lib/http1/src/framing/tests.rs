use super::*;
use crate::{Limits, Parsed, parse_request, parse_response};

fn request(version: &str, fields: &str) -> Result<BodyLength, Error> {
    let text = std::format!("POST / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
    match parse_request(text.as_bytes(), &Limits::STANDARD) {
        Ok(Parsed::Complete { head, .. }) => request_body(&head),
        other => panic!("{fields:?}: {other:?}"),
    }
}

fn response(method: &Method, status: u16, fields: &str) -> Result<BodyLength, Error> {
    let text = std::format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
    match parse_response(text.as_bytes(), &Limits::STANDARD) {
        Ok(Parsed::Complete { head, .. }) => response_body(&head, method),
        other => panic!("{fields:?}: {other:?}"),
    }
}

#[test]
fn request_fields_decide_or_are_refused() {
    let table: &[(&str, &str, Result<BodyLength, Error>)] = &[
        ("1.1", "", Ok(BodyLength::None)),
        ("1.1", "Content-Length: 0\r\n", Ok(BodyLength::None)),
        ("1.1", "content-LENGTH:  12 \r\n", Ok(BodyLength::Length(12))),
        ("1.1", "Content-Length: 18446744073709551615\r\n", Ok(BodyLength::Length(u64::MAX))),
        ("1.1", "Content-Length: 18446744073709551616\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length: +1\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length: -1\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length: 0x1\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length: 1 2\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length: 1,1\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length:\r\n", Err(Error::ContentLength)),
        ("1.1", "Content-Length: 1\r\nContent-Length: 1\r\n", Err(Error::ContentLengthRepeated)),
        ("1.1", "Transfer-Encoding: Chunked\r\n", Ok(BodyLength::Chunked)),
        ("1.0", "Transfer-Encoding: chunked\r\n", Err(Error::CodingInHttp10)),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Err(Error::LengthAndCoding)),
        ("1.1", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", Err(Error::LengthAndCoding)),
        ("1.1", "Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: chunked, chunked\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: chunked, gzip\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: gzip, chunked\r\n", Err(Error::CodingUnsupported)),
        ("1.1", "Transfer-Encoding: identity\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: \"chunked\"\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: chunked;a=b\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: ,chunked\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding: chunked,\r\n", Err(Error::Coding)),
        ("1.1", "Transfer-Encoding:\r\n", Err(Error::Coding)),
    ];
    for (version, fields, want) in table {
        assert_eq!(request(version, fields), *want, "HTTP/{version} {fields:?}");
    }
}

#[test]
fn response_status_and_method_come_first() {
    let long = "Content-Length: 9\r\n";
    assert_eq!(response(&Method::Get, 200, long), Ok(BodyLength::Length(9)));
    assert_eq!(response(&Method::Get, 200, ""), Ok(BodyLength::UntilClose));
    assert_eq!(response(&Method::Get, 200, "Transfer-Encoding: chunked\r\n"), Ok(BodyLength::Chunked));
    assert_eq!(response(&Method::Head, 200, long), Ok(BodyLength::None));
    for status in [100, 101, 103, 204, 304] {
        assert_eq!(response(&Method::Get, status, long), Ok(BodyLength::None), "{status}");
    }
    assert_eq!(response(&Method::Connect, 200, ""), Ok(BodyLength::None));
    assert_eq!(response(&Method::Connect, 403, long), Ok(BodyLength::Length(9)));
    assert_eq!(response(&Method::Head, 200, "Content-Length: x\r\n"), Err(Error::ContentLength));
}
