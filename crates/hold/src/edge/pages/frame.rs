//! What is around a page of the admin site: its sections, what was done before, and the token of its forms.

use atcr_web::navigation::Tab;

use super::error::PageError;
use super::visit::Visit;

/// The sections, in their order.
const SECTIONS: [(&str, &str); 9] = [
    ("/admin", "Dashboard"),
    ("/admin/crew", "Crew"),
    ("/admin/storage", "Storage"),
    ("/admin/scans", "Scans"),
    ("/admin/relays", "Relays"),
    ("/admin/backup", "Backup"),
    ("/admin/identity", "Identity"),
    ("/admin/settings", "Settings"),
    ("/admin/audit", "Audit log"),
];

/// What was done before the page, by the word in its address. Only these sentences are shown.
const NEWS: [(&str, &str); 7] = [
    ("added", "The member was added."),
    ("saved", "Saved."),
    ("same", "Nothing was different, so nothing was changed."),
    ("removed", "The member was removed. What they stored stays."),
    ("imported", "The import is done."),
    (
        "queued",
        "The image is scanned again as soon as a scanner is free.",
    ),
    (
        "asked",
        "Every relay is asked to follow this hold. The answers appear below.",
    ),
];

/// The section at `href`, with its name.
pub(super) fn section(href: &str) -> Option<(&'static str, &'static str)> {
    SECTIONS.into_iter().find(|(section, _)| *section == href)
}

/// The frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The sections.
    pub(super) sections: Vec<Tab>,
    /// What was done before.
    pub(super) news: Option<String>,
    /// For forms.
    pub(super) csrf_token: String,
}

impl Frame {
    /// The frame around a page of the section at `section`.
    pub(super) fn new(visit: &Visit, section: &str) -> Result<Self, PageError> {
        let done = visit.query().get("done");
        let news = NEWS.into_iter().find(|(word, _)| Some(*word) == done);
        let tabs = SECTIONS.into_iter().map(|(href, name)| Tab {
            href: href.to_owned(),
            name,
            count: None,
            is_current: href == section,
        });
        Ok(Self {
            sections: tabs.collect(),
            news: news.map(|(word, sentence)| match word {
                "imported" => imported(visit),
                _ => sentence.to_owned(),
            }),
            csrf_token: visit.signed_in()?.csrf_token().to_owned(),
        })
    }
}

/// What an import did, as far as the address says it in numbers.
fn imported(visit: &Visit) -> String {
    let number = |name| visit.query().get(name).and_then(|text| text.parse::<u64>().ok());
    match (number("added"), number("changed")) {
        (Some(added), Some(changed)) => format!("The import is done. Added: {added}. Changed: {changed}."),
        _ => "The import is done.".to_owned(),
    }
}
