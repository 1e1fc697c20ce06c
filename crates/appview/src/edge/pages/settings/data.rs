//! `/settings/data`: everything that is known of an account, to take along or to delete.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use askama::Template;
use atcr_atproto::syntax::Did;
use atcr_web::cookies::Cookie;
use atcr_web::figures::Count;
use atcr_web::form::Form;
use atcr_web::navigation::Tab;
use atcr_web::view::{Chrome, render};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{account_of, sections};
use crate::browse::BrowseError;
use crate::edge::dialect::page::{PageError, rendering, sentence};
use crate::edge::pages::images::HoldName;
use crate::edge::pages::visit::{SignedIn, Visit};
use crate::manage::{Export, HoldsOfAccount};
use crate::state::AppState;

/// How long a browser may take for an export; then it is cut off, and not taken for the whole.
const LONGEST: Duration = Duration::from_mins(5);

/// Bytes handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "pages/settings/data.html")]
struct DataPage {
    chrome: Chrome,
    sections: Vec<Tab>,
    csrf_token: String,
    did: String,
    devices: usize,
    holds: Vec<HoldName>,
    /// Holds that name the account and are not asked.
    more_holds: Count,
    repositories: u64,
    has_forgotten_box: bool,
}

#[derive(Template)]
#[template(path = "pages/settings/deleted.html")]
struct DeletedPage {
    chrome: Chrome,
    /// How many records went, and whether that is all of them, or why not; `None` when they were to stay.
    records: Option<Result<(usize, bool), String>>,
    /// What each hold that was asked said.
    holds: Vec<(String, Result<(), String>)>,
}

/// `GET /settings/data`.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = show(&visit, &state, StatusCode::OK).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState, status: StatusCode) -> Result<Response, PageError> {
    let signed_in = visit.signed_in()?;
    let did = &signed_in.session.did;
    let index = &state.browse.index;
    let account = index.account(did).await.map_err(BrowseError::from)?;
    let of_account = of_account(state, did).await?;
    Ok(render(
        status,
        &DataPage {
            sections: sections("/settings/data"),
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            did: did.to_string(),
            devices: state.devices.list(did).await?.len(),
            more_holds: Count(of_account.more as u64),
            holds: names(state, of_account).await?,
            repositories: account.map_or(0, |account| account.repositories),
            has_forgotten_box: status != StatusCode::OK,
            chrome: visit.chrome(),
        },
    ))
}

async fn of_account(state: &AppState, did: &Did) -> Result<HoldsOfAccount, PageError> {
    let found = state.manage.holds_of_account(did).await;
    Ok(found.map_err(BrowseError::from)?)
}

async fn names(state: &AppState, of_account: HoldsOfAccount) -> Result<Vec<HoldName>, PageError> {
    let mut names = Vec::new();
    for hold in of_account.holds {
        let view = state.browse.index.hold(&hold).await.map_err(BrowseError::from)?;
        names.push(HoldName::of(&hold, view.as_ref()));
    }
    Ok(names)
}

/// `POST /settings/data/export`: a file with all that this registry and the account's holds know.
pub async fn export(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = exported(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn exported(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    let did = &signed_in.session.did;
    let own = of_registry(state, signed_in).await?;
    let of_account = of_account(state, did).await?;
    let export = state.manage.export(did, of_account.holds).await;
    let export = export.map_err(PageError::Change)?;
    let body = json!({
        "exportedAt": text(state.clock.now()),
        "account": { "did": did.as_str(), "handle": signed_in.session.handle },
        "registry": own,
        "holdsNotAsked": of_account.more,
        "records": {
            "note": "Tags, manifests, texts, stars and settings are public records in the account itself. Its server exports them as a whole.",
            "repository": format!("at://{did}"),
        },
    });
    let mut response = Response::new(file(&body, export));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"registry-export.json\""),
    );
    Ok(response)
}

/// What this registry keeps of the account.
async fn of_registry(state: &AppState, signed_in: &SignedIn) -> Result<Value, PageError> {
    let session = &signed_in.session;
    let devices = state.devices.list(&session.did).await?;
    let devices = devices.iter().map(|device| {
        json!({
            "id": device.id, "name": device.name.as_str(), "address": device.address,
            "createdAt": text(device.created_at), "lastUsedAt": device.last_used_at.map(text),
            "lastAddress": device.last_address,
        })
    });
    let deletions = state.manage.deletions(&session.did, None).await;
    let deletions = deletions.map_err(PageError::Change)?;
    let deletions = deletions.iter().map(|deletion| {
        json!({
            "repository": deletion.repository, "tags": deletion.tags, "manifests": deletion.manifests, "finished": deletion.is_finished,
            "deletedAt": text(deletion.deleted_at), "keptUntil": text(deletion.expires_at),
        })
    });
    Ok(json!({
        "browser": { "signedInAt": text(session.created_at), "until": text(session.expires_at) },
        "devices": devices.collect::<Vec<_>>(),
        "deletionsThatCanBeUndone": deletions.collect::<Vec<_>>(),
    }))
}

/// `body` with the answers of holds as its last field, which are sent as they came and let go of one by one.
fn file(body: &Value, export: Export) -> Body {
    let mut head = body.to_string();
    head.pop();
    head.push_str(",\"holds\":[");
    let mut pieces = VecDeque::from([Bytes::from(head)]);
    for (number, answer) in export.answers.into_iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let did = answer.did.as_str();
        match answer.outcome {
            Ok(data) => {
                let start = json!({ "did": did, "answered": true }).to_string();
                let start = start.trim_end_matches('}');
                pieces.push_back(format!("{comma}{start},\"data\":").into());
                pieces.push_back(data);
                pieces.push_back(Bytes::from_static(b"}"));
            }
            Err(reason) => {
                let whole = json!({ "did": did, "answered": false, "reason": reason });
                pieces.push_back(format!("{comma}{whole}").into());
            }
        }
    }
    pieces.push_back(Bytes::from_static(b"]}\n"));
    let until = Instant::now() + LONGEST;
    let pieces = stream::unfold((pieces, export.room), move |(mut pieces, room)| async move {
        let next = match pieces.pop_front()? {
            _ if Instant::now() >= until => {
                pieces.clear();
                Err(io::Error::from(io::ErrorKind::TimedOut))
            }
            mut piece => {
                let rest = piece.split_off(piece.len().min(PIECE_BYTES));
                if !rest.is_empty() {
                    pieces.push_front(rest);
                }
                Ok(piece)
            }
        };
        Some((next, (pieces, room)))
    });
    Body::from_stream(pieces)
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `POST /settings/data/delete` with `understood=true`, `hold` for each hold to be asked, and `records=true` to delete the records in the
/// account too.
pub async fn delete(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = deleted(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn deleted(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    if form.get("understood") != Some("true") {
        return show(visit, state, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let did = &signed_in.session.did;
    // Before anything is erased: an account that cannot be looked up now is not deleted by halves.
    let account = match form.get("records") {
        Some("true") => Some(account_of(visit, state).await?),
        _ => None,
    };
    // Only holds of the account are asked, whatever the form says.
    let asked: Vec<&str> = form.all("hold").collect();
    let of_account = of_account(state, did).await?;
    let holds = of_account
        .holds
        .into_iter()
        .filter(|hold| asked.contains(&hold.as_str()));
    let answers = state.manage.erase(did, holds.collect()).await;
    let records = if let Some(account) = account {
        let deleted = state.manage.delete_records(&account.identity).await;
        Some(deleted.map_err(|error| {
            tracing::warn!(%did, error = &error as &dyn std::error::Error, "records were not all deleted");
            rendering(&PageError::Change(error)).text
        }))
    } else {
        None
    };
    let forgotten = state.manage.forget_deletions(did).await;
    forgotten.map_err(PageError::Change)?;
    state.sign_out.everything(did).await?;
    tracing::info!(%did, "an account was deleted here");
    let chrome = Chrome {
        visitor: None,
        ..visit.chrome()
    };
    let holds = answers.into_iter().map(|answer| {
        let outcome = answer.outcome.map_err(|reason| sentence(&reason));
        (HoldName::of(&answer.did, None).name, outcome)
    });
    let mut response = render(
        StatusCode::OK,
        &DeletedPage {
            chrome,
            records,
            holds: holds.collect(),
        },
    );
    Cookie::Session.clear(&visit.site, response.headers_mut());
    Ok(response)
}
