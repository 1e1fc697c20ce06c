//! Whether a manifest is its owner's: `/-/proof/{digest}` as a page and as the late part of the image's page, and
//! `/-/proof/{digest}.car`, the proof itself.

use askama::Template;
use atcr_oci::{Digest, Reference};
use atcr_web::moment::Moment;
use atcr_web::view::{Chrome, render};
use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::{Head, RepositoryVisit, StarForm};
use crate::browse::BrowseError;
use crate::browse::address::{RepositoryPage, image_path};
use crate::browse::provenance::{Outcome, Proof, ProofError};
use crate::edge::dialect::page::PageError;

/// What a check found.
enum ProofView {
    Proven(Box<ProvenView>),
    /// The evidence does not prove it, and why.
    Refused(String),
    /// There is no evidence now, and why.
    Unavailable(String),
}

/// A proven manifest.
struct ProvenView {
    key: String,
    record: String,
    cid: String,
    commit: String,
    rev: String,
    signed: Moment,
    claimed: Moment,
    checked: Moment,
    hold: Option<String>,
    car: String,
}

#[derive(Template)]
#[template(path = "pages/images/proof.html")]
struct ProofPage {
    chrome: Chrome,
    head: Head,
    digest: String,
    /// The page about the image.
    image: String,
    proof: ProofView,
    /// The command that checks the same; `None` for an account whose ID does not fit into an image's name.
    command: Option<String>,
}

fn view(page: &RepositoryVisit<'_>, digest: &Digest, outcome: &Result<Proof, ProofError>) -> ProofView {
    let proof = match outcome {
        Ok(proof) => proof,
        Err(ProofError::Refused(refusal)) => return ProofView::Refused(refusal.to_string()),
        Err(ProofError::Unavailable(reason)) => return ProofView::Unavailable(reason.clone()),
    };
    let verdict = &proof.verdict;
    let statement = &verdict.manifest;
    ProofView::Proven(Box::new(ProvenView {
        key: verdict.key.to_did_key(),
        record: statement.uri.clone(),
        cid: statement.cid.to_string(),
        commit: statement.commit.to_string(),
        rev: statement.rev.to_string(),
        signed: Moment::new(statement.signed_at(), page.now),
        claimed: Moment::new(verdict.created_at.to_utc(), page.now),
        checked: Moment::new(proof.checked_at, page.now),
        hold: verdict.hold.as_ref().map(ToString::to_string),
        car: format!("{}.car", path(&page.path, digest)),
    }))
}

/// The outcome of the check. Only of a manifest that the repository is known to have: nobody makes this server ask for others.
async fn outcome(page: &RepositoryVisit<'_>, digest: &Digest) -> Result<Outcome, PageError> {
    let known = page.browse.index.manifest(page.id(), digest).await;
    if known.map_err(BrowseError::from)?.is_none() {
        return Err(BrowseError::NoImage {
            owner: page.owner.name(),
            repository: page.repository.card.name.clone(),
            reference: digest.to_string(),
        }
        .into());
    }
    let repository = &page.repository.card.name;
    Ok(page.browse.proof(&page.owner, repository, digest).await)
}

/// The path of the page, in the repository at `repository`.
pub(super) fn path(repository: &str, digest: &Digest) -> String {
    format!("{repository}/-/proof/{digest}")
}

/// `/-/proof/{digest}`
pub(super) async fn show(page: &RepositoryVisit<'_>, digest: &Digest) -> Result<Response, PageError> {
    let outcome = outcome(page, digest).await?;
    let site = &page.visit.site;
    let local = if site.is_secure() && !site.is_development {
        ""
    } else {
        " --local"
    };
    let command = page.image_name().map(|name| {
        let places = &site.verify_flags;
        format!("docker-credential-atcr verify{local} {name}@{digest}{places}")
    });
    Ok(render(
        StatusCode::OK,
        &ProofPage {
            chrome: page.visit.chrome(),
            head: page.head(&RepositoryPage::Proof(digest.clone())),
            digest: digest.to_string(),
            image: image_path(&page.path, &Reference::Digest(digest.clone())),
            proof: view(page, digest, &outcome),
            command,
        },
    ))
}

/// `/-/proof/{digest}.car`
pub(super) async fn download(page: &RepositoryVisit<'_>, digest: &Digest) -> Result<Response, PageError> {
    let outcome = outcome(page, digest).await?;
    let proof = outcome
        .as_ref()
        .as_ref()
        .map_err(|error| PageError::NoProof(error.clone()))?;
    let mut response = Response::new(Body::from(proof.car.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.ipld.car"));
    let name = format!("attachment; filename=\"{}.car\"", digest.hex());
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Ok(response)
}
