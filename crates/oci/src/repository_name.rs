//! `<identity>/<image>`: the spec's `<name>`, with the account it belongs to in front.

use std::str::FromStr;

use crate::error::InvalidRepositoryName;
use crate::text_serde::text_type;

/// A repository of an account, for example `alice.example.com/team/app` or `did-plc-abc/app`.
///
/// Follows the spec's grammar for `<name>` and has at least two components. The first is the identity: a handle, or a DID
/// with hyphens in place of colons (colons are not legal there). Whether that identity exists is for a resolver to say.
///
/// # Spec
/// distribution-spec v1.1, Pulling manifests, `<name>`; at most 255 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(String);

/// Longest name in characters: clients limit host and name together to 255.
const MAX_LEN: usize = 255;

impl RepositoryName {
    /// The name made of `identity` and `image` (which may contain `/`).
    ///
    /// # Errors
    /// As for parsing; also when `identity` has more than one component.
    pub fn new(identity: &str, image: &str) -> Result<Self, InvalidRepositoryName> {
        if identity.contains('/') {
            return Err(InvalidRepositoryName::Grammar);
        }
        format!("{identity}/{image}").parse()
    }

    /// The first component: whose repository it is, as the client wrote it.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.0.split_once('/').map_or("", |(identity, _)| identity)
    }

    /// Everything after the first slash: the repository's name within the account; may contain `/`.
    #[must_use]
    pub fn image(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, image)| image)
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidRepositoryName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LEN {
            return Err(InvalidRepositoryName::TooLong);
        }
        if !text.split('/').all(is_component) {
            return Err(InvalidRepositoryName::Grammar);
        }
        if !text.contains('/') {
            return Err(InvalidRepositoryName::NoIdentity);
        }
        Ok(Self(text.to_owned()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let word = rest
            .iter()
            .take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            .count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = match rest {
            [] => return true,
            [b'_', b'_', ..] => 2,
            [b'_' | b'.', ..] => 1,
            _ => rest.iter().take_while(|b| **b == b'-').count(),
        };
        if separator == 0 {
            return false;
        }
        rest = &rest[separator..];
    }
}

impl std::fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(
    RepositoryName,
    "a repository name <identity>/<image> in lower case"
);
