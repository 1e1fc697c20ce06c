//! Pages of a list: `n`, `last`, and the `Link` to the next one.

use crate::path::{LAST, N};
use crate::url::{QueryBuilder, percent_encode};

/// Which part of a list is asked for.
///
/// # Spec
/// distribution-spec v1.1, Listing Tags, end-8b; the catalog follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Page {
    /// At most so many entries. 0 asks for an empty list, to be answered without a `Link`.
    pub n: Option<usize>,
    /// Only entries after this one in the list's order; it need not exist. Never empty, at most 255 bytes.
    pub last: Option<String>,
}

impl Page {
    /// How many entries to answer: what is asked for, `default` when nothing is, never more than `max`.
    #[must_use]
    pub fn limit(&self, default: usize, max: usize) -> usize {
        self.n.unwrap_or(default).min(max)
    }

    /// The page after one that ended with `last`, of at most `n` entries.
    #[must_use]
    pub fn after(last: &str, n: usize) -> Self {
        Self {
            n: Some(n),
            last: Some(last.to_owned()),
        }
    }

    pub(crate) fn append_to(&self, query: &mut QueryBuilder) {
        if let Some(n) = self.n {
            query.push(N, &n.to_string());
        }
        if let Some(last) = &self.last {
            query.push(LAST, last);
        }
    }
}

/// The `Link` header that leads from a page to the next one.
///
/// `path` is the list's own path, [`tags_path`](crate::tags_path) or [`catalog_path`](crate::catalog_path);
/// `last` is the last entry answered, `n` the count asked for.
///
/// # Spec
/// RFC 8288; distribution-spec v1.1, Listing Tags.
#[must_use]
pub fn next_link(path: &str, last: &str, n: usize) -> String {
    format!("<{path}?{N}={n}&{LAST}={}>; rel=\"next\"", percent_encode(last))
}

/// The target of the `rel="next"` link in a `Link` header, as written there; `None` if it has none.
#[must_use]
pub fn parse_next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, parameters) = after.split_once('>')?;
        let here = parameters.split('<').next().unwrap_or_default();
        let is_next = here
            .split([';', ','])
            .filter_map(|parameter| parameter.split_once('='))
            .any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split(' ')
                        .any(|relation| relation.eq_ignore_ascii_case("next"))
            });
        if is_next {
            return Some(target);
        }
        rest = parameters;
    }
}
