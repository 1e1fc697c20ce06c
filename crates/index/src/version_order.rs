//! Tags in the order of versions: `1.10` after `1.9`, a release after its candidates, names that are no versions before all versions.

/// Digits of a number that are compared as a number; longer ones are cut.
const MAX_DIGITS: usize = 40;

/// What a key of a tag that names a version begins with.
const VERSION: char = '2';

/// What any other key begins with.
const NAME: char = '1';

/// A text that sorts, byte by byte, where the tag belongs among versions. Different tags may have the same key.
#[must_use]
pub fn sort_key(tag: &str) -> String {
    let bare = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let is_version = bare.starts_with(|first: char| first.is_ascii_digit()) && !is_hash(bare);
    let mut key = String::with_capacity(tag.len() + 8);
    if !is_version {
        key.push(NAME);
        push_natural(&mut key, tag);
        return key;
    }
    key.push(VERSION);
    let mut rest = bare;
    loop {
        let (digits, after) = split_digits(rest);
        push_number(&mut key, digits);
        rest = after;
        match rest.strip_prefix('.') {
            Some(next) if next.starts_with(|first: char| first.is_ascii_digit()) => rest = next,
            _ => break,
        }
    }
    // A further number sorts after `!`, so that 1.2 comes before 1.2.0; what ends there sorts after every suffix of the same number.
    if rest.is_empty() {
        key.push_str("!~");
    } else {
        key.push('!');
        push_natural(&mut key, rest);
    }
    key
}

/// Whether the tag names a release: two numbers or more, and nothing behind them.
#[must_use]
pub fn is_release(tag: &str) -> bool {
    let bare = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let parts = bare.split('.').count();
    parts >= 2
        && bare
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the tag stands for something that refers to a manifest (`sha256-<hex>`, with or without a suffix such as `.sig`), in
/// registries that had no list of referrers.
#[must_use]
pub fn is_fallback(tag: &str) -> bool {
    let hex = |text: &str, len: usize| {
        text.len() >= len
            && text.as_bytes()[..len].iter().all(u8::is_ascii_hexdigit)
            && text.as_bytes().get(len).is_none_or(|next| *next == b'.')
    };
    tag.strip_prefix("sha256-").is_some_and(|text| hex(text, 64))
        || tag.strip_prefix("sha512-").is_some_and(|text| hex(text, 128))
}

/// A commit hash that happens to begin with a digit is no version.
fn is_hash(text: &str) -> bool {
    text.len() >= 7
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A number sorts by its length first.
fn push_number(key: &mut String, digits: &str) {
    let digits = digits.trim_start_matches('0');
    let digits = &digits[..digits.len().min(MAX_DIGITS)];
    // Lengths 0 to 40 as one character each, from `0` on: all are above `!` and below `~`.
    let length = u8::try_from(digits.len()).unwrap_or(0);
    key.push(char::from(b'0' + length));
    key.push_str(digits);
}

/// Text with its numbers as numbers.
fn push_natural(key: &mut String, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with(|first: char| first.is_ascii_digit()) {
            let (digits, after) = split_digits(rest);
            push_number(key, digits);
            rest = after;
        } else {
            let end = rest
                .find(|character: char| character.is_ascii_digit())
                .unwrap_or(rest.len());
            key.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_people_count() {
        let sorted = [
            "edge",
            "latest",
            "main-2",
            "main-10",
            "1",
            "1.2",
            "1.2.0-rc.1",
            "1.2.0-rc.2",
            "1.2.0-rc.10",
            "v1.2.0",
            "1.9",
            "1.10",
            "1.10.1",
            "v2.0-alpine3.9",
            "2.0-alpine3.10",
            "2.0",
            "20260101",
        ];
        let mut by_key = sorted.to_vec();
        by_key.reverse();
        by_key.sort_by_key(|tag| sort_key(tag));
        assert_eq!(by_key, sorted);
    }

    #[test]
    fn a_hash_is_no_version_and_a_candidate_no_release() {
        assert!(sort_key("1abc234").starts_with(NAME));
        assert!(sort_key("1234567").starts_with(VERSION));
        for tag in ["1.2", "v1.2.3", "10.0.0.1"] {
            assert!(is_release(tag), "{tag}");
        }
        for tag in ["1", "20260101", "1.2-rc1", "latest", "v", "1.", "sha-1.2"] {
            assert!(!is_release(tag), "{tag}");
        }
    }

    #[test]
    fn a_fallback_tag_is_one_of_a_whole_digest() {
        let hex = "a".repeat(64);
        assert!(is_fallback(&format!("sha256-{hex}")) && is_fallback(&format!("sha256-{hex}.sig")));
        assert!(!is_fallback("sha256-abc") && !is_fallback(&format!("sha256-{hex}0")));
        assert!(!is_fallback("sha256-ééééééééééééééééééééééééééééééééééééééééééé"));
    }

    #[test]
    fn any_text_has_a_key() {
        for tag in ["", "v", "é1", &"9".repeat(500), "1..2", "."] {
            let _ = (sort_key(tag), is_release(tag));
        }
    }
}
