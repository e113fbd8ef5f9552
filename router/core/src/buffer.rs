//! Read buffers, and where they wait while nobody needs them.

use alloc::vec;
use alloc::vec::Vec;

use crate::limits::BUFFER_BYTES;

/// Bytes that were read and not yet used. Holds no memory until it is given some.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not used.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How many bytes were read and not used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether all that was read has been used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether no more can be read before some is used.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len() && !self.bytes.is_empty()
    }

    /// Room to read into; takes memory from the pool if it has none.
    pub fn space(&mut self, pool: &mut BufferPool) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = pool.take();
        }
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// `n` bytes were read into the room.
    pub fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// `n` bytes were used.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Make room for `bytes_max` bytes in all, for a head that is larger than a buffer.
    pub fn grow(&mut self, bytes_max: usize) {
        if self.bytes.len() < bytes_max {
            self.bytes.resize(bytes_max, 0);
        }
    }

    /// Give the memory back if nothing is in it.
    pub fn release(&mut self, pool: &mut BufferPool) {
        if self.is_empty() && !self.bytes.is_empty() {
            pool.give(core::mem::take(&mut self.bytes));
        }
    }
}

/// Buffers that nobody uses now, at most a fixed number.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    kept_max: usize,
}

impl BufferPool {
    /// Keeps at most `kept_max` unused buffers.
    #[must_use]
    pub fn new(kept_max: usize) -> BufferPool {
        BufferPool { free: Vec::new(), kept_max }
    }

    fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    fn give(&mut self, bytes: Vec<u8>) {
        // One that grew for a large head is not worth keeping.
        if bytes.len() == BUFFER_BYTES && self.free.len() < self.kept_max {
            self.free.push(bytes);
        }
    }
}
