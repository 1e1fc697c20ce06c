//! Wiring of the pages.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_auth::oauth::{Branding, OAuthClient, OAuthClientParts, Registration, ScopePlan};
use atcr_server::database::Database;
use atcr_sessions::oauth::account_sign_in::AccountSignIn;
use atcr_web::site::Site;
use axum::Router;
use url::Url;

use super::{StartError, Surroundings};
use crate::adapters::sqlite::SqliteAdmin;
use crate::admin::accounts::Accounts;
use crate::admin::audit::AuditLog;
use crate::admin::crew::CaptainsCrew;
use crate::admin::history::History;
use crate::admin::overview::{Overview, OverviewParts};
use crate::admin::rules::Rules;
use crate::admin::sessions::AdminSessions;
use crate::admin::sign_in::{CaptainSignIn, SignInsUnderWay};
use crate::backup::Backup;
use crate::edge;
use crate::edge::pages::PagesState;
use crate::manifests::Counts;
use crate::relays::Announcements;
use crate::routes::Front;
use crate::settings::HoldSettings;
use crate::state::AppState;

/// Where browsers come back to after a sign-in at their account's server.
const CALLBACK_PATH: &str = "/admin/auth/oauth/callback";
/// Inside the data folder: the key of the hold as an OAuth client.
const CLIENT_KEY_FILE: &str = "oauth.key";
/// All that is asked for: who it is.
const SCOPE: &str = "atproto";
/// How long an account's server may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The routes of the pages of the hold that `state` is of.
///
/// # Errors
/// A client key that cannot be read or made.
#[expect(
    clippy::too_many_arguments,
    reason = "every part of a hold has something to show"
)]
pub(super) fn router(
    settings: &HoldSettings,
    around: &Surroundings,
    state: &AppState,
    database: &Database,
    counts: &Counts,
    relays: &Announcements,
    backup: Option<&Backup>,
    front: &Front,
) -> Result<Router, StartError> {
    let overview = Overview::new(OverviewParts {
        repo: state.repo.clone(),
        readiness: state.readiness.clone(),
        backup: backup.cloned(),
        relays: relays.clone(),
        firehose: state.subscribers.firehose.clone(),
        scanning: state.scanning.clone(),
        clock: around.clock.clone(),
        shutdown: around.shutdown.clone(),
        free_disk_bytes: settings.free_disk_bytes,
    });
    let table = SqliteAdmin::new(database.clone());
    let state = pages_state(
        settings,
        around,
        state,
        table,
        counts.clone(),
        relays.clone(),
        overview,
    )?;
    Ok(edge::pages::router(state, front.anonymous.clone()))
}

fn pages_state(
    settings: &HoldSettings,
    around: &Surroundings,
    state: &AppState,
    table: SqliteAdmin,
    counts: Counts,
    relays: Announcements,
    overview: Overview,
) -> Result<PagesState, StartError> {
    let Surroundings {
        clock,
        resolver,
        shutdown,
        egress,
        ..
    } = around;
    let table = Arc::new(table);
    let registration = registration(settings)?;
    let accounts = Accounts::new(
        resolver.clone(),
        table.clone(),
        egress.clone(),
        clock.clone(),
        shutdown.clone(),
    );
    let history = History::new(table.clone(), state.repo.clone(), counts.clone(), clock.clone());
    history.start(shutdown);
    let audit = AuditLog::new(table.clone(), clock.clone());
    let client = OAuthClient::new(OAuthClientParts {
        registration: registration.clone(),
        egress: egress.clone(),
        identities: resolver.clone(),
        clock: clock.clone(),
        timeout: ANSWER_WITHIN,
    });
    let sign_in = CaptainSignIn::new(
        AccountSignIn {
            client: Arc::new(client),
            identities: resolver.clone(),
            requests: Arc::new(SignInsUnderWay::default()),
            clock: clock.clone(),
        },
        AdminSessions::new(table, clock.clone()),
        state.repo.clone(),
        shutdown.clone(),
    );
    Ok(PagesState {
        site: Arc::new(site(settings)),
        identity: state.identity.clone(),
        repo: state.repo.clone(),
        settings: Arc::new(settings.clone()),
        relays,
        overview,
        sign_in: Arc::new(sign_in),
        registration: Arc::new(registration),
        crew: CaptainsCrew::new(
            state.repo.clone(),
            state.administration.clone(),
            accounts.clone(),
            counts,
            audit.clone(),
        ),
        quotas: state.quotas.clone(),
        accounts,
        rules: Rules::new(state.repo.clone(), audit.clone(), settings),
        history,
        audit,
        scanning: state.scanning.clone(),
        clock: clock.clone(),
    })
}

/// The hold as authorization servers know it: a public client on loopback, else a confidential one with a key.
fn registration(settings: &HoldSettings) -> Result<Registration, StartError> {
    let base_url = &settings.public_url;
    let scopes = ScopePlan::only(SCOPE);
    if Registration::is_public(base_url) {
        let redirect = Registration::loopback_redirect(base_url.port(), CALLBACK_PATH);
        return Ok(Registration::public(redirect, scopes));
    }
    let path = settings.data_dir.join(CLIENT_KEY_FILE);
    let key = SigningKey::load_or_create(&path, Curve::P256).map_err(StartError::ClientKey)?;
    let branding = Branding {
        name: Some(settings.hostname()),
        ..Branding::default()
    };
    Registration::confidential(base_url, CALLBACK_PATH, key, branding, scopes)
        .map_err(StartError::Registration)
}

fn site(settings: &HoldSettings) -> Site {
    let base_url = settings.public_url.clone();
    Site {
        name: settings.hostname(),
        origin: origin(&base_url),
        base_url,
        terms_url: None,
        privacy_url: None,
        is_development: settings.test_mode,
        verify_flags: String::new(),
    }
}

/// On loopback, account servers send browsers back to 127.0.0.1, whatever the hold calls itself.
fn origin(base_url: &Url) -> Url {
    let mut origin = base_url.clone();
    if Registration::is_public(base_url) && origin.set_host(Some("127.0.0.1")).is_err() {
        return base_url.clone();
    }
    origin
}
