//! The `Range` header of a download.

use std::ops::Range;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No range, several, or one that is not understood: everything, as RFC 9110 allows.
    All,
    /// These bytes, half-open, not empty.
    Part(Range<u64>),
    /// A range that begins behind the end.
    Unsatisfiable,
}

/// Reads the `Range` header `value` against an object of `size` bytes.
///
/// # Spec
/// RFC 9110 §14.1.2, byte ranges; §14.2, a server may ignore what it does not want to serve.
pub(super) fn wanted(value: &str, size: u64) -> Wanted {
    let Some((unit, spec)) = value.split_once('=') else {
        return Wanted::All;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::All;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::All;
    }
    match (number(first), number(last)) {
        (Bound::Number(first), Bound::Number(last)) if last < first => Wanted::All,
        (Bound::Number(first), Bound::Number(last)) => part(first, last.saturating_add(1).min(size)),
        (Bound::Number(first), Bound::Absent) => part(first, size),
        (Bound::Absent, Bound::Number(suffix)) => part(size.saturating_sub(suffix), size),
        _ => Wanted::All,
    }
}

fn part(start: u64, end: u64) -> Wanted {
    if start < end {
        Wanted::Part(start..end)
    } else {
        Wanted::Unsatisfiable
    }
}

enum Bound {
    Absent,
    Number(u64),
    Other,
}

fn number(text: &str) -> Bound {
    match text {
        "" => Bound::Absent,
        // Digits only: `parse` would take a sign. Too many digits lie behind any end.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Bound::Number(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Bound::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_understood() {
        for (value, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-5", Wanted::Part(2..6)),
            ("Bytes=2-", Wanted::Part(2..10)),
            ("bytes=2-99", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=9-99999999999999999999999", Wanted::Part(9..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::All),
            ("bytes=0-1,4-5", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("nonsense", Wanted::All),
        ] {
            assert_eq!(wanted(value, 10), expected, "{value}");
        }
    }

    #[test]
    fn an_empty_object_has_no_range() {
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Unsatisfiable);
    }
}
