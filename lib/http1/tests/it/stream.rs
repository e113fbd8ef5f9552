//! Reads a connection's bytes the way a server does and writes down what it saw.

use http1::{BodyReader, Error, HeadParser, Limits, Method, Parsed, RequestHead, ResponseHead};

/// Which way the messages go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Requests,
    Responses,
}

#[derive(Debug)]
enum At {
    Head(HeadParser),
    Body(BodyReader, Vec<u8>),
    Stopped,
}

/// A connection fed piece by piece. The record does not depend on the pieces.
pub(crate) struct Stream {
    side: Side,
    buffer: Vec<u8>,
    at: At,
    pub(crate) record: Vec<String>,
    pub(crate) requests: Vec<RequestHead>,
}

impl Stream {
    pub(crate) fn new(side: Side) -> Stream {
        let at = At::Head(HeadParser::new());
        Stream { side, buffer: Vec::new(), at, record: Vec::new(), requests: Vec::new() }
    }

    pub(crate) fn whole(side: Side, text: &[u8]) -> Vec<String> {
        let mut stream = Stream::new(side);
        stream.feed(text);
        stream.end();
        stream.record
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while !matches!(self.at, At::Stopped) {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.stop(error),
            }
        }
    }

    pub(crate) fn end(&mut self) {
        match &mut self.at {
            At::Head(_) if !self.buffer.is_empty() => self.record.push("end inside a head".into()),
            At::Body(reader, content) => match reader.end_of_input() {
                Ok(()) => self.record.push(format!("body {}", content.escape_ascii())),
                // How much of a broken body arrived first is not part of the record: it depends on the pieces.
                Err(error) => self.record.push(format!("{error}")),
            },
            _ => {}
        }
    }

    fn stop(&mut self, error: Error) {
        self.record.push(format!("{} {error}", error.status()));
        self.at = At::Stopped;
    }

    fn step(&mut self) -> Result<bool, Error> {
        let limits = &Limits::STANDARD;
        match &mut self.at {
            At::Stopped => Ok(false),
            At::Head(parser) => {
                let (consumed, reader) = match self.side {
                    Side::Requests => match parser.request(&self.buffer, limits)? {
                        Parsed::Incomplete => return Ok(false),
                        Parsed::Complete { head, consumed } => {
                            self.record.push(format!("{head:?}"));
                            let reader = BodyReader::new(http1::request_body(&head)?, limits);
                            self.requests.push(head);
                            (consumed, reader)
                        }
                    },
                    Side::Responses => match parser.response(&self.buffer, limits)? {
                        Parsed::Incomplete => return Ok(false),
                        Parsed::Complete { head, consumed } => {
                            self.record.push(format!("{head:?}"));
                            let length = http1::response_body(&head, &Method::Get)?;
                            (consumed, BodyReader::new(length, limits))
                        }
                    },
                };
                self.buffer.drain(..consumed);
                self.at = At::Body(reader, Vec::new());
                Ok(true)
            }
            At::Body(reader, content) => {
                let step = reader.read(&self.buffer)?;
                content.extend_from_slice(&self.buffer[step.content.clone()]);
                self.buffer.drain(..step.consumed);
                if step.done {
                    self.record.push(format!("body {} {:?}", content.escape_ascii(), reader.trailers()));
                    self.at = At::Head(HeadParser::new());
                }
                Ok(step.done || step.consumed > 0)
            }
        }
    }
}

/// A response and a request written by the encoders read back as themselves.
pub(crate) fn round_trip(head: &RequestHead) {
    let mut text = Vec::new();
    http1::encode_request(head, &mut text);
    match http1::parse_request(&text, &Limits { head_bytes_max: 64 * 1024, ..Limits::STANDARD }) {
        Ok(Parsed::Complete { head: again, consumed }) => {
            assert_eq!(consumed, text.len());
            assert_eq!((&again.method, &again.headers), (&head.method, &head.headers));
            assert_eq!(again.target.path_and_query(), head.target.path_and_query());
        }
        other => panic!("{:?} does not read back: {other:?}", text.escape_ascii().to_string()),
    }
}

pub(crate) fn response_round_trip(head: &ResponseHead) {
    let mut text = Vec::new();
    http1::encode_response(head, &mut text);
    let parsed = http1::parse_response(&text, &Limits::STANDARD).unwrap();
    assert_eq!(parsed, Parsed::Complete { head: head.clone(), consumed: text.len() });
}
