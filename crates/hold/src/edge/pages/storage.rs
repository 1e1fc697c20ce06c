//! `/admin/storage`: who and what takes the room.

use askama::Template;
use atcr_web::drawings::Bar;
use atcr_web::figures::{Bytes, Count};
use atcr_web::moment::Moment;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::PagesState;
use super::crew;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::AdminError;
use crate::admin::overview::LARGEST;
use crate::settings::StorageSettings;

#[derive(Template)]
#[template(path = "pages/storage.html")]
struct StoragePage {
    chrome: Chrome,
    frame: Frame,
    place: String,
    totals: Option<TotalsView>,
    accounts: Vec<AccountView>,
    layers: Vec<LayerView>,
}

struct TotalsView {
    blobs: Count,
    bytes: Bytes,
    at: Moment,
}

struct AccountView {
    did: String,
    handle: Option<String>,
    member: Option<String>,
    blobs: Count,
    bytes: Bytes,
    bar: Bar,
}

struct LayerView {
    digest: String,
    short: String,
    bytes: Bytes,
    records: Count,
}

/// `GET /admin/storage`.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, "/admin/storage")?;
    let largest = state.overview.largest_accounts(LARGEST).await?;
    let dids: Vec<String> = largest.iter().map(|usage| usage.account.clone()).collect();
    let names = state.accounts.handles(&dids).await?;
    let most = largest.first().map_or(0, |first| first.usage.total_bytes);
    let mut accounts = Vec::with_capacity(largest.len());
    for account in largest {
        let member = match account.account.parse() {
            Ok(did) => match state.crew.member(&did).await {
                Ok(member) => Some(crew::member_href(&member.rkey)),
                Err(AdminError::NoMember) => None,
                Err(error) => return Err(error.into()),
            },
            Err(_) => None,
        };
        accounts.push(AccountView {
            handle: names.get(&account.account).cloned(),
            did: account.account,
            member,
            blobs: Count(account.usage.unique_blobs),
            bytes: Bytes(account.usage.total_bytes),
            bar: Bar {
                part: account.usage.total_bytes,
                whole: most,
            },
        });
    }
    let count = state.overview.layer_count().await?;
    let layers = count.as_ref().map_or_else(Vec::new, |count| {
        let layers = count.totals.largest.iter();
        layers
            .map(|layer| LayerView {
                short: short(&layer.digest),
                digest: layer.digest.clone(),
                bytes: Bytes(layer.bytes),
                records: Count(layer.records),
            })
            .collect()
    });
    let page = StoragePage {
        chrome: visit.chrome(),
        frame,
        place: match &state.settings.storage {
            StorageSettings::Filesystem { path } => format!("the folder {}", path.display()),
            StorageSettings::S3(s3) => format!("the bucket {}", s3.bucket),
        },
        totals: count.map(|count| TotalsView {
            blobs: Count(count.totals.blobs),
            bytes: Bytes(count.totals.bytes),
            at: Moment::new(count.at, state.clock.now()),
        }),
        accounts,
        layers,
    };
    Ok(render(StatusCode::OK, &page))
}

/// The digest's first twelve digits.
fn short(digest: &str) -> String {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.chars().take(12).collect()
}
