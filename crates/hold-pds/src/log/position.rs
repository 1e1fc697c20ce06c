//! A place in the log.

use std::fmt;

/// A segment and an offset in it. Ordered as the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Position {
    pub(crate) const fn new(segment: u32, offset: u32) -> Self {
        Self { segment, offset }
    }

    pub(crate) fn to_u64(self) -> u64 {
        (u64::from(self.segment) << 32) | u64::from(self.offset)
    }

    pub(crate) fn from_u64(value: u64) -> Self {
        // Both halves fit.
        let half = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            segment: half(value >> 32),
            offset: half(value & u64::from(u32::MAX)),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} at byte {}", self.segment, self.offset)
    }
}
