//! A queue that says when it is full.

use alloc::collections::VecDeque;

/// The queue was full; here is what did not fit.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// First in, first out, never more than its bound.
#[derive(Clone, Debug)]
pub struct BoundedQueue<T> {
    items: VecDeque<T>,
    bound: usize,
}

impl<T> BoundedQueue<T> {
    /// An empty queue for at most `bound` items.
    #[must_use]
    pub fn new(bound: usize) -> BoundedQueue<T> {
        BoundedQueue { items: VecDeque::new(), bound }
    }

    /// Append one item.
    ///
    /// # Errors
    /// [`Full`] gives the item back when the bound is reached.
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        if self.items.len() >= self.bound {
            return Err(Full(item));
        }
        self.items.push_back(item);
        Ok(())
    }

    /// Take the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests;
