//! Bytes for disk and peers: entries, hard state, members, commands.
//!
//! Numbers are LEB128 (7 bits a byte, low first), byte strings have their length in front, choices a tag
//! byte. Tags are never used again for something else; a decoder refuses tags it does not know. Checksums and
//! frames are the shell's.

mod command;
mod member;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::command::{decode_command, encode_command};
pub use self::member::{decode_entry, decode_hard_state, decode_meta, encode_entry, encode_hard_state, encode_meta};

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the record ends too early")]
    Short,
    /// A number of more than 64 bits.
    #[error("a number is too large")]
    Number,
    /// A tag that this version does not know.
    #[error("unknown tag {0}")]
    Tag(u8),
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Something follows the end.
    #[error("bytes after the end")]
    Trailing,
    /// Nested deeper than anything that was ever written.
    #[error("nested too deeply")]
    Depth,
}

/// Appends to bytes.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How much was written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One byte.
    pub fn tag(&mut self, tag: u8) {
        self.bytes.push(tag);
    }

    /// A number, in as many bytes as it needs.
    pub fn number(&mut self, mut number: u64) {
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// A signed number, in its two's complement.
    pub fn signed(&mut self, number: i64) {
        self.number(number.cast_unsigned());
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes as they are; what they mean is known from elsewhere.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A list's length; its items follow.
    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    /// From the first byte.
    #[must_use]
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes }
    }

    /// One byte.
    ///
    /// # Errors
    /// At the end.
    pub fn tag(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Short)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// A number.
    ///
    /// # Errors
    /// If it ends too early or has more than 64 bits.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.tag()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::Number);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Number)
    }

    /// A signed number.
    ///
    /// # Errors
    /// As [`Reader::number`].
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        self.number().map(u64::cast_signed)
    }

    /// A byte string.
    ///
    /// # Errors
    /// If it ends too early.
    pub fn bytes(&mut self) -> Result<&'b [u8], DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| DecodeError::Number)?;
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// A byte string to share.
    ///
    /// # Errors
    /// If it ends too early.
    pub fn shared(&mut self) -> Result<Arc<[u8]>, DecodeError> {
        self.bytes().map(Arc::from)
    }

    /// A text.
    ///
    /// # Errors
    /// If it ends too early or is not UTF-8.
    pub fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        core::str::from_utf8(bytes).map(String::from).map_err(|_| DecodeError::Text)
    }

    /// A list's length. No list is longer than the bytes that are left.
    ///
    /// # Errors
    /// If it could not be true.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_| DecodeError::Number)?;
        if count > self.bytes.len() { Err(DecodeError::Short) } else { Ok(count) }
    }

    /// A list.
    ///
    /// # Errors
    /// As its items.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count()?;
        (0..count).map(|_| item(self)).collect()
    }

    /// All that was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'b [u8] {
        self.bytes
    }

    /// Whether all was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Make sure all was read.
    ///
    /// # Errors
    /// If something is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cfg(test)]
mod tests;
