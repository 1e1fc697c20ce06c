//! Numbers, as people read them.

use std::fmt;

use askama::filters::HtmlSafe;

/// A number of bytes as Docker prints it: `33.1 MB`, where a MB is a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, unit) = parts(self.0);
        write!(f, "{text} {unit}")
    }
}

/// A number of bytes as quotas are counted: `3.1 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gibibytes(pub u64);

impl fmt::Display for Gibibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GIB: u128 = 1 << 30;
        let tenths = (u128::from(self.0) * 10 + GIB / 2) / GIB;
        if tenths == 0 && self.0 > 0 {
            return f.write_str("less than 0.1 GiB");
        }
        write!(f, "{}.{} GiB", tenths / 10, tenths % 10)
    }
}

/// Three digits that count, and the unit.
fn parts(bytes: u64) -> (String, &'static str) {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return (bytes.to_string(), "B");
    }
    let mut unit = 0;
    // Tenths of the unit, rounded.
    let mut divisor = 1000_u128;
    let value = u128::from(bytes);
    while unit + 1 < UNITS.len() && value * 1000 >= divisor * 999_500 {
        divisor *= 1000;
        unit += 1;
    }
    let hundredths = (value * 100 + divisor / 2) / divisor;
    let text = if hundredths < 1000 {
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    } else if hundredths < 10_000 {
        let tenths = (value * 10 + divisor / 2) / divisor;
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        ((value + divisor / 2) / divisor).to_string()
    };
    (text, UNITS[unit])
}

/// Sizes of several things of one kind: `31.0–33.1 MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesRange {
    /// The smallest.
    pub least: u64,
    /// The largest.
    pub most: u64,
}

impl BytesRange {
    /// The range of `sizes`; `None` without any.
    pub fn of(sizes: impl IntoIterator<Item = u64>) -> Option<Self> {
        sizes.into_iter().fold(None, |range: Option<Self>, size| {
            let range = range.unwrap_or(Self {
                least: size,
                most: size,
            });
            Some(Self {
                least: range.least.min(size),
                most: range.most.max(size),
            })
        })
    }
}

impl fmt::Display for BytesRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (parts(self.least), parts(self.most));
        if least == most {
            write!(f, "{} {}", most.0, most.1)
        } else if least.1 == most.1 {
            write!(f, "{}–{} {}", least.0, most.0, most.1)
        } else {
            write!(f, "{} {} – {} {}", least.0, least.1, most.0, most.1)
        }
    }
}

/// A count: exact to 9,999, then `12.3k` with the exact number in its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl Count {
    /// With `one` or `many` of what is counted.
    #[must_use]
    pub fn of<'a>(self, one: &'a str, many: &'a str) -> Counted<'a> {
        Counted {
            count: self,
            what: if self.0 == 1 { one } else { many },
        }
    }
}

/// A count of what is in a list, for templates.
pub fn len<T>(list: &[T]) -> Count {
    Count(list.len() as u64)
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["k", "M", "bn", "tn", "qn"];
        let exact = exact(self.0);
        if self.0 <= 9_999 {
            return f.write_str(&exact);
        }
        let (mut unit, mut divisor) = (0, 1000_u128);
        let value = u128::from(self.0);
        while unit + 1 < UNITS.len() && value * 1000 >= divisor * 999_500 {
            divisor *= 1000;
            unit += 1;
        }
        let tenths = (value * 10 + divisor / 2) / divisor;
        let short = if tenths < 1000 {
            format!("{}.{}", tenths / 10, tenths % 10)
        } else {
            ((value + divisor / 2) / divisor).to_string()
        };
        write!(f, "<span title=\"{exact}\">{short}{}</span>", UNITS[unit])
    }
}

impl HtmlSafe for Count {}

/// A count and what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    count: Count,
    what: &'a str,
}

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.what)
    }
}

// The words are ours.
impl HtmlSafe for Counted<'_> {}

/// `1,204`.
#[must_use]
pub fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whole percents of `part` in `whole`; 0 of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let percent = (u128::from(part) * 100 + u128::from(whole) / 2) / u128::from(whole);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_docker_prints_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (33_149_000, "33.1 MB"),
            (999_400, "999 kB"),
            (999_500, "1.00 MB"),
            (1_234_567_890, "1.23 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        let range = |sizes: &[u64]| BytesRange::of(sizes.iter().copied()).map(|range| range.to_string());
        assert_eq!(range(&[33_149_000, 31_020_000]).as_deref(), Some("31.0–33.1 MB"));
        assert_eq!(range(&[900, 31_020_000]).as_deref(), Some("900 B – 31.0 MB"));
        assert_eq!(range(&[31_020_000, 31_020_001]).as_deref(), Some("31.0 MB"));
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn quotas_are_in_gibibytes() {
        for (bytes, text) in [
            (0, "0.0 GiB"),
            (1, "less than 0.1 GiB"),
            (5 << 30, "5.0 GiB"),
            (3_328_599_655, "3.1 GiB"),
        ] {
            assert_eq!(Gibibytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn counts_are_exact_as_long_as_they_are_short() {
        for (count, text) in [
            (0, "0"),
            (1204, "1,204"),
            (9999, "9,999"),
            (12_345, "<span title=\"12,345\">12.3k</span>"),
            (999_499, "<span title=\"999,499\">999k</span>"),
            (999_950, "<span title=\"999,950\">1.0M</span>"),
            (123_456_789, "<span title=\"123,456,789\">123M</span>"),
        ] {
            assert_eq!(Count(count).to_string(), text);
        }
        assert_eq!(Count(1).of("tag", "tags").to_string(), "1 tag");
        assert_eq!(Count(1204).of("tag", "tags").to_string(), "1,204 tags");
        assert_eq!((percent(1, 3), percent(2, 3), percent(1, 0)), (33, 67, 0));
    }
}
