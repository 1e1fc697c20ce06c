//! Lists in documents of scanners: read up to a bound, counted beyond it.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::Unreadable;

/// Reads a JSON object. A list is none, though a struct could be read out of it.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Unreadable);
    }
    serde_json::from_slice(bytes).map_err(|_| Unreadable)
}

/// At most `N` entries, and how many there were.
#[derive(Debug)]
pub(super) struct Bounded<T, const N: usize> {
    pub(super) items: Vec<T>,
    pub(super) total: usize,
}

impl<T, const N: usize> Default for Bounded<T, N> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            total: 0,
        }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Bounded<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Reading<T, N> {
            type Value = Bounded<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Bounded::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut read = Bounded::default();
                while read.items.len() < N {
                    match list.next_element()? {
                        Some(item) => read.items.push(item),
                        None => {
                            read.total = read.items.len();
                            return Ok(read);
                        }
                    }
                }
                read.total = N;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    read.total += 1;
                }
                Ok(read)
            }
        }
        // Programs in Go write null for an empty list.
        deserializer.deserialize_any(Reading(PhantomData))
    }
}
