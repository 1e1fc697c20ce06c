//! Where to go after a sign-in: always a page of this site, even if a link names another.

use std::fmt;

use url::Url;

/// Longest path that is kept, in bytes.
const MAX_LEN: usize = 1024;

/// A path at this site, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// The place that `text` names, or home if it names none of ours.
    ///
    /// # Security
    /// Browsers read `//host`, `/\host` and a path with tabs or newlines in it as other sites' addresses. So the text is read as they
    /// read it, and what is kept is what came of that.
    #[must_use]
    pub fn read(text: Option<&str>) -> Self {
        text.and_then(local).map_or_else(Self::home, Self)
    }

    /// The first page.
    #[must_use]
    pub fn home() -> Self {
        Self("/".to_owned())
    }

    /// The path and query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the first page, where one comes anyway.
    #[must_use]
    pub fn is_home(&self) -> bool {
        self.0 == "/"
    }
}

fn local(text: &str) -> Option<String> {
    let is_path = text.starts_with('/') && !text.contains('\\') && !text.chars().any(char::is_control);
    if !is_path || text.len() > MAX_LEN {
        return None;
    }
    let base = Url::parse("http://here.invalid/").ok()?;
    let url = base.join(text).ok()?;
    // A sign-in must not lead to the sign-in page again, or to signing out.
    let is_ours = url.origin() == base.origin()
        && !url.path().starts_with("//")
        && !url.path().starts_with("/auth/")
        && !url.path().contains("/../");
    is_ours.then(|| match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
