//! Bounds on the texts of records.

use std::collections::BTreeMap;

use atcr_atproto::syntax::Datetime;
use atcr_oci::RepositoryName;
use chrono::{DateTime, Utc};

/// Longest name of a repository, in bytes: that of a whole image name.
pub const MAX_REPOSITORY_LEN: usize = 255;

/// Longest annotations of a manifest that are kept, in bytes of keys and values.
const MAX_ANNOTATIONS: usize = 8 * 1024;

/// Whether a repository can have this name: the part of an image name behind the owner.
#[must_use]
pub fn is_repository(name: &str) -> bool {
    name.len() <= MAX_REPOSITORY_LEN && RepositoryName::new("a.example", name).is_ok()
}

/// `text` cut at a character's end to at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The annotations that fit, shortest keys' order kept: those of Open Containers and of this registry first, which pages show.
pub(super) fn kept_annotations(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    let mut room = MAX_ANNOTATIONS;
    let is_known = |key: &str| key.starts_with("org.opencontainers.") || key.starts_with("io.atcr.");
    for wanted in [true, false] {
        for (key, value) in annotations.iter().filter(|(key, _)| is_known(key) == wanted) {
            let length = key.len() + value.len();
            if let Some(rest) = room.checked_sub(length) {
                room = rest;
                kept.insert(key.clone(), value.clone());
            }
        }
    }
    kept
}

/// Characters of a summary.
const MAX_SUMMARY_CHARS: usize = 300;

/// The first paragraph of a Markdown text that is a sentence, as plain text: without headings, pictures, badges, quotes' and lists' marks.
pub(super) fn first_words(markdown: &str) -> String {
    let is_prose = |line: &&str| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with(['#', '!', '[', '<', '|', '`', '=', '-', '*', '>'])
    };
    let paragraph = cut(markdown, 8 * 1024)
        .lines()
        .skip_while(|line| !is_prose(line))
        .take_while(is_prose)
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ");
    one_line(&paragraph.replace(['`', '*', '_'], ""))
}

/// `text` as one line of at most 300 characters, without control characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let line = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(MAX_SUMMARY_CHARS) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// An instant of a record: whole microseconds, as they are stored.
pub(super) fn instant(at: &Datetime) -> DateTime<Utc> {
    let at = at.to_utc();
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_that_pages_show_are_kept_first() {
        let long = "x".repeat(MAX_ANNOTATIONS - 100);
        let annotations = BTreeMap::from([
            ("a".to_owned(), long.clone()),
            ("b".to_owned(), "short".to_owned()),
            ("org.opencontainers.image.title".to_owned(), "t".repeat(200)),
        ]);
        let kept: Vec<_> = kept_annotations(&annotations).into_keys().collect();
        assert_eq!(kept, ["b", "org.opencontainers.image.title"]);
    }

    #[test]
    fn a_summary_is_the_first_sentence() {
        let page = "# App\n\n[![ci](x)](y)\n\nServes *files*\nover `http`.\n\nMore.";
        assert_eq!(first_words(page), "Serves files over http.");
        assert_eq!(one_line(&"é".repeat(400)).chars().count(), 301);
    }

    #[test]
    fn names_are_paths_of_lower_case_components() {
        for name in ["app", "a/b.c", "x__y", "0"] {
            assert!(is_repository(name), "{name}");
        }
        for name in [
            "",
            "A",
            "/a",
            "a/",
            "a//b",
            "a b",
            "-a",
            "a-",
            "é",
            &"a".repeat(256),
        ] {
            assert!(!is_repository(name), "{name}");
        }
    }
}
