//! Text of scanners: names out of images and reports, which are a stranger's. Pages escape it; what confuses people is removed here.

/// Longest name, version or licence that is kept, in bytes.
const MAX_LEN: usize = 256;

/// `text` without characters that are not seen or turn the line around, cut to a length for tables.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MAX_LEN));
    for character in text.chars() {
        if clean.len() + character.len_utf8() > MAX_LEN {
            clean.push('…');
            break;
        }
        if !is_misleading(character) {
            clean.push(character);
        }
    }
    clean
}

fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_gone_and_what_is_long_is_cut() {
        assert_eq!(clean("a\0b\u{1b}[31m\nc\u{202e}d\u{200b}"), "ab[31mcd");
        assert_eq!(clean("<img src=x>"), "<img src=x>");
        let long = clean(&"ä".repeat(1000));
        assert!(long.len() <= MAX_LEN + '…'.len_utf8() && long.ends_with('…'));
    }
}
