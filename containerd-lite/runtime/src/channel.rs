//! Messages with descriptors between a runtime and its init stage: JSON, one optional blob, and SCM_RIGHTS.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{FDS_PER_MESSAGE, MESSAGE_BYTES_MAX};
use crate::sys;

/// Lengths of JSON and blob, number of descriptors.
const HEADER_BYTES: usize = 12;

/// One end of the channel.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
}

/// What arrived.
pub(crate) struct Received<T> {
    pub(crate) body: T,
    pub(crate) blob: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Channel {
        Channel { stream }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Let the other side go on.
    pub(crate) fn send_byte(&self) -> io::Result<()> {
        self.write(&[1], &[])
    }

    pub(crate) fn await_byte(&self) -> io::Result<()> {
        (&self.stream).read_exact(&mut [0])
    }

    pub(crate) fn send<T: Serialize>(&self, body: &T, blob: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let json = serde_json::to_vec(body)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        for length in [json.len(), blob.len(), fds.len()] {
            header.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
        }
        self.write(&header, &[])?;
        for part in fds.chunks(FDS_PER_MESSAGE) {
            self.write(&[0], part)?;
        }
        self.write(&json, &[])?;
        self.write(blob, &[])
    }

    /// None at the end of the stream.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        let mut header = [0; HEADER_BYTES];
        match (&self.stream).read(&mut header[..1]) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => (&self.stream).read_exact(&mut header[1..])?,
        }
        let mut lengths = header.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize);
        let (json, blob, fds) = (lengths.next().unwrap_or(0), lengths.next().unwrap_or(0), lengths.next().unwrap_or(0));
        if json.saturating_add(blob) > MESSAGE_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let fds = self.receive_fds(fds)?;
        let mut text = vec![0; json];
        (&self.stream).read_exact(&mut text)?;
        let mut rest = vec![0; blob];
        (&self.stream).read_exact(&mut rest)?;
        Ok(Some(Received { body: serde_json::from_slice(&text)?, blob: rest, fds }))
    }

    fn write(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.is_empty() {
            let mut rest = bytes;
            while !rest.is_empty() {
                // A peer that died is an error here, not a signal.
                let sent = nix::sys::socket::send(self.stream.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL)?;
                rest = &rest[sent..];
            }
            return Ok(());
        }
        let numbers: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let parts = [IoSlice::new(bytes)];
        sendmsg::<()>(self.stream.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    fn receive_fds(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut found = Vec::new();
        let mut space = nix::cmsg_space!([i32; FDS_PER_MESSAGE]);
        while found.len() < count {
            let mut byte = [0];
            let mut parts = [IoSliceMut::new(&mut byte)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
            if message.bytes == 0 || message.flags.contains(MsgFlags::MSG_CTRUNC) {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(numbers) = control {
                    found.extend(numbers.into_iter().map(sys::adopt));
                }
            }
        }
        Ok(found)
    }
}
