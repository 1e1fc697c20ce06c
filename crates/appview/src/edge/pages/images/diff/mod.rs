//! `/-/diff?from=…&to=…`: what changes between two tags or digests, of one repository or two.

mod scan_diff;
mod tables;
mod targets;

use std::sync::Arc;

use askama::Template;
use atcr_index::page::PageRequest;
use atcr_index::view::TagFilter;
use atcr_oci::Manifest;
use atcr_web::figures::{self, Bytes};
use atcr_web::navigation::{Choice, address};
use atcr_web::view::{Chrome, render};
use axum::response::Response;
use http::StatusCode;

use self::scan_diff::Named;
pub use self::scan_diff::page as scans;
use self::tables::{LayerView, ValueTable, layer_view, summary, table, unchanged};
use self::targets::{Side, Target, config, image, other_repository, read, reference, rows, side};
use super::config_view::command_line;
use super::image::is_image;
use super::views::PlatformRow;
use super::{Head, RepositoryVisit, StarForm};
use crate::browse::BrowseError;
use crate::browse::address::{RepositoryPage, repository_path};
use crate::browse::config::ImageConfig;
use crate::browse::diff;
use crate::edge::dialect::page::{PageError, sentence};

/// Tags that are offered while one is typed.
const OFFERED: u32 = 100;

/// What was compared.
struct Comparison {
    from: Side,
    to: Side,
    summary: String,
    platforms: Vec<Choice>,
    /// Why configurations are not compared.
    unread: Option<String>,
    /// Those with differences.
    tables: Vec<ValueTable>,
    /// `Environment, labels`: the names of the others.
    unchanged: String,
    layers: Vec<LayerView>,
    /// Where packages and vulnerabilities are compared, of two images.
    scans: Option<String>,
    swap: String,
}

#[derive(Template)]
#[template(path = "pages/images/diff.html")]
struct DiffPage {
    chrome: Chrome,
    head: Head,
    from: String,
    to: String,
    other: String,
    tags: Vec<String>,
    error: Option<String>,
    comparison: Option<Comparison>,
}

/// The page.
pub(super) async fn show(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let query = page.visit.query();
    let field = |name: &str| -> String {
        let text = query.get(name).unwrap_or_default().trim();
        text.chars().take(400).collect()
    };
    let (from, to, other) = (field("from"), field("to"), field("other"));
    let filter = TagFilter::default();
    let tags = page
        .browse
        .index
        .tags(page.id(), &filter, &PageRequest::top(OFFERED))
        .await
        .map_err(BrowseError::from)?;
    let mut shown = DiffPage {
        head: page.head(&RepositoryPage::Diff),
        tags: tags.items.into_iter().map(|tag| tag.name).collect(),
        error: None,
        comparison: None,
        chrome: page.visit.chrome(),
        from,
        to,
        other,
    };
    let mut status = StatusCode::OK;
    if !shown.from.is_empty() && !shown.to.is_empty() {
        match compare(page, &shown.from, &shown.to, &shown.other).await {
            Ok(comparison) => shown.comparison = Some(comparison),
            Err(PageError::Browse(
                error @ (BrowseError::NoImage { .. }
                | BrowseError::NoRepository { .. }
                | BrowseError::NoAccount { .. }
                | BrowseError::Hidden { .. }),
            )) => {
                status = StatusCode::NOT_FOUND;
                shown.error = Some(match error {
                    BrowseError::NoImage { .. } => format!("{error}."),
                    error => sentence(&error.to_string()),
                });
            }
            Err(PageError::Refused(text)) => {
                status = StatusCode::UNPROCESSABLE_ENTITY;
                shown.error = Some(text.to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(render(status, &shown))
}

async fn compare(
    page: &RepositoryVisit<'_>,
    from: &str,
    to: &str,
    other: &str,
) -> Result<Comparison, PageError> {
    let (from_text, to_text) = (from, to);
    let (from, to) = (reference(from)?, reference(to)?);
    let elsewhere = match other {
        "" => None,
        name => Some(other_repository(page, name).await?),
    };
    let from = Target {
        owner: &page.owner,
        repository: &page.repository,
        reference: from,
    };
    let to = match &elsewhere {
        Some((owner, repository)) => Target {
            owner,
            repository,
            reference: to,
        },
        None => Target {
            owner: &page.owner,
            repository: &page.repository,
            reference: to,
        },
    };
    let (from_read, to_read) = (read(page, &from).await?, read(page, &to).await?);
    // Of indexes, the images for one platform that both have.
    let (from_rows, to_rows) = (rows(&from_read), rows(&to_read));
    let common: Vec<&PlatformRow> = from_rows
        .iter()
        .filter(|row| to_rows.iter().any(|other| other.name == row.name))
        .collect();
    let asked = page.visit.query().get("platform").unwrap_or_default();
    let platform = common
        .iter()
        .find(|row| row.name == asked)
        .or_else(|| common.first())
        .map(|row| row.name.clone());
    if platform.is_none() && !from_rows.is_empty() && !to_rows.is_empty() {
        return Err(PageError::Refused("The two images have no platform in common."));
    }
    let (from_digest, from_image) = image(page, &from, &from_read, &from_rows, platform.as_deref()).await?;
    let (to_digest, to_image) = image(page, &to, &to_read, &to_rows, platform.as_deref()).await?;
    let (from_config, to_config) = (
        config(page, &from, &from_image).await,
        config(page, &to, &to_image).await,
    );
    let (configs, unread) = match (from_config, to_config) {
        (Ok(from), Ok(to)) => (from.zip(to), None),
        (Err(why), _) | (_, Err(why)) => (None, Some(why)),
    };
    let layers = {
        let commands = |config: Option<&Arc<ImageConfig>>, manifest: &Manifest| -> Vec<Option<String>> {
            let count = manifest.layers().len();
            let Some(config) = config else {
                return vec![None; count];
            };
            let commands = config.commands(count).into_iter();
            commands.map(|command| command.map(str::to_owned)).collect()
        };
        let from_commands = commands(configs.as_ref().map(|configs| &configs.0), &from_image);
        let to_commands = commands(configs.as_ref().map(|configs| &configs.1), &to_image);
        let from_commands: Vec<Option<&str>> = from_commands.iter().map(Option::as_deref).collect();
        let to_commands: Vec<Option<&str>> = to_commands.iter().map(Option::as_deref).collect();
        diff::layers(
            (from_image.layers(), &from_commands),
            (to_image.layers(), &to_commands),
        )
    };
    let scans = (is_image(&from_image) && is_image(&to_image)).then(|| {
        let named = |target: &Target<'_>| (target.owner.name(), target.repository.card.name.clone());
        let ((from_owner, from_name), (to_owner, to_name)) = (named(&from), named(&to));
        let from = Named {
            owner: &from_owner,
            repository: &from_name,
            digest: &from_digest,
        };
        let to = Named {
            owner: &to_owner,
            repository: &to_name,
            digest: &to_digest,
        };
        scan_diff::path(&from, &to)
    });
    let mut tables = Vec::new();
    if let Some((from, to)) = &configs {
        tables.push(table("Configuration", diff::settings(from, to, command_line)));
        tables.push(table("Environment", diff::environment(from, to)));
        tables.push(table("Labels", diff::values(&from.labels, &to.labels)));
    }
    tables.push(table(
        "Annotations",
        diff::values(from_read.manifest.annotations(), to_read.manifest.annotations()),
    ));
    let size = |manifest: &Manifest| {
        let blobs = manifest.blobs();
        Bytes(blobs.fold(0_u64, |sum, blob| sum.saturating_add(blob.size)))
    };
    let from_side = side(page, &from, &from_read, size(&from_image));
    let to_side = side(page, &to, &to_read, size(&to_image));
    let path = format!("{}/-/diff", page.path);
    let choices = common.iter().map(|row| Choice {
        href: address(
            &path,
            &[
                ("from", from_text),
                ("to", to_text),
                ("other", other),
                ("platform", &row.name),
            ],
        ),
        name: row.name.clone(),
        count: None,
        is_current: platform.as_ref() == Some(&row.name),
    });
    let platforms = if common.len() > 1 {
        choices.collect()
    } else {
        Vec::new()
    };
    let platform = platform.unwrap_or_default();
    let swap = match &elsewhere {
        None => address(
            &path,
            &[("from", to_text), ("to", from_text), ("platform", &platform)],
        ),
        Some((owner, repository)) => {
            let back = format!("{}/{}", page.owner.name(), page.repository.card.name);
            let path = repository_path(&owner.name(), &repository.card.name);
            address(
                &format!("{path}/-/diff"),
                &[
                    ("from", to_text),
                    ("to", from_text),
                    ("other", &back),
                    ("platform", &platform),
                ],
            )
        }
    };
    Ok(Comparison {
        summary: summary(
            &from_side,
            &to_side,
            &layers,
            &tables,
            from_read.digest == to_read.digest,
        ),
        from: from_side,
        to: to_side,
        platforms,
        unread,
        unchanged: unchanged(&tables),
        tables: tables
            .into_iter()
            .filter(|table| !table.rows.is_empty())
            .collect(),
        layers: layers.into_iter().map(layer_view).collect(),
        scans,
        swap,
    })
}
