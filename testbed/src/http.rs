//! Requests as a user's browser makes them, from inside a cluster's network.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use http1::{BodyReader, HeadParser, Limits, Method, Parsed};

use crate::net::Net;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, one `NAME: VALUE` a line.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// A connection that can be used again and again.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connect to the router of a cluster.
    ///
    /// # Errors
    /// As connecting does.
    pub fn open(net: &Net, port: u16, limit: Duration) -> io::Result<Connection> {
        let stream = net.connect(SocketAddr::from((net.address, port)), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::new() })
    }

    /// `GET path` of a host name.
    ///
    /// # Errors
    /// When the connection breaks or what comes is no HTTP.
    pub fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let mut parser = HeadParser::new();
        let head = loop {
            match parser.response(&self.buffer, &Limits::STANDARD).map_err(bad)? {
                Parsed::Complete { head, consumed } => {
                    self.buffer.drain(..consumed);
                    break head;
                }
                Parsed::Incomplete => self.fill()?,
            }
        };
        let mut reader = BodyReader::new(http1::response_body(&head, &Method::Get).map_err(bad)?, &Limits::STANDARD);
        let mut body = Vec::new();
        while !reader.is_done() {
            let step = reader.read(&self.buffer).map_err(bad)?;
            body.extend_from_slice(&self.buffer[step.content.clone()]);
            self.buffer.drain(..step.consumed);
            if !reader.is_done() && self.buffer.is_empty() {
                self.fill()?;
            }
        }
        let header = |(name, value): (&str, &[u8])| format!("{name}: {}\n", String::from_utf8_lossy(value));
        let headers = head.headers.iter().map(header).collect();
        Ok(Answer { status: head.status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut part = [0; 16 * 1024];
        let got = self.stream.read(&mut part)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&part[..got]);
        Ok(())
    }
}

fn bad(error: http1::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
