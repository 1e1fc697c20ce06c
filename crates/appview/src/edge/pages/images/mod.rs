//! Pages about images: `/u/{identity}`, `/r/{identity}/{repository…}` and what is behind it, `/search`, `/affected`.

pub mod affected;
mod badge;
pub(super) mod config_view;
mod delete;
pub mod diff;
mod edit;
mod feed;
pub(super) mod home;
mod image;
mod layer_view;
mod lists;
mod news;
mod overview;
mod proof;
mod scan_json;
mod scan_subject;
mod scan_words;
pub mod scans;
pub mod search;
mod set_tag;
pub mod user;
pub(super) mod views;

use atcr_atproto::syntax::Did;
use atcr_index::change::Coverage;
use atcr_index::view::{RepositoryId, RepositoryView};
use atcr_web::figures::Count;
use atcr_web::form::{Form, LongForm};
use atcr_web::navigation::Tab;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use http::HeaderValue;
use http::header::LINK;

use self::delete::DeletionView;
use self::news::News;
pub(super) use self::overview::HoldName;
pub(in crate::edge) use self::views::page_request;
use self::views::{KindView, OwnerLink, Some3};
use super::visit::Visit;
use crate::browse::address::{ImageAddress, RepositoryPage, repository_path};
use crate::browse::{Browse, BrowseError, Owner};
use crate::edge::dialect::page::{PageError, sign_in_address};
use crate::state::AppState;

/// `GET /r/{identity}/{*rest}`.
pub async fn serve(
    visit: Visit,
    State(state): State<AppState>,
    Path((identity, rest)): Path<(String, String)>,
) -> Response {
    let outcome = match ImageAddress::parse(&identity, &rest) {
        Some(address) => show(&visit, &state, &address, None).await,
        None => other_spelling(&identity, &rest).ok_or(PageError::NotFound),
    };
    visit.answer(outcome)
}

/// Leads to the page of an address that has a slash at its end.
fn other_spelling(identity: &str, rest: &str) -> Option<Response> {
    let address = ImageAddress::parse(identity, rest.strip_suffix('/')?)?;
    Some(Redirect::permanent(&address.path()).into_response())
}

/// `POST /r/{identity}/{repository…}/-/star` with `star=true` or `false`, and the owner's forms.
pub async fn submit(
    visit: Visit,
    State(state): State<AppState>,
    Path((identity, rest)): Path<(String, String)>,
    LongForm(form): LongForm,
) -> Response {
    let outcome = match ImageAddress::parse(&identity, &rest) {
        Some(address) => match &address.view {
            RepositoryPage::Star => star(&visit, &state, &address, &form).await,
            RepositoryPage::Undo => delete::undo(&visit, &state, &address, &form).await,
            RepositoryPage::Delete | RepositoryPage::Edit | RepositoryPage::SetTag => {
                show(&visit, &state, &address, Some(&form)).await
            }
            _ => Err(PageError::NotFound),
        },
        None => Err(PageError::NotFound),
    };
    visit.answer(outcome)
}

async fn star(
    visit: &Visit,
    state: &AppState,
    address: &ImageAddress,
    form: &Form,
) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    let is_starred = match form.get("star") {
        Some("true") => true,
        Some("false") => false,
        _ => return Err(PageError::Refused("Choose whether the repository has your star.")),
    };
    let browse = &state.browse;
    let owner = browse.owner(&address.owner).await?;
    let repository = browse.repository(&owner, &address.repository).await?;
    browse
        .set_star(
            &signed_in.session.did,
            &owner.identity.did,
            &repository.card.name,
            is_starred,
        )
        .await?;
    let path = repository_path(&owner.name(), &repository.card.name);
    Ok(Redirect::to(&path).into_response())
}

/// The page, or with `form` what comes of one that was sent from it.
async fn show(
    visit: &Visit,
    state: &AppState,
    address: &ImageAddress,
    form: Option<&Form>,
) -> Result<Response, PageError> {
    let browse = state.browse.as_ref();
    let owner = match browse.owner(&address.owner).await {
        Err(BrowseError::Moved { to, .. }) => {
            let now = ImageAddress {
                owner: to,
                ..address.clone()
            };
            return Ok(Redirect::temporary(&now.path()).into_response());
        }
        found => found?,
    };
    if let RepositoryPage::Blob(digest) = &address.view {
        let url = browse
            .blob_url(visitor(visit), &owner, &address.repository, digest)
            .await
            .map_err(BrowseError::from)?;
        return Ok(Redirect::temporary(&url).into_response());
    }
    let repository = browse.repository(&owner, &address.repository).await?;
    let star = match &visit.signed_in {
        Some(signed_in) => StarForm::Signed {
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            is_given: browse
                .is_starred(&signed_in.session.did, &owner.identity.did, &address.repository)
                .await?,
        },
        None => StarForm::SignIn {
            href: sign_in_address(&visit.here),
        },
    };
    let deletions = match address.view {
        RepositoryPage::Tags | RepositoryPage::Manifests | RepositoryPage::Activity => {
            delete::deletions(state, visit, &owner, Some(&address.repository)).await?
        }
        _ => Vec::new(),
    };
    let page = RepositoryVisit {
        deletions,
        star,
        visit,
        browse,
        now: browse.clock.now(),
        path: repository_path(&owner.name(), &address.repository),
        owner,
        repository,
    };
    if let Some(form) = form {
        return match &address.view {
            RepositoryPage::Delete => delete::submit(&page, state, form).await,
            RepositoryPage::Edit => edit::submit(&page, state, form).await,
            RepositoryPage::SetTag => set_tag::submit(&page, state, form).await,
            _ => Err(PageError::NotFound),
        };
    }
    let mut response = match &address.view {
        RepositoryPage::Overview => overview::show(&page).await,
        RepositoryPage::Image(reference) => image::show(&page, reference, None).await,
        RepositoryPage::Tags => lists::tags(&page).await,
        RepositoryPage::Manifests => lists::manifests(&page).await,
        RepositoryPage::Referrers => lists::referrers(&page).await,
        RepositoryPage::Activity => lists::activity(&page).await,
        RepositoryPage::Stars => lists::stars(&page).await,
        RepositoryPage::Feed => feed::show(&page).await,
        RepositoryPage::Badge(kind) => badge::show(&page, *kind).await,
        RepositoryPage::Proof(digest) => proof::show(&page, digest).await,
        RepositoryPage::ProofCar(digest) => proof::download(&page, digest).await,
        RepositoryPage::Delete => delete::show(&page, state).await,
        RepositoryPage::Edit => edit::show(&page, state).await,
        RepositoryPage::Diff => diff::show(&page).await,
        RepositoryPage::Blob(_) | RepositoryPage::Star | RepositoryPage::Undo | RepositoryPage::SetTag => {
            Err(PageError::NotFound)
        }
    }?;
    // The account's handle is in the address that counts; its DID leads to the same pages.
    let canonical = ImageAddress {
        owner: page.owner.identity.handle.clone().map_or_else(
            || page.owner.identity.did.clone().into(),
            atcr_atproto::syntax::AtIdentifier::from,
        ),
        ..address.clone()
    };
    let feed = format!("{}/-/feed", page.path);
    let link = format!(
        "<{}>; rel=\"canonical\", <{}>; rel=\"alternate\"; type=\"application/atom+xml\"",
        visit.site.url(&canonical.path()),
        visit.site.url(&feed)
    );
    if let Ok(link) = HeaderValue::from_str(&link) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// The account that looks.
fn visitor(visit: &Visit) -> Option<&Did> {
    visit.signed_in.as_ref().map(|signed_in| &signed_in.session.did)
}

/// A visit to a page about a repository.
struct RepositoryVisit<'a> {
    visit: &'a Visit,
    browse: &'a Browse,
    now: DateTime<Utc>,
    owner: Owner,
    repository: RepositoryView,
    star: StarForm,
    /// The owner's deletions that can be undone, on the pages that lists them.
    deletions: Vec<DeletionView>,
    /// The path of the repository's own page.
    path: String,
}

impl RepositoryVisit<'_> {
    /// For forms; empty for a visitor who is not signed in.
    fn csrf_token(&self) -> String {
        let signed_in = self.visit.signed_in.as_ref();
        signed_in.map_or_else(String::new, |signed_in| signed_in.csrf_token.as_str().to_owned())
    }

    /// Whether the visitor is the owner.
    fn is_own(&self) -> bool {
        visitor(self.visit) == Some(&self.owner.identity.did)
    }

    /// Checks that the visitor is the owner.
    fn require_own(&self) -> Result<(), PageError> {
        let signed_in = self.visit.signed_in()?;
        if self.is_own() {
            return Ok(());
        }
        let session = &signed_in.session;
        Err(PageError::NotOwner {
            owner: self.owner.name(),
            visitor: session.handle.clone().unwrap_or_else(|| session.did.to_string()),
        })
    }

    fn id(&self) -> RepositoryId {
        self.repository.card.id
    }

    /// `HOST/OWNER/app`; `None` for an account whose ID does not fit into an image's name.
    fn image_name(&self) -> Option<String> {
        let identity = &self.owner.identity;
        let handle = identity.handle.as_ref().map(ToString::to_string);
        let segment = handle.or_else(|| identity.did.to_image_segment())?;
        Some(format!(
            "{}/{segment}/{}",
            self.visit.site.host(),
            self.repository.card.name
        ))
    }

    /// The head of the page, with `current` as the tab that is shown.
    fn head(&self, current: &RepositoryPage) -> Head {
        let card = &self.repository.card;
        let tab = |name, view: &RepositoryPage, path: &str, count: Option<u64>| Tab {
            href: format!("{}{path}", self.path),
            name,
            count: count.map(Count),
            is_current: view == current,
        };
        Head {
            owner: OwnerLink::new(&self.owner.identity.did, self.owner.identity.handle.as_ref()),
            name: card.name.clone(),
            path: self.path.clone(),
            summary: card.summary.clone(),
            kind: card.kind.map(KindView::of),
            platforms: Some3::of(&card.platforms),
            stars: Count(card.stars),
            star: self.star.clone(),
            tabs: vec![
                tab("Overview", &RepositoryPage::Overview, "", None),
                tab("Tags", &RepositoryPage::Tags, "/-/tags", Some(card.tags)),
                tab(
                    "Manifests",
                    &RepositoryPage::Manifests,
                    "/-/manifests",
                    Some(self.repository.manifests),
                ),
                tab(
                    "Signatures & SBOMs",
                    &RepositoryPage::Referrers,
                    "/-/referrers",
                    Some(self.repository.referrers),
                ),
                tab("Activity", &RepositoryPage::Activity, "/-/activity", None),
            ],
            is_whole: self.repository.coverage == Coverage::Whole,
            is_own: self.is_own(),
            deletions: self.deletions.clone(),
            news: News::of(self.visit.query()),
        }
    }
}

/// What a visitor can do about a star.
#[derive(Clone, Debug)]
enum StarForm {
    /// Give it, or take it back.
    Signed { csrf_token: String, is_given: bool },
    /// Sign in first.
    SignIn { href: String },
}

/// The head of every page about a repository.
#[derive(Clone, Debug)]
struct Head {
    owner: OwnerLink,
    name: String,
    path: String,
    summary: String,
    kind: Option<KindView>,
    platforms: Some3,
    stars: Count,
    star: StarForm,
    tabs: Vec<Tab>,
    /// All of the account is indexed: what is not shown does not exist.
    is_whole: bool,
    /// The visitor is the owner.
    is_own: bool,
    deletions: Vec<DeletionView>,
    /// What the visitor's last form came to.
    news: Option<News>,
}
