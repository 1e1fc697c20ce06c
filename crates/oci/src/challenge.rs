//! `WWW-Authenticate: Bearer …`: where a client gets a token and for what.

use std::fmt;
use std::str::FromStr;

use crate::error::InvalidChallenge;

/// A Bearer challenge; prints as the value of `WWW-Authenticate`.
///
/// # Spec
/// RFC 6750 §3; Docker token authentication, "How to authenticate".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BearerChallenge {
    /// URL of the token endpoint.
    pub realm: String,
    /// Name of the registry, which the token is for.
    pub service: Option<String>,
    /// Scopes to ask for, separated by spaces; see [`AccessScope`](crate::AccessScope).
    pub scope: Option<String>,
    /// Why a token was refused: `invalid_token` or `insufficient_scope`.
    pub error: Option<String>,
}

impl BearerChallenge {
    /// A challenge without scope and error.
    #[must_use]
    pub fn new(realm: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            service: Some(service.into()),
            scope: None,
            error: None,
        }
    }

    /// This challenge with these scopes; without any, `scope` stays absent.
    #[must_use]
    pub fn with_scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a crate::AccessScope>) -> Self {
        let scopes: Vec<String> = scopes.into_iter().map(ToString::to_string).collect();
        self.scope = (!scopes.is_empty()).then(|| scopes.join(" "));
        self
    }

    /// This challenge with an `error`.
    #[must_use]
    pub fn with_error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }
}

impl fmt::Display for BearerChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer realm={}", Quoted(&self.realm))?;
        let optional = [
            ("service", &self.service),
            ("scope", &self.scope),
            ("error", &self.error),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                write!(f, ",{name}={}", Quoted(value))?;
            }
        }
        Ok(())
    }
}

/// A quoted-string. Control characters have no place in a header and are left out.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl FromStr for BearerChallenge {
    type Err = InvalidChallenge;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, mut rest) = text.trim().split_once(' ').ok_or(InvalidChallenge)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(InvalidChallenge);
        }
        let (mut realm, mut service, mut scope, mut error) = (None, None, None, None);
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (name, after) = rest.split_once('=').ok_or(InvalidChallenge)?;
            let (value, after) = read_value(after.trim_start())?;
            rest = after;
            let field = match name.trim().to_ascii_lowercase().as_str() {
                "realm" => &mut realm,
                "service" => &mut service,
                "scope" => &mut scope,
                "error" => &mut error,
                _ => continue,
            };
            // RFC 9110 §11.2: a parameter occurs once.
            if field.replace(value).is_some() {
                return Err(InvalidChallenge);
            }
        }
        Ok(Self {
            realm: realm.ok_or(InvalidChallenge)?,
            service,
            scope,
            error,
        })
    }
}

/// A token or quoted-string at the beginning of `text`, and what follows it.
fn read_value(text: &str) -> Result<(String, &str), InvalidChallenge> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[index + 1..])),
            '\\' => value.push(chars.next().ok_or(InvalidChallenge)?.1),
            c => value.push(c),
        }
    }
    Err(InvalidChallenge)
}
