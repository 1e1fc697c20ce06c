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

struct ImageName {
    name: String,
    href: String,
    whole: String,
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
    left_out: Count,
    rows: Vec<PackageRow>,
    paging: Paging,
}

struct FindingsView {
    gone: Count,
    new: Count,
    lists: [FindingList; 2],
    same: Count,
    left_out: Count,
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
    from: ImageName,
    to: ImageName,
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
    let (from_name, to_name) = (ImageName::of(&from), ImageName::of(&to));
    let (from_owner, to_owner) = (from.owner.name(), to.owner.name());
    let base = path(&Named::of(&from, &from_owner), &Named::of(&to, &to_owner));
    // One after the other: together they would take the room of other visitors.
    let findings = both(
        (&from_name, from.findings(&asker, state).await),
        (&to_name, to.findings(&asker, state).await),
        FindingChanges::between,
    );
    let findings = match findings.await {
        Ok(compared) => Listed::Some(findings_view(&compared, visit, &base)),
        Err(why) => Listed::None(why),
    };
    let packages = both(
        (&from_name, from.packages(&asker, state).await),
        (&to_name, to.packages(&asker, state).await),
        PackageChanges::between,
    );
    let packages = match packages.await {
        Ok(compared) => Listed::Some(packages_view(&compared, visit, &base)),
        Err(why) => Listed::None(why),
    };
    Ok(render(
        StatusCode::OK,
        &ScanDiffPage {
            chrome: visit.chrome(),
            from: from_name,
            to: to_name,
            findings,
            packages,
        },
    ))
}

/// What `compare` makes of what was read of both images, or why one was not read. Long lists take as long as tasks must not.
async fn both<T: Send + Sync + 'static, C: Send + 'static>(
    (from_name, from): (&ImageName, Result<Arc<T>, String>),
    (to_name, to): (&ImageName, Result<Arc<T>, String>),
    compare: fn(&T, &T) -> C,
) -> Result<C, String> {
    let from = from.map_err(|why| format!("{}: {why}", from_name.name))?;
    let to = to.map_err(|why| format!("{}: {why}", to_name.name))?;
    let compared = tokio::task::spawn_blocking(move || compare(&from, &to)).await;
    compared.map_err(|_| "Something went wrong on our side.".to_owned())
}

impl ImageName {
    fn of(subject: &Subject) -> Self {
        let owner = subject.owner.name();
        let short: String = subject.digest.hex().chars().take(12).collect();
        let path = repository_path(&owner, &subject.repository);
        Self {
            name: format!("{owner}/{}@{short}", subject.repository),
            href: image_path(&path, &Reference::Digest(subject.digest.clone())),
            whole: subject.digest.to_string(),
        }
    }
}

fn packages_view(compared: &PackageChanges, visit: &Visit, base: &str) -> PackagesView {
    let (range, paging) = page_of(visit, base, "p", "", compared.changes.len());
    PackagesView {
        total: Count(compared.changes.len() as u64),
        same: Count(compared.same as u64),
        left_out: Count(compared.left_out as u64),
        rows: compared.changes[range].iter().map(PackageRow::of).collect(),
        paging,
    }
}

fn findings_view(compared: &FindingChanges, visit: &Visit, base: &str) -> FindingsView {
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
        left_out: Count(compared.left_out as u64),
    }
}
