//! The etcd v3 JSON dialect: bytes as base64, 64-bit numbers as strings, zero values left out.

use serde::{Deserialize, Serialize};

/// Bytes as standard base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&data_encoding::BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        data_encoding::BASE64.decode(text.as_bytes()).map(Bytes).map_err(|error| {
            serde::de::Error::custom(format!("illegal base64 data at input byte {}", error.position))
        })
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Bytes {
        Bytes(text.as_bytes().to_vec())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

/// A 64-bit number: a string in answers, a string or a number in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Int(pub i64);

impl Serialize for Int {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Int, D::Error> {
        struct Visit;
        impl serde::de::Visitor<'_> for Visit {
            type Value = Int;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a 64-bit number or its text")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int(number))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Int, E> {
                // Ids of etcd members use all 64 bits and are written unsigned.
                Ok(Int(number.cast_signed()))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Int, E> {
                let unsigned = || text.parse::<u64>().map(u64::cast_signed);
                text.parse::<i64>().or_else(|_| unsigned()).map(Int).map_err(E::custom)
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Int, E> {
                Ok(Int(0))
            }
        }
        input.deserialize_any(Visit)
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
