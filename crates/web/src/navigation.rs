//! Ways from one page to the next: tabs, choices, and pages of a list.

use crate::figures::Count;

/// A tab: a link to another view of the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    /// Where it leads.
    pub href: String,
    /// Its name.
    pub name: &'static str,
    /// How many things are there, where that says something.
    pub count: Option<Count>,
    /// It is the view that is shown.
    pub is_current: bool,
}

/// One of several orders or filters: a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where it leads.
    pub href: String,
    /// Its name.
    pub name: String,
    /// How many things it leaves, where that is known.
    pub count: Option<Count>,
    /// It holds now.
    pub is_current: bool,
}

/// The links between pages of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// To the first page, unless it is shown.
    pub newest: Option<String>,
    /// To the page above.
    pub newer: Option<String>,
    /// To the page below.
    pub older: Option<String>,
}

impl Paging {
    /// There is another page.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.newer.is_some() || self.older.is_some()
    }
}

/// The address of `path` with the parameters of `query` that have a value.
#[must_use]
pub fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut serializer = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        serializer.append_pair(name, value);
    }
    let query = serializer.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}
