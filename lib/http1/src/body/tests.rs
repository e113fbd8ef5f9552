use alloc::vec::Vec;

use super::*;

/// All content of `text`, and what follows the body.
fn read_all(length: BodyLength, text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut reader = BodyReader::new(length, &Limits::STANDARD);
    let (mut rest, mut content) = (text, Vec::new());
    loop {
        let step = reader.read(rest)?;
        content.extend_from_slice(&rest[step.content.clone()]);
        rest = &rest[step.consumed..];
        if step.done {
            return Ok((content, rest.to_vec()));
        }
        if step.consumed == 0 {
            return reader.end_of_input().map(|()| (content, Vec::new()));
        }
    }
}

#[test]
fn length_stops_at_its_end() {
    assert_eq!(read_all(BodyLength::Length(3), b"abcGET"), Ok((b"abc".to_vec(), b"GET".to_vec())));
    assert_eq!(read_all(BodyLength::Length(3), b"ab"), Err(Error::Truncated));
    assert_eq!(read_all(BodyLength::UntilClose, b"ab"), Ok((b"ab".to_vec(), Vec::new())));
    assert_eq!(read_all(BodyLength::None, b"ab"), Ok((Vec::new(), b"ab".to_vec())));
}

#[test]
fn chunked_table() {
    let ok: &[(&str, &str)] = &[
        ("0\r\n\r\n", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
        ("1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n", "x"),
        ("1;a= b\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n", "x"),
    ];
    for (text, want) in ok {
        let whole = [text.as_bytes(), b"NEXT"].concat();
        assert_eq!(read_all(BodyLength::Chunked, &whole), Ok((want.as_bytes().to_vec(), b"NEXT".to_vec())), "{text:?}");
    }
    let refused: &[(&str, Error)] = &[
        ("", Error::Truncated),
        ("3\r\nab", Error::Truncated),
        ("0\r\n", Error::Truncated),
        ("\r\n", Error::ChunkSize),
        (";a\r\n", Error::ChunkSize),
        ("g\r\n", Error::ChunkSize),
        ("0x3\r\nabc", Error::ChunkSize),
        ("+3\r\nabc", Error::ChunkSize),
        ("-1\r\n", Error::ChunkSize),
        (" 3\r\nabc", Error::ChunkSize),
        ("3 \r\nabc", Error::ChunkSize),
        ("3 ;a\r\nabc", Error::ChunkSize),
        ("3\nabc", Error::ChunkSize),
        ("3\rabc", Error::BareCr),
        ("3\r\r\nabc", Error::BareCr),
        ("10000000000000000\r\n", Error::ChunkSize),
        ("00000000000000003\r\nabc", Error::ChunkSize),
        ("3;a\nabc", Error::BareLf),
        ("3;a\0\r\nabc", Error::ChunkExtension),
        ("3;a \r\nabc", Error::ChunkExtension),
        ("3\r\nabcd\r\n", Error::ChunkEnd),
        ("3\r\nabc\n0\r\n\r\n", Error::ChunkEnd),
        ("3\r\nabc\r0", Error::ChunkEnd),
        ("0\r\nA b: c\r\n\r\n", Error::Trailer),
        ("0\r\nA : c\r\n\r\n", Error::Trailer),
        ("0\r\n A: c\r\n\r\n", Error::Trailer),
        ("0\r\nA: c\n\r\n", Error::Trailer),
        ("0\r\nA: c\r\n fold\r\n\r\n", Error::Trailer),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", Error::TrailerForbidden),
        ("0\r\ncontent-length: 3\r\n\r\n", Error::TrailerForbidden),
        ("0\r\nHost: x\r\n\r\n", Error::TrailerForbidden),
    ];
    for (text, want) in refused {
        assert_eq!(read_all(BodyLength::Chunked, text.as_bytes()), Err(*want), "{text:?}");
    }
}

#[test]
fn chunk_framing_is_bounded() {
    let line = std::format!("1;{}\r\n", "a".repeat(Limits::STANDARD.chunk_line_bytes_max));
    assert_eq!(read_all(BodyLength::Chunked, line.as_bytes()), Err(Error::ChunkLineTooLong));
    let chunk = std::format!("1;{}\r\nx\r\n", "a".repeat(400));
    assert_eq!(read_all(BodyLength::Chunked, chunk.repeat(64).as_bytes()), Err(Error::ChunkOverhead));
    let trailers = std::format!("0\r\n{}", "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n".repeat(1000));
    assert_eq!(read_all(BodyLength::Chunked, trailers.as_bytes()), Err(Error::TrailersTooLarge));
    let many = std::format!("0\r\n{}\r\n", "A: b\r\n".repeat(40));
    assert_eq!(read_all(BodyLength::Chunked, many.as_bytes()), Err(Error::Trailer));
}
