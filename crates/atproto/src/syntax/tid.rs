//! Timestamp identifiers.

use std::str::FromStr;

use super::SyntaxError;
use super::string_type::string_type;

/// A timestamp identifier: 13 characters of sortable base32, whose order as text is their order in time. Used as record
/// key and as repository revision.
///
/// # Spec
/// atproto specs "TID".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(String);

string_type!(Tid);

const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const LEN: usize = 13;
const CLOCK_ID_BITS: u32 = 10;

impl Tid {
    /// The greatest clock id: 10 bits.
    pub const MAX_CLOCK_ID: u16 = (1 << CLOCK_ID_BITS) - 1;

    /// The TID of an instant, in microseconds since 1970 (53 bits are kept), on the clock `clock_id` (10 bits).
    #[must_use]
    pub fn from_parts(micros: u64, clock_id: u16) -> Self {
        let micros = micros & ((1 << 53) - 1);
        let value = (micros << CLOCK_ID_BITS) | u64::from(clock_id & Self::MAX_CLOCK_ID);
        let text = (0..LEN)
            .rev()
            .map(|place| char::from(ALPHABET[usize::try_from((value >> (5 * place)) & 31).unwrap_or(0)]))
            .collect();
        Self(text)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.value() >> CLOCK_ID_BITS
    }

    /// The clock that made it, 0–1023.
    #[must_use]
    pub fn clock_id(&self) -> u16 {
        u16::try_from(self.value() & u64::from(Self::MAX_CLOCK_ID)).unwrap_or(0)
    }

    fn value(&self) -> u64 {
        self.0
            .bytes()
            .fold(0, |value, byte| (value << 5) | digit(byte).unwrap_or(0))
    }
}

fn digit(byte: u8) -> Option<u64> {
    match byte {
        b'2'..=b'7' => Some(u64::from(byte - b'2')),
        b'a'..=b'z' => Some(u64::from(byte - b'a') + 6),
        _ => None,
    }
}

impl FromStr for Tid {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("TID", reason));
        if text.len() != LEN {
            return fail("not 13 characters");
        }
        if !text.bytes().all(|byte| digit(byte).is_some()) {
            return fail("not sortable base32");
        }
        if !text.starts_with(|first: char| matches!(first, '2'..='7' | 'a'..='j')) {
            return fail("the highest bit is set");
        }
        Ok(Self(text.to_owned()))
    }
}
