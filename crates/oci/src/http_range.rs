//! Ranges of bytes: `Content-Range` of an uploaded chunk, `Range` of a download and what is answered to it.
//!
//! All positions are inclusive and count from 0.

use std::fmt;
use std::str::FromStr;

use crate::error::InvalidRange;

/// The bytes of an upload that a chunk carries, or that were received so far: `start-end`, both inclusive.
///
/// # Spec
/// distribution-spec v1.1, Pushing a blob in chunks: `Content-Range` of a chunk, `Range` of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentRange {
    start: u64,
    end: u64,
}

impl ContentRange {
    /// The range from `start` to `end`; `None` when it would end before it starts, or be longer than `u64` counts.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start <= end && end < u64::MAX).then_some(Self { start, end })
    }

    /// The `Range` of an upload that has received `len` bytes. For none it is `0-0` too: the form has no empty range,
    /// and clients read the header only after they sent something.
    #[must_use]
    pub fn received(len: u64) -> Self {
        Self {
            start: 0,
            end: len.min(u64::MAX - 1).saturating_sub(1),
        }
    }

    /// Position of the first byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// Position of the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end
    }

    /// How many bytes it spans; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(self) -> u64 {
        self.end - self.start + 1
    }
}

impl FromStr for ContentRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (start, end) = text.trim().split_once('-').ok_or(InvalidRange)?;
        Self::new(parse_position(start)?, parse_position(end)?).ok_or(InvalidRange)
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// What a `Range: bytes=…` header asks for.
///
/// # Spec
/// RFC 9110 §14.1.2 and §14.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteRange {
    /// `first-last`, both inclusive; `last` may lie beyond the end.
    FromTo {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte.
        last: u64,
    },
    /// `first-`: everything from there.
    From {
        /// Position of the first byte.
        first: u64,
    },
    /// `-length`: the last bytes.
    Suffix {
        /// How many.
        length: u64,
    },
}

impl ByteRange {
    /// Reads a `Range` header. `Ok(None)` means: answer the whole content, as the RFC allows, because the unit is not
    /// bytes or several ranges are asked for.
    ///
    /// # Errors
    /// [`InvalidRange`]: not a range, or one that ends before it starts; answer 416.
    pub fn parse(header: &str) -> Result<Option<Self>, InvalidRange> {
        let (unit, ranges) = header.trim().split_once('=').ok_or(InvalidRange)?;
        if !unit.trim_end().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
            return Ok(None);
        }
        let (first, last) = ranges.trim().split_once('-').ok_or(InvalidRange)?;
        let range = match (first, last) {
            ("", length) => Self::Suffix {
                length: parse_position(length)?,
            },
            (first, "") => Self::From {
                first: parse_position(first)?,
            },
            (first, last) => Self::FromTo {
                first: parse_position(first)?,
                last: parse_position(last)?,
            },
        };
        match range {
            Self::FromTo { first, last } if last < first => Err(InvalidRange),
            range => Ok(Some(range)),
        }
    }

    /// The part of a content of `size` bytes that is asked for; `None`: nothing of it is there, answer 416 with
    /// [`SatisfiedRange::none_of`].
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<SatisfiedRange> {
        let end = size.checked_sub(1)?;
        let (first, last) = match self {
            Self::FromTo { first, last } => (first, last.min(end)),
            Self::From { first } => (first, end),
            Self::Suffix { length: 0 } => return None,
            Self::Suffix { length } => (size.saturating_sub(length), end),
        };
        (first <= last).then_some(SatisfiedRange { first, last, size })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTo { first, last } => write!(f, "bytes={first}-{last}"),
            Self::From { first } => write!(f, "bytes={first}-"),
            Self::Suffix { length } => write!(f, "bytes=-{length}"),
        }
    }
}

/// The part of a content that is answered; prints as the `Content-Range` of a 206, `bytes 500-1499/2000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SatisfiedRange {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte, inclusive.
    pub last: u64,
    /// Length of the whole content in bytes.
    pub size: u64,
}

impl SatisfiedRange {
    /// How many bytes are answered; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// The `Content-Range` of a 416 for a content of `size` bytes, `bytes */2000`.
    #[must_use]
    pub fn none_of(size: u64) -> String {
        format!("bytes */{size}")
    }
}

impl fmt::Display for SatisfiedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.first, self.last, self.size)
    }
}

/// Digits only: `u64::from_str` would also take a sign.
fn parse_position(text: &str) -> Result<u64, InvalidRange> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidRange);
    }
    text.parse().map_err(|_| InvalidRange)
}
