//! Sizes as people write them: `5GB`. A KB has 1024 bytes, as in the original.

/// The units, each 1024 times the one before.
const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];

/// The bytes that `text` says: a number, perhaps with a fraction, and one of B, KB, MB, GB, TB, PB in either case; without a unit,
/// bytes. `None` for anything else, and beyond 2^53 bytes, which JSON has no exact number for.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let power = if unit.is_empty() {
        0
    } else {
        UNITS.iter().position(|name| name.eq_ignore_ascii_case(unit))?
    };
    let factor = 1_u128 << (10 * power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // What is written is taken exactly, which a float would not.
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let parts = |digits: &str| digits.parse::<u64>().ok().map(u128::from);
    let mut bytes = parts(whole)?.checked_mul(factor)?;
    if !fraction.is_empty() {
        bytes += parts(fraction)? * factor / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    }
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= 1 << 53)
}

/// `bytes` in the largest unit of which there is a whole one, with one decimal: `5.0 GB`.
#[must_use]
pub fn format(bytes: u64) -> String {
    let mut power = 0;
    while power + 1 < UNITS.len() && bytes >> (10 * (power + 1)) > 0 {
        power += 1;
    }
    let unit = UNITS.get(power).copied().unwrap_or_default();
    if power == 0 {
        return format!("{bytes} {unit}");
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("5GB", Some(5 << 30)),
            ("5 gb", Some(5 << 30)),
            (" 1.5KB ", Some(1536)),
            ("0.1 MB", Some(104_857)),
            ("8PB", Some(8 << 50)),
            ("9PB", None),
            ("99999999999999999999GB", None),
            ("", None),
            ("GB", None),
            ("-1GB", None),
            ("1.GB", None),
            (".5GB", None),
            ("1.2.3GB", None),
            ("5GiB", None),
            ("5 G B", None),
            ("1e3", None),
        ] {
            assert_eq!(parse(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_written_with_one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (1535, "1.4 KB"),
            (5 << 30, "5.0 GB"),
            ((1 << 40) - 1, "1023.9 GB"),
            (u64::MAX, "16383.9 PB"),
        ] {
            assert_eq!(format(bytes), text);
        }
    }
}
