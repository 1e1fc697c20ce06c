//! Language tags.

use std::collections::HashSet;
use std::str::FromStr;

use super::SyntaxError;
use super::string_type::string_type;

/// A language tag, `pt-BR`: BCP 47, well formed, without repeated variants or extensions. Kept as written.
///
/// # Spec
/// atproto specs "Lexicon", string format `language`; RFC 5646 §2.1, §2.2.9.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(String);

string_type!(Language);

const MAX_LEN: usize = 128;
/// The irregular and regular tags that RFC 5646 keeps although they do not follow its grammar.
const GRANDFATHERED: [&str; 26] = [
    "art-lojban",
    "cel-gaulish",
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "no-bok",
    "no-nyn",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
    "zh-guoyu",
    "zh-hakka",
    "zh-min",
    "zh-min-nan",
    "zh-xiang",
];

impl FromStr for Language {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("language tag", reason));
        if text.len() > MAX_LEN {
            return fail("longer than 128 bytes");
        }
        let lower = text.to_ascii_lowercase();
        if GRANDFATHERED.contains(&lower.as_str()) {
            return Ok(Self(text.to_owned()));
        }
        // The tag as a whole is case-insensitive, but Lexicon wants the language itself in lower case.
        let first = text.split('-').next().unwrap_or_default();
        if !first.eq_ignore_ascii_case("x") && first.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return fail("the language is not lower case");
        }
        if well_formed(&lower) {
            Ok(Self(text.to_owned()))
        } else {
            fail("not a tag of BCP 47")
        }
    }
}

fn well_formed(tag: &str) -> bool {
    let parts: Vec<&str> = tag.split('-').collect();
    let alpha = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let alphanumeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if parts
        .iter()
        .any(|part| !(1..=8).contains(&part.len()) || !alphanumeric(part))
    {
        return false;
    }
    if parts[0] == "x" {
        return parts.len() > 1;
    }
    let mut rest = parts.as_slice();
    let mut take = |accept: &dyn Fn(&str) -> bool| match rest {
        [part, tail @ ..] if accept(part) => {
            rest = tail;
            Some(*part)
        }
        _ => None,
    };
    // Longer languages are reserved by RFC 5646 and refused by atproto.
    if take(&|part| (2..=3).contains(&part.len()) && alpha(part)).is_none() {
        return false;
    }
    for _ in 0..3 {
        if take(&|part| part.len() == 3 && alpha(part)).is_none() {
            break;
        }
    }
    take(&|part| part.len() == 4 && alpha(part));
    take(&|part| {
        (part.len() == 2 && alpha(part))
            || (part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let mut variants = HashSet::new();
    while let Some(variant) =
        take(&|part| part.len() >= 5 || (part.len() == 4 && part.starts_with(|c: char| c.is_ascii_digit())))
    {
        if !variants.insert(variant) {
            return false;
        }
    }
    let mut singletons = HashSet::new();
    while let Some(singleton) = take(&|part| part.len() == 1 && part != "x") {
        if !singletons.insert(singleton) || take(&|part| part.len() >= 2).is_none() {
            return false;
        }
        while take(&|part| part.len() >= 2).is_some() {}
    }
    match rest {
        [] => true,
        ["x", private @ ..] => !private.is_empty(),
        _ => false,
    }
}
