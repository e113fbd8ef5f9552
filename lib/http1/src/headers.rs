//! An ordered list of header fields with case-insensitive names.

use alloc::vec::Vec;
use core::fmt;

use crate::Error;

/// Header fields in the order they came or were added. One text and one table: two allocations.
#[derive(Clone, Default)]
pub struct Headers {
    /// Name and value of each field, one after the other.
    text: Vec<u8>,
    fields: Vec<Field>,
}

#[derive(Clone, Copy)]
struct Field {
    start: usize,
    name_len: usize,
    value_len: usize,
}

impl Headers {
    /// No fields.
    #[must_use]
    pub const fn new() -> Headers {
        Headers { text: Vec::new(), fields: Vec::new() }
    }

    /// Add a field after the others.
    ///
    /// # Errors
    /// [`Error::HeaderName`] if `name` is not a token, [`Error::HeaderValue`] if `value` holds a control byte
    /// other than a tab or has whitespace at its ends.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let value = value.as_ref();
        if !is_token(name.as_bytes()) {
            return Err(Error::HeaderName);
        }
        if !is_value(value) {
            return Err(Error::HeaderValue);
        }
        self.push_checked(name.as_bytes(), value);
        Ok(())
    }

    /// Replace every field of that name by one, at the end.
    ///
    /// # Errors
    /// As [`Headers::append`]; then nothing is changed.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let kept = self.fields.len();
        self.append(name, value)?;
        let last = self.fields.pop();
        debug_assert_eq!(self.fields.len(), kept, "append adds exactly one field");
        self.remove(name);
        self.fields.extend(last);
        Ok(())
    }

    /// Remove every field of that name; how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        self.retain(|field, _| !field.eq_ignore_ascii_case(name))
    }

    /// Keep the fields for which `keep(name, value)` holds; how many were removed.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) -> usize {
        let before = self.fields.len();
        let text = &self.text;
        self.fields.retain(|field| keep(field.name(text), field.value(text)));
        before - self.fields.len()
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of the first field of that name, if it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |field| {
                field.name_len == name.len()
                    && self.text[field.start..field.start + field.name_len].eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|field| field.value(&self.text))
    }

    /// Whether a field of that name exists.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a comma-separated field of that name lists `token`, in any case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The elements of all comma-separated fields of that name, without the whitespace around them.
    pub fn tokens<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.get_all(name).flat_map(|value| value.split(|&b| b == b',')).map(trim).filter(|item| !item.is_empty())
    }

    /// Every field in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (field.name(&self.text), field.value(&self.text)))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Room for `fields` fields of `bytes` bytes in all.
    pub(crate) fn with_room(fields: usize, bytes: usize) -> Headers {
        Headers { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Add a field that a parser has checked.
    pub(crate) fn push_checked(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.fields.push(Field { start, name_len: name.len(), value_len: value.len() });
    }

    /// Name and value bytes of every field, for encoders.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (&self.text[field.start..field.start + field.name_len], field.value(&self.text)))
    }
}

impl Field {
    fn name<'a>(&self, text: &'a [u8]) -> &'a str {
        // Names are tokens, so ASCII; the empty name cannot occur and would match nothing.
        core::str::from_utf8(&text[self.start..self.start + self.name_len]).unwrap_or("")
    }

    fn value<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let from = self.start + self.name_len;
        &text[from..from + self.value_len]
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.len() == other.len()
            && self.raw().zip(other.raw()).all(|(a, b)| a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1)
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, alloc::format!("{}", value.escape_ascii()))))
            .finish()
    }
}

/// RFC 9110 5.6.2.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// A tab, a visible byte, a space, or obs-text.
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| is_value_byte(b)) && trim(bytes).len() == bytes.len()
}

/// Without the spaces and tabs at both ends.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let is_blank = |b: &u8| *b == b' ' || *b == b'\t';
    let Some(from) = bytes.iter().position(|b| !is_blank(b)) else { return &[] };
    let to = bytes.iter().rposition(|b| !is_blank(b)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

#[cfg(test)]
mod tests;
