//! Timestamps as records write them.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

use super::SyntaxError;
use super::string_type::string_type;

/// A timestamp of a record: the intersection of RFC 3339 and ISO 8601, with a time zone, `1985-04-12T23:20:50.123Z`.
///
/// Kept as it was written, so that a record that is read and written again keeps its bytes; equality is equality of
/// text. Compare instants through [`to_utc`](Self::to_utc).
///
/// # Spec
/// atproto specs "Lexicon", string format `datetime`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Datetime(String);

string_type!(Datetime);

const MAX_LEN: usize = 64;

impl Datetime {
    /// `at` in UTC with milliseconds, the preferred form.
    #[must_use]
    pub fn new(at: DateTime<Utc>) -> Self {
        Self(at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    /// The instant.
    #[must_use]
    pub fn to_utc(&self) -> DateTime<Utc> {
        parse(&self.0).map(|at| at.to_utc()).unwrap_or_default()
    }
}

impl From<DateTime<Utc>> for Datetime {
    fn from(at: DateTime<Utc>) -> Self {
        Self::new(at)
    }
}

impl FromStr for Datetime {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(|_| Self(text.to_owned()))
    }
}

fn parse(text: &str) -> Result<DateTime<FixedOffset>, SyntaxError> {
    let fail = |reason| SyntaxError::new("datetime", reason);
    if text.len() > MAX_LEN {
        return Err(fail("longer than 64 bytes"));
    }
    if !has_shape(text) {
        return Err(fail("not of the form YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)"));
    }
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| fail("no such date or time"))?;
    if at.to_utc() < DateTime::<Utc>::from_timestamp(YEAR_ZERO, 0).unwrap_or_default() {
        return Err(fail("before the year zero"));
    }
    Ok(at)
}

/// 0000-01-01T00:00:00Z in Unix seconds.
const YEAR_ZERO: i64 = -62_167_219_200;

/// Stricter than chrono where RFC 3339 allows more than ISO 8601: capital `T` and `Z`, a fraction with digits, no `-00:00`.
fn has_shape(text: &str) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let Some((head, tail)) = bytes.split_at_checked(SHAPE.len()) else {
        return false;
    };
    let matches = |shape: &[u8], text: &[u8]| {
        shape.len() == text.len()
            && shape.iter().zip(text).all(|(want, got)| {
                if *want == b'0' {
                    got.is_ascii_digit()
                } else {
                    want == got
                }
            })
    };
    if !matches(SHAPE, head) {
        return false;
    }
    let zone = match tail.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => tail,
    };
    zone == b"Z" || matches(b"+00:00", zone) || (matches(b"-00:00", zone) && zone != b"-00:00")
}
