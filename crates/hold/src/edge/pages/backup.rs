//! `/admin/backup`: whether the records outlive the disk.

use askama::Template;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::PagesState;
use super::dashboard::in_words;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::overview::BackupStanding;
use crate::settings::BackupSettings;

#[derive(Template)]
#[template(path = "pages/backup.html")]
struct BackupPage {
    chrome: Chrome,
    frame: Frame,
    place: Option<String>,
    state: String,
    is_complete: bool,
    interval: String,
    newest: u64,
    revision: String,
    /// Whether the DID is one of a directory, which needs a rotation key.
    is_plc: bool,
}

/// `GET /admin/backup`.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = async {
        let frame = Frame::new(&visit, "/admin/backup")?;
        let standing = state.overview.backup();
        let commit = state.repo.latest_commit();
        let page = BackupPage {
            chrome: visit.chrome(),
            frame,
            place: match &state.settings.backup {
                BackupSettings::Off | BackupSettings::NoPlace => None,
                BackupSettings::Folder { path } => Some(format!("the folder {}", path.display())),
                BackupSettings::S3 { options, prefix } => {
                    Some(format!("the bucket {}, below {prefix}", options.bucket))
                }
            },
            state: in_words(standing),
            is_complete: standing == BackupStanding::Complete,
            interval: state.settings.backup_interval.to_string(),
            newest: *state.repo.watch_seq().borrow(),
            revision: commit.rev.to_string(),
            is_plc: state.identity.did().as_str().starts_with("did:plc:"),
        };
        Ok(render(StatusCode::OK, &page))
    };
    visit.answer(outcome.await)
}
