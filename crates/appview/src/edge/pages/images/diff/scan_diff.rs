//! `/api/scan-diff`: what changes between two images in packages and vulnerabilities. It is a page of its own, and the late part of
//! comparisons.
//!
//! It takes `owner`, `repository` and `digest` of the first image, and the same with `to_` before them of the second.

use std::sync::Arc;

use askama::Template;
use atcr_oci::{Digest, Reference};
use atcr_web::figures::Count;
use atcr_web::navigation::{Paging, address};
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::super::scan_subject::{Asking, Subject, principal};
use super::super::scan_words::{ScanWords, Verdict};
use super::super::scans::{FindingRow, Listed, page_of};
use super::tables::Mark;
use crate::browse::address::{image_path, repository_path};
use crate::browse::diff::Fate;
use crate::edge::dialect::page::PageError;
use crate::edge::pages::visit::Visit;
use crate::scans::{Finding, FindingChanges, PackageChange, PackageChanges};
use crate::state::AppState;

/// An image in an address.
pub(super) struct Named<'a> {
    pub(super) owner: &'a str,
    pub(super) repository: &'a str,
    pub(super) digest: &'a Digest,
}

impl<'a> Named<'a> {
    fn of(subject: &'a Subject, owner: &'a str) -> Self {
        Self {
            owner,
            repository: &subject.repository,
            digest: &subject.digest,
        }
    }
}

/// The comparison of two images.
pub(super) fn path(from: &Named<'_>, to: &Named<'_>) -> String {
    let query = [
        ("owner", from.owner),
        ("repository", from.repository),
        ("digest", from.digest.as_str()),
        ("to_owner", to.owner),
        ("to_repository", to.repository),
        ("to_digest", to.digest.as_str()),
    ];
    address("/api/scan-diff", &query)
}

struct SideView {
    name: String,
    href: String,
    whole: String,
    words: ScanWords,
}

struct PackageRow {
    mark: Mark,
    name: String,
    kind: String,
    from: String,
    to: String,
}

impl PackageRow {
    fn of(change: &PackageChange) -> Self {
        let fate = match (change.from.is_empty(), change.to.is_empty()) {
            (true, _) => Fate::Added,
            (false, true) => Fate::Removed,
            (false, false) => Fate::Changed,
        };
        Self {
            mark: Mark::of(fate),
            name: change.name.clone(),
            kind: change.kind.clone(),
            from: change.from.join(", "),
            to: change.to.join(", "),
        }
    }
}

struct PackagesView {
    total: Count,
    same: Count,
    cut: Vec<String>,
    rows: Vec<PackageRow>,
    paging: Paging,
}

struct FindingsView {
    gone: Count,
    new: Count,
    lists: [FindingList; 2],
    same: Count,
    cut: Vec<String>,
}

struct FindingList {
    name: &'static str,
    rows: Vec<FindingRow>,
    paging: Paging,
}

#[derive(Template)]
#[template(path = "pages/images/scan_diff.html")]
struct ScanDiffPage {
    chrome: Chrome,
    from: SideView,
    to: SideView,
    findings: Listed<FindingsView>,
    packages: Listed<PackagesView>,
}

/// `GET /api/scan-diff`, with `g`, `n` and `p` for the pages of its three tables.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let asker = principal(visit);
    let (from, to) = (
        Subject::find(visit, &asker, state, "", Asking::Always).await?,
        Subject::find(visit, &asker, state, "to_", Asking::Always).await?,
    );
    let (from_side, to_side) = (SideView::of(&from), SideView::of(&to));
    let (from_owner, to_owner) = (from.owner.name(), to.owner.name());
    let base = path(&Named::of(&from, &from_owner), &Named::of(&to, &to_owner));
    // One after the other: together they would take the room of other visitors.
    let findings = both(
        (&from_side, from.findings(&asker, state).await),
        (&to_side, to.findings(&asker, state).await),
        FindingChanges::between,
    );
    let findings = match findings.await {
        Ok(compared) => {
            let cut = cut(&from_side, &to_side, compared.left_out, ("finding", "findings"));
            Listed::Some(findings_view(&compared, cut, visit, &base))
        }
        Err(why) => Listed::None(why),
    };
    let packages = both(
        (&from_side, from.packages(&asker, state).await),
        (&to_side, to.packages(&asker, state).await),
        PackageChanges::between,
    );
    let packages = match packages.await {
        Ok(compared) => {
            let cut = cut(&from_side, &to_side, compared.left_out, ("package", "packages"));
            Listed::Some(packages_view(&compared, cut, visit, &base))
        }
        Err(why) => Listed::None(why),
    };
    Ok(render(
        StatusCode::OK,
        &ScanDiffPage {
            chrome: visit.chrome(),
            from: from_side,
            to: to_side,
            findings,
            packages,
        },
    ))
}

/// What `compare` makes of what was read of both images, or why one was not read. Long lists take as long as tasks must not.
async fn both<T: Send + Sync + 'static, C: Send + 'static>(
    (from_side, from): (&SideView, Result<Arc<T>, String>),
    (to_side, to): (&SideView, Result<Arc<T>, String>),
    compare: fn(&T, &T) -> C,
) -> Result<C, String> {
    let from = from.map_err(|why| from_side.without(&why))?;
    let to = to.map_err(|why| to_side.without(&why))?;
    let compared = tokio::task::spawn_blocking(move || compare(&from, &to)).await;
    compared.map_err(|_| "Something went wrong on our side.".to_owned())
}

/// Which side is not whole, in a sentence each: what is missing there looks as if it came or went.
fn cut(from: &SideView, to: &SideView, left_out: [usize; 2], (one, many): (&str, &str)) -> Vec<String> {
    let mut sentences = Vec::new();
    for ((side, other), left_out) in [(from, to), (to, from)].into_iter().zip(left_out) {
        let why = match (left_out > 0, side.words.is_partial) {
            (true, _) => format!(
                "The document of {} is too long, and {} at its end {} not read",
                side.name,
                Count(left_out as u64).of(one, many),
                if left_out == 1 { "was" } else { "were" },
            ),
            (false, true) => format!("{} was scanned without some kinds of packages", side.name),
            (false, false) => continue,
        };
        sentences.push(format!(
            "{why}, so {many} that are listed for {} alone may be in both.",
            other.name
        ));
    }
    sentences
}

impl ScanDiffPage {
    fn sides(&self) -> [&SideView; 2] {
        [&self.from, &self.to]
    }
}

impl SideView {
    fn of(subject: &Subject) -> Self {
        let owner = subject.owner.name();
        let short: String = subject.digest.hex().chars().take(12).collect();
        let path = repository_path(&owner, &subject.repository);
        Self {
            name: format!("{owner}/{}@{short}", subject.repository),
            href: image_path(&path, &Reference::Digest(subject.digest.clone())),
            whole: subject.digest.to_string(),
            words: subject.words.clone(),
        }
    }

    /// Why nothing of this side is compared.
    fn without(&self, why: &str) -> String {
        match self.words.verdict.sentence() {
            Some(verdict) => format!("{}: {why} {verdict}", self.name),
            None => format!("{}: {why}", self.name),
        }
    }
}

fn packages_view(compared: &PackageChanges, cut: Vec<String>, visit: &Visit, base: &str) -> PackagesView {
    let (range, paging) = page_of(visit, base, "p", "", compared.changes.len());
    PackagesView {
        total: Count(compared.changes.len() as u64),
        same: Count(compared.same as u64),
        cut,
        rows: compared.changes[range].iter().map(PackageRow::of).collect(),
        paging,
    }
}

fn findings_view(compared: &FindingChanges, cut: Vec<String>, visit: &Visit, base: &str) -> FindingsView {
    let list = |name, id, found: &[Finding]| {
        let (range, paging) = page_of(visit, base, id, "", found.len());
        FindingList {
            name,
            rows: found[range].iter().map(FindingRow::of).collect(),
            paging,
        }
    };
    FindingsView {
        gone: Count(compared.gone.len() as u64),
        new: Count(compared.new.len() as u64),
        lists: [list("New", "n", &compared.new), list("Gone", "g", &compared.gone)],
        same: Count(compared.same as u64),
        cut,
    }
}
