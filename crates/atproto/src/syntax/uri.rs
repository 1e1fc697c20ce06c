//! Generic URIs, as Lexicon checks them.

use std::str::FromStr;

use super::SyntaxError;
use super::string_type::string_type;

/// A URI of any scheme, checked no further than Lexicon does: a scheme, a colon, something after it, no white space, at
/// most 8 KiB. Parse it as a [`url::Url`] before using it.
///
/// # Spec
/// atproto specs "Lexicon", string format `uri`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(String);

string_type!(Uri);

const MAX_LEN: usize = 8 * 1024;
const MAX_SCHEME_LEN: usize = 81;

impl FromStr for Uri {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("URI", reason));
        if text.len() > MAX_LEN {
            return fail("longer than 8 KiB");
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return fail("no scheme");
        };
        if scheme.len() > MAX_SCHEME_LEN
            || !scheme.starts_with(|first: char| first.is_ascii_lowercase())
            || !scheme
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte))
        {
            return fail("the scheme is not valid");
        }
        if rest.is_empty() || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return fail("nothing, or white space, after the scheme");
        }
        Ok(Self(text.to_owned()))
    }
}
