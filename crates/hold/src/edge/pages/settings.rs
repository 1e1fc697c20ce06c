//! `/admin/settings`: what the configuration says. It is shown with its keys; it is changed in the file, since the file is read at every
//! start. What the file leaves open is changed here.

use askama::Template;
use atcr_web::form::Form;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::PagesState;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::admin::AdminError;
use crate::admin::rules::Wanted;
use crate::settings::{BackupSettings, HoldSettings, StorageSettings};

#[derive(Template)]
#[template(path = "pages/settings.html")]
struct SettingsPage {
    chrome: Chrome,
    frame: Frame,
    groups: Vec<Group>,
    region: Option<String>,
    successor: Option<String>,
    /// The questions that the file leaves open: the field, the question, and the answer of now.
    questions: Vec<(&'static str, &'static str, bool)>,
    /// Of the record that is shown.
    version: String,
    error: Option<String>,
}

/// Settings that belong together.
struct Group {
    name: &'static str,
    rows: Vec<Row>,
}

/// A setting.
struct Row {
    name: &'static str,
    value: String,
    /// Where it is changed.
    key: &'static str,
    by: By,
}

/// What decides about a setting.
enum By {
    File,
    /// The record, since the file leaves it open.
    Record,
    /// The record, whatever the file says: it is for the first start.
    FirstStart,
}

/// `GET /admin/settings`.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show(&visit, &state, None).await;
    visit.answer(outcome)
}

/// `POST /admin/settings`: what the file leaves open.
pub(super) async fn save(visit: Visit, State(state): State<PagesState>, form: Form) -> Response {
    let outcome = async {
        let captain = &visit.submitted(&form)?.captain;
        let text = |name| form.get(name).unwrap_or_default();
        let answer = |name| match form.get(name) {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        };
        let wanted = Wanted {
            region: text("region"),
            successor: text("successor"),
            public: answer("public"),
            joining: answer("joining"),
            posts: answer("posts"),
            seen: form.get("version"),
        };
        match state.rules.set(captain, wanted).await {
            Ok(is_different) => {
                let done = if is_different { "saved" } else { "same" };
                Ok(Redirect::to(&address("/admin/settings", &[("done", done)])).into_response())
            }
            Err(AdminError::Refused(why)) => show(&visit, &state, Some((why, &form))).await,
            Err(error) => Err(error.into()),
        }
    };
    visit.answer(outcome.await)
}

/// The page, or what was `refused` of it, and why: what was chosen and typed still stands in the form, unless
/// the record is another one by now.
async fn show(
    visit: &Visit,
    state: &PagesState,
    refused: Option<(String, &Form)>,
) -> Result<Response, PageError> {
    let frame = Frame::new(visit, "/admin/settings")?;
    let settings = &*state.settings;
    // First: if the record changes in between, the form is refused, and not what was changed.
    let version = state.rules.version().await?;
    let captain = state.repo.captain().await?;
    let recorded = |name, key, value: Option<String>, is_open| Row {
        name,
        value: value.unwrap_or_else(|| "none".to_owned()),
        key,
        by: if is_open { By::Record } else { By::File },
    };
    let captain = captain.as_ref();
    let people = vec![
        recorded(
            "Everyone can pull",
            "server.public",
            captain.map(|captain| yes(captain.public)),
            state.rules.public_is_open(),
        ),
        recorded(
            "Every account can join",
            "registration.allow_all_crew",
            captain.map(|captain| yes(captain.allow_all_crew)),
            state.rules.joining_is_open(),
        ),
        recorded(
            "The hold posts about pushes",
            "registration.enable_bluesky_posts",
            captain.map(|captain| yes(captain.enable_bluesky_posts)),
            state.rules.posts_is_open(),
        ),
        Row {
            by: By::FirstStart,
            ..recorded(
                "Captain",
                "registration.owner_did",
                captain.map(|captain| captain.owner.to_string()),
                false,
            )
        },
        recorded(
            "Region",
            "registration.region",
            captain.and_then(|captain| captain.region.clone()),
            state.rules.region_is_open(),
        ),
        recorded(
            "Successor",
            "server.successor",
            captain.and_then(|captain| captain.successor.as_ref().map(ToString::to_string)),
            state.rules.successor_is_open(),
        ),
    ];
    let status = if refused.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let (error, form) = refused.unzip();
    let form = form.filter(|form| {
        form.get("version")
            .is_none_or(|seen| Some(seen) == version.as_deref())
    });
    let typed = |name| form.and_then(|form| form.get(name)).map(str::to_owned);
    let recorded_region = captain.and_then(|captain| captain.region.clone());
    let recorded_successor = captain.and_then(|captain| captain.successor.as_ref().map(ToString::to_string));
    let region = typed("region").or(recorded_region);
    let successor = typed("successor").or(recorded_successor);
    let questions = [
        (
            "public",
            "Can everyone pull, without signing in?",
            state.rules.public_is_open(),
            captain.is_some_and(|captain| captain.public),
        ),
        (
            "joining",
            "Can every account join, and push?",
            state.rules.joining_is_open(),
            captain.is_some_and(|captain| captain.allow_all_crew),
        ),
        (
            "posts",
            "Does this hold post about pushes with a tag?",
            state.rules.posts_is_open(),
            captain.is_some_and(|captain| captain.enable_bluesky_posts),
        ),
    ];
    let questions = questions
        .into_iter()
        .filter(|(_, _, is_open, _)| *is_open)
        .map(|(name, question, _, is_so)| {
            let is_chosen = typed(name).map_or(is_so, |chosen| chosen == "yes");
            (name, question, is_chosen)
        })
        .collect();
    let page = SettingsPage {
        chrome: visit.chrome(),
        frame,
        error,
        version: version.unwrap_or_default(),
        questions,
        region: state.rules.region_is_open().then(|| region.unwrap_or_default()),
        successor: state
            .rules
            .successor_is_open()
            .then(|| successor.unwrap_or_default()),
        groups: vec![
            Group {
                name: "People",
                rows: people,
            },
            Group {
                name: "Server",
                rows: server(settings),
            },
            Group {
                name: "Storage",
                rows: storage(settings),
            },
        ],
    };
    Ok(render(status, &page))
}

fn fixed(name: &'static str, key: &'static str, value: String) -> Row {
    Row {
        name,
        value,
        key,
        by: By::File,
    }
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn server(settings: &HoldSettings) -> Vec<Row> {
    let relays: Vec<String> = settings.relays.iter().map(ToString::to_string).collect();
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let appview = settings.trusted_appview.as_ref();
    vec![
        fixed("Public URL", "server.public_url", settings.public_url.to_string()),
        fixed(
            "AppView that is trusted",
            "server.appview_did",
            or_none(appview.map(ToString::to_string).unwrap_or_default()),
        ),
        fixed("Relays", "server.relay_endpoint", or_none(relays.join(", "))),
        fixed(
            "Trusted proxies",
            "server.trusted_proxies",
            or_none(if settings.trusted_proxies.is_empty() {
                String::new()
            } else {
                settings.trusted_proxies.len().to_string()
            }),
        ),
        fixed("Development", "server.test_mode", yes(settings.test_mode)),
        fixed(
            "Scanners can connect",
            "scanner.secret",
            yes(!settings.scanning.secret.is_empty()),
        ),
    ]
}

fn storage(settings: &HoldSettings) -> Vec<Row> {
    let place = match &settings.storage {
        StorageSettings::Filesystem { path } => fixed("Layers", "storage.path", path.display().to_string()),
        StorageSettings::S3(s3) => fixed("Layers", "storage.bucket", s3.bucket.clone()),
    };
    let backup = match &settings.backup {
        BackupSettings::Off | BackupSettings::NoPlace => fixed("Backup", "backup.path", "none".to_owned()),
        BackupSettings::Folder { path } => fixed("Backup", "backup.path", path.display().to_string()),
        BackupSettings::S3 { options, .. } => fixed("Backup", "backup.bucket", options.bucket.clone()),
    };
    vec![
        place,
        fixed("Data", "database.path", settings.data_dir.display().to_string()),
        backup,
        fixed(
            "Unfinished uploads are kept",
            "storage.upload_expiry",
            format!("{} hours", settings.upload_expiry.num_hours()),
        ),
    ]
}
