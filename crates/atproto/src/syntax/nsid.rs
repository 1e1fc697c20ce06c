//! Namespaced identifiers: names of collections and methods.

use std::str::FromStr;

use super::SyntaxError;
use super::handle::is_label;
use super::string_type::string_type;

/// The name of a collection or a method: a reversed domain and a name, `io.atcr.manifest`. At most 317 bytes.
///
/// # Spec
/// atproto specs "NSID", NSID syntax.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nsid(String);

string_type!(Nsid);

impl FromStr for Nsid {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new("NSID", reason));
        if text.len() > 317 {
            return fail("longer than 317 bytes");
        }
        let Some((authority, name)) = text.rsplit_once('.') else {
            return fail("not at least three segments");
        };
        if !authority.contains('.') {
            return fail("not at least three segments");
        }
        if !authority.split('.').all(is_label) || authority.starts_with(|c: char| c.is_ascii_digit()) {
            return fail("the authority is not a reversed domain name");
        }
        if !(1..=63).contains(&name.len())
            || !name.starts_with(|c: char| c.is_ascii_alphabetic())
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return fail("the name is not 1–63 letters and digits beginning with a letter");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Nsid {
    /// The reversed domain: `io.atcr` of `io.atcr.manifest`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.rsplit_once('.').unwrap_or_default().0
    }

    /// The last segment: `manifest` of `io.atcr.manifest`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('.').unwrap_or_default().1
    }
}
