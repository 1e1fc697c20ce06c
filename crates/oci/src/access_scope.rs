//! What a token allows: `repository:<name>:pull,push`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::InvalidAccessScope;
use crate::repository_name::RepositoryName;

/// Most scopes of one token request.
pub const MAX_SCOPES: usize = 64;
/// Longest scope in characters.
const MAX_LEN: usize = 1024;
/// Stands for every action.
const ANY: &str = "*";

/// Actions on one resource, `<type>:<name>:<action>[,<action>…]`.
///
/// # Spec
/// Docker token authentication, "Token scope documentation".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccessScope {
    /// `repository`, with a class perhaps (`repository(plugin)`), or `registry`.
    pub resource_type: String,
    /// The resource's name; for a repository normally, but not checked to be, a [`RepositoryName`].
    pub name: String,
    /// `pull`, `push`, `delete` or `*`; each once, in the order given.
    pub actions: Vec<String>,
}

impl AccessScope {
    /// Actions on a repository.
    #[must_use]
    pub fn repository(name: &RepositoryName, actions: &[&str]) -> Self {
        Self {
            resource_type: "repository".to_owned(),
            name: name.to_string(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        }
    }

    /// The repository it is about; `None` when it is about something else or names none of ours.
    #[must_use]
    pub fn repository_name(&self) -> Option<RepositoryName> {
        let kind = self.resource_type.split('(').next().unwrap_or_default();
        if kind == "repository" {
            self.name.parse().ok()
        } else {
            None
        }
    }

    /// Whether it covers `action`.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        self.actions.iter().any(|own| own == action || own == ANY)
    }

    /// What both cover; `None` when they are about different resources or share no action.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.resource_type != other.resource_type || self.name != other.name {
            return None;
        }
        // `*` on one side takes what the other side names.
        let wider = if self.actions.iter().any(|action| action == ANY) {
            (other, self)
        } else {
            (self, other)
        };
        let actions: Vec<String> = wider
            .0
            .actions
            .iter()
            .filter(|action| wider.1.allows(action))
            .cloned()
            .collect();
        (!actions.is_empty()).then(|| Self {
            actions,
            ..self.clone()
        })
    }

    /// Reads the `scope` parameters of a token request: each may hold several scopes, separated by spaces. Scopes for the
    /// same resource become one, in the order of first mention.
    ///
    /// # Errors
    /// [`InvalidAccessScope`]: one of them is against the grammar, or there are more than [`MAX_SCOPES`].
    pub fn parse_all<'a>(
        parameters: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, InvalidAccessScope> {
        let mut scopes: Vec<Self> = Vec::new();
        for text in parameters
            .into_iter()
            .flat_map(|parameter| parameter.split_ascii_whitespace())
        {
            let scope: Self = text.parse()?;
            let full = scopes.len() == MAX_SCOPES;
            let same = scopes
                .iter_mut()
                .find(|s| s.resource_type == scope.resource_type && s.name == scope.name);
            match same {
                Some(same) => same.add_actions(scope.actions),
                None if full => return Err(InvalidAccessScope::TooMany),
                None => scopes.push(scope),
            }
        }
        Ok(scopes)
    }

    fn add_actions(&mut self, actions: impl IntoIterator<Item = String>) {
        for action in actions {
            if !self.actions.contains(&action) {
                self.actions.push(action);
            }
        }
    }
}

impl FromStr for AccessScope {
    type Err = InvalidAccessScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LEN {
            return Err(InvalidAccessScope::Grammar);
        }
        // The name may contain colons itself (a host with a port), type and actions may not.
        let (resource_type, rest) = text.split_once(':').ok_or(InvalidAccessScope::Grammar)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(InvalidAccessScope::Grammar)?;
        let type_is_legal = !resource_type.is_empty()
            && resource_type
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'(' | b')' | b'-' | b'_'));
        let name_is_legal = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        let action_is_legal = |action: &str| {
            action == ANY
                || (!action.is_empty() && action.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        };
        if !type_is_legal || !name_is_legal || !actions.split(',').all(action_is_legal) {
            return Err(InvalidAccessScope::Grammar);
        }
        let mut scope = Self {
            resource_type: resource_type.to_owned(),
            name: name.to_owned(),
            actions: Vec::new(),
        };
        scope.add_actions(actions.split(',').map(str::to_owned));
        Ok(scope)
    }
}

impl fmt::Display for AccessScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.resource_type,
            self.name,
            self.actions.join(",")
        )
    }
}
