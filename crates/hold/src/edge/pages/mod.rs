//! Pages for people: what the hold is, for everyone, and the admin site, for its captain. Every page and form is complete without scripts.
//!
//! - [`visit`]: who visits · [`frame`]: what is around a page of the admin site · [`error`]: why a page is not what was asked for

mod audit;
mod backup;
mod crew;
mod dashboard;
mod error;
mod frame;
mod front;
mod identity;
mod import;
mod relays;
mod scans;
mod settings;
mod sign_in;
mod storage;
mod visit;

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_auth::oauth::Registration;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use atcr_server::address_gate::{self, AddressGate};
use atcr_web::site::Site;
use atcr_web::{assets, origin, security_headers};
use axum::extract::FromRef;
use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::admin::accounts::Accounts;
use crate::admin::audit::AuditLog;
use crate::admin::crew::CaptainsCrew;
use crate::admin::history::History;
use crate::admin::overview::Overview;
use crate::admin::rules::Rules;
use crate::admin::sign_in::CaptainSignIn;
use crate::quota::Quotas;
use crate::relays::Announcements;
use crate::scanning::Scanning;
use crate::settings::HoldSettings;

/// What handlers of pages use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PagesState {
    /// The site.
    pub site: Arc<Site>,
    /// Who the hold is.
    pub identity: Arc<HoldIdentity>,
    /// Its records.
    pub repo: HoldRepo,
    /// What its configuration says.
    pub settings: Arc<HoldSettings>,
    /// How it is.
    pub overview: Overview,
    /// The captain's way in.
    pub sign_in: Arc<CaptainSignIn>,
    /// The hold as an OAuth client.
    pub registration: Arc<Registration>,
    /// The crew.
    pub crew: CaptainsCrew,
    /// Who may keep how much.
    pub quotas: Quotas,
    /// Names of accounts.
    pub accounts: Accounts,
    /// What the configuration leaves open.
    pub rules: Rules,
    /// How much there was on each day.
    pub history: History,
    /// Who changed what.
    pub audit: AuditLog,
    /// The relays.
    pub relays: Announcements,
    /// The scanners.
    pub scanning: Scanning,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl FromRef<PagesState> for Arc<Site> {
    fn from_ref(state: &PagesState) -> Self {
        Arc::clone(&state.site)
    }
}

/// The routes of pages; `anonymous` counts them by address.
pub fn router(state: PagesState, anonymous: Arc<AddressGate>) -> Router {
    let pages = if state.settings.admin {
        front().merge(admin()).merge(sign_in())
    } else {
        front()
    };
    pages
        .route_layer(middleware::from_fn_with_state(state.clone(), origin::layer))
        .route("/static/{hash}/{name}", get(assets::serve))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            security_headers::layer,
        ))
        .layer(middleware::from_fn_with_state(anonymous, address_gate::layer))
        .with_state(state)
}

/// For everyone.
fn front() -> Router<PagesState> {
    Router::new().route("/", get(front::page))
}

/// The way in.
fn sign_in() -> Router<PagesState> {
    let form = get(sign_in::page).post(sign_in::start);
    Router::new()
        .route("/admin/auth/login", form.clone())
        .route("/admin/auth/oauth/authorize", form)
        .route("/admin/auth/oauth/callback", get(sign_in::callback))
        .route("/admin/auth/logout", post(sign_in::sign_out))
        .route("/oauth-client-metadata.json", get(sign_in::client_metadata))
        .route("/oauth-jwks.json", get(sign_in::jwks))
}

/// For the captain.
fn admin() -> Router<PagesState> {
    Router::new()
        .route("/admin", get(dashboard::page))
        .route("/admin/part/standing", get(dashboard::part))
        .route("/admin/crew", get(crew::list))
        .route("/admin/crew/add", get(crew::add_form).post(crew::add))
        .route("/admin/crew/export", get(import::export))
        .route("/admin/crew/import", get(import::form).post(import::submit))
        .route("/admin/crew/member/{rkey}", get(crew::member).post(crew::edit))
        .route(
            "/admin/crew/member/{rkey}/delete",
            get(crew::confirm_removal).post(crew::remove),
        )
        .route("/admin/storage", get(storage::page))
        .route("/admin/scans", get(scans::page))
        .route("/admin/scans/again", post(scans::again))
        .route("/admin/relays", get(relays::page))
        .route("/admin/relays/crawl", post(relays::crawl))
        .route("/admin/backup", get(backup::page))
        .route("/admin/identity", get(identity::page))
        .route("/admin/settings", get(settings::page).post(settings::save))
        .route("/admin/audit", get(audit::page))
        .route("/admin/{*rest}", get(error::not_found))
}
