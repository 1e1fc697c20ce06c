//! `/-/diff?from=…&to=…`: what changes between two tags or digests, of one repository or two.

use std::sync::Arc;

use askama::Template;
use atcr_atproto::syntax::AtIdentifier;
use atcr_index::page::PageRequest;
use atcr_index::view::{ManifestView, RepositoryView, TagFilter};
use atcr_oci::{Digest, Manifest, Reference};
use atcr_web::figures::{self, Bytes, Count};
use atcr_web::navigation::{Choice, address};
use atcr_web::view::{Chrome, render};
use axum::response::Response;
use http::StatusCode;

use super::config_view::command_line;
use super::image::{is_image, why};
use super::views::{PlatformRow, platform_rows};
use super::{Head, RepositoryVisit, StarForm, visitor};
use crate::browse::address::{RepositoryPage, image_path, repository_path};
use crate::browse::config::ImageConfig;
use crate::browse::diff::{self, Fate, LayerRow, ValueRow};
use crate::browse::{BrowseError, Owner};
use crate::edge::dialect::page::{PageError, sentence};

/// Tags that are offered while one is typed.
const OFFERED: u32 = 100;

/// One of the two images.
struct Side {
    /// `app:1.4`, with the owner where it is another repository.
    name: String,
    href: String,
    digest: String,
    size: Bytes,
}

/// A table of values.
struct ValueTable {
    name: &'static str,
    rows: Vec<ValueView>,
    same: Vec<ValueView>,
}

struct ValueView {
    row: ValueRow,
    mark: Mark,
}

/// A fate in a sign and a word.
#[derive(Clone, Copy)]
struct Mark {
    sign: &'static str,
    word: &'static str,
    class: &'static str,
}

impl Mark {
    fn of(fate: Fate) -> Self {
        let (sign, word, class) = match fate {
            Fate::Same => ("=", "same", "same"),
            Fate::Changed => ("~", "changed", "changed"),
            Fate::Added => ("+", "added", "added"),
            Fate::Removed => ("−", "removed", "removed"),
        };
        Self { sign, word, class }
    }
}

struct LayerView {
    mark: Mark,
    size: Bytes,
    short: String,
    whole: String,
    command: Option<String>,
}

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

/// A tag or digest that is typed, in a repository.
struct Target<'a> {
    owner: &'a Owner,
    repository: &'a RepositoryView,
    reference: Reference,
}

/// An image of a target, read.
struct Read {
    digest: Digest,
    view: ManifestView,
    manifest: Manifest,
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

fn reference(text: &str) -> Result<Reference, PageError> {
    text.parse::<Digest>()
        .map(Reference::Digest)
        .ok()
        .or_else(|| text.parse().map(Reference::Tag).ok())
        .ok_or(PageError::Refused(
            "Name a tag, or a whole digest (sha256:…), on both sides.",
        ))
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
    let from_image = image(page, &from, &from_read, &from_rows, platform.as_deref()).await?;
    let to_image = image(page, &to, &to_read, &to_rows, platform.as_deref()).await?;
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
        swap,
    })
}

/// The names of the tables in which nothing differs, as the beginning of a sentence.
fn unchanged(tables: &[ValueTable]) -> String {
    let names: Vec<String> = tables
        .iter()
        .filter(|table| table.rows.is_empty())
        .enumerate()
        .map(|(number, table)| match number {
            0 => table.name.to_owned(),
            _ => table.name.to_lowercase(),
        })
        .collect();
    names.join(", ")
}

/// `OWNER/app`, as typed.
async fn other_repository(
    page: &RepositoryVisit<'_>,
    name: &str,
) -> Result<(Owner, RepositoryView), PageError> {
    let malformed = PageError::Refused("Name the other repository as OWNER/NAME.");
    let name = name.trim_start_matches(&format!("{}/", page.visit.site.host()));
    let Some((identity, repository)) = name.split_once('/') else {
        return Err(malformed);
    };
    let identifier: AtIdentifier = identity.parse().map_err(|_| malformed)?;
    let owner = page.browse.owner(&identifier).await?;
    let repository = page.browse.repository(&owner, repository).await?;
    Ok((owner, repository))
}

async fn read(page: &RepositoryVisit<'_>, target: &Target<'_>) -> Result<Read, PageError> {
    let index = &page.browse.index;
    let (id, name) = (target.repository.card.id, &target.repository.card.name);
    let missing = || BrowseError::NoImage {
        owner: target.owner.name(),
        repository: name.clone(),
        reference: target.reference.to_string(),
    };
    let digest = match &target.reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(tag) => index
            .tag(id, tag.as_str())
            .await
            .map_err(BrowseError::from)?
            .and_then(|tag| tag.digest)
            .ok_or_else(missing)?,
    };
    let view = index.manifest(id, &digest).await.map_err(BrowseError::from)?;
    let read = page
        .browse
        .manifest(visitor(page.visit), target.owner, name, &digest)
        .await?;
    Ok(Read {
        digest,
        view: view.ok_or_else(missing)?,
        manifest: read.manifest,
    })
}

fn rows(read: &Read) -> Vec<PlatformRow> {
    platform_rows("", &read.view.summary.children)
}

/// The image itself, or that of an index for `platform`.
async fn image(
    page: &RepositoryVisit<'_>,
    target: &Target<'_>,
    read: &Read,
    rows: &[PlatformRow],
    platform: Option<&str>,
) -> Result<Manifest, PageError> {
    let row = rows
        .iter()
        .find(|row| Some(row.name.as_str()) == platform)
        .or_else(|| rows.first());
    let Some(digest) = row.and_then(|row| row.digest.whole.parse::<Digest>().ok()) else {
        return Ok(read.manifest.clone());
    };
    let name = &target.repository.card.name;
    let child = page
        .browse
        .manifest(visitor(page.visit), target.owner, name, &digest)
        .await?;
    Ok(child.manifest)
}

/// The configuration; `None` of what is no image, or why it cannot be had.
async fn config(
    page: &RepositoryVisit<'_>,
    target: &Target<'_>,
    manifest: &Manifest,
) -> Result<Option<Arc<ImageConfig>>, String> {
    let Some(descriptor) = manifest.config().filter(|_| is_image(manifest)) else {
        return Ok(None);
    };
    let name = &target.repository.card.name;
    let read = page
        .browse
        .config(visitor(page.visit), target.owner, name, &descriptor.digest)
        .await;
    match read {
        Ok(config) => Ok(Some(config).filter(|config| !config.is_unreadable)),
        Err(error) => Err(why(&error)),
    }
}

fn side(page: &RepositoryVisit<'_>, target: &Target<'_>, read: &Read, size: Bytes) -> Side {
    let path = repository_path(&target.owner.name(), &target.repository.card.name);
    let owner = if target.repository.card.id == page.id() {
        String::new()
    } else {
        format!("{}/", target.owner.name())
    };
    let name = &target.repository.card.name;
    let short: String = read.digest.hex().chars().take(12).collect();
    Side {
        name: match &target.reference {
            Reference::Tag(tag) => format!("{owner}{name}:{tag}"),
            Reference::Digest(_) => format!("{owner}{name}@{short}"),
        },
        href: image_path(&path, &target.reference),
        digest: read.digest.to_string(),
        size,
    }
}

fn table(name: &'static str, rows: Vec<ValueRow>) -> ValueTable {
    let views = rows.into_iter().map(|row| ValueView {
        mark: Mark::of(row.fate()),
        row,
    });
    let (same, rows) = views.partition(|view| view.row.fate() == Fate::Same);
    ValueTable { name, rows, same }
}

fn layer_view(layer: LayerRow) -> LayerView {
    LayerView {
        mark: Mark::of(layer.fate),
        size: Bytes(layer.size),
        short: layer.digest.hex().chars().take(12).collect(),
        whole: layer.digest.to_string(),
        command: layer.command,
    }
}

/// `33.0 MB to 33.1 MB, 7 of 9 layers shared, 2 settings changed.`
fn summary(from: &Side, to: &Side, layers: &[LayerRow], tables: &[ValueTable], is_same: bool) -> String {
    if is_same {
        return "Both are the same image.".to_owned();
    }
    let size = if from.size == to.size {
        format!("Same size ({})", to.size)
    } else {
        format!("{} to {}", from.size, to.size)
    };
    let mut parts = vec![size];
    let of_second = layers.iter().filter(|layer| layer.fate != Fate::Removed).count();
    let shared = layers.iter().filter(|layer| layer.fate == Fate::Same).count();
    if of_second > 0 {
        parts.push(format!("{shared} of {} layers shared", Count(of_second as u64)));
    }
    let words = [
        ("Configuration", "setting", "settings"),
        ("Environment", "variable", "variables"),
        ("Labels", "label", "labels"),
        ("Annotations", "annotation", "annotations"),
    ];
    for (name, one, many) in words {
        let found = tables.iter().find(|table| table.name == name);
        let changed = found.map_or(0, |table| table.rows.len());
        if changed > 0 {
            parts.push(format!("{} changed", Count(changed as u64).of(one, many)));
        }
    }
    parts.join(". ") + "."
}
