//! Who may sign what.

use atcr_atproto::syntax::Did;
use serde::Deserialize;

use super::Refused;

/// A policy, YAML:
///
/// ```yaml
/// images:
///   - name: alice.example/*
///     signers: [did:plc:ewvi7nxzyoun6zhxrhs64oiz]
/// ```
///
/// `name` is account and repository as the image is named, without registry and tag; a `*` at its end stands for anything. The first rule
/// that matches decides, and an image that none matches is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    images: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: Pattern,
    signers: Vec<Did>,
}

/// A whole name, or the beginning of one.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Pattern {
    text: String,
    is_prefix: bool,
}

impl TryFrom<String> for Pattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (text, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix.to_owned(), true),
            None => (text, false),
        };
        if text.contains('*') {
            return Err("a name may have one `*`, at its end");
        }
        Ok(Self { text, is_prefix })
    }
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        if self.is_prefix {
            name.starts_with(&self.text)
        } else {
            name == self.text
        }
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_norway::from_str(text).map_err(|error| error.to_string())
    }

    /// Checks that `signer` may sign `image`, account and repository.
    ///
    /// # Errors
    /// [`Refused::Policy`]
    pub fn check(&self, image: &str, signer: &Did) -> Result<(), Refused> {
        let refused = |reason| Refused::Policy {
            image: image.to_owned(),
            signer: signer.clone(),
            reason,
        };
        let Some(rule) = self.images.iter().find(|rule| rule.name.matches(image)) else {
            return Err(refused("it has no rule for this image".to_owned()));
        };
        let signers = &rule.signers;
        if signers.iter().any(|did| did.normalised() == signer.normalised()) {
            return Ok(());
        }
        let star = if rule.name.is_prefix { "*" } else { "" };
        Err(refused(format!(
            "the rule for `{}{star}` names others",
            rule.name.text
        )))
    }
}
