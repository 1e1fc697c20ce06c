//! Manifests, their children, parents and referrers.

use std::collections::HashMap;

use atcr_index::IndexError;
use atcr_index::change::Proof;
use atcr_index::fact::{Kind, PlatformFact};
use atcr_index::page::{Page, PageRequest, Position};
use atcr_index::row;
use atcr_index::stored::{self, digest_bytes};
use atcr_index::view::{
    ChildView, ListedManifest, MAX_TAGS_IN_LISTS, MAX_TAGS_OF_MANIFEST, ManifestId, ManifestSummary,
    ManifestView, RepositoryId,
};
use atcr_oci::Digest;
use sqlx::{FromRow, PgConnection};

use super::is_listed;
use super::list::{Order, Parameter, fetch};
use crate::failed;
use crate::rows::found;

/// Tags in the row of a manifest.
const ROW_TAGS: usize = MAX_TAGS_IN_LISTS;

/// Parents on the page of a manifest.
const MAX_PARENTS: i64 = 20;

/// The columns of a [`SummaryRow`], of `manifest m`.
pub(super) const SUMMARY: &str =
    "m.id, m.digest, m.media_type, m.artifact_type, m.kind, m.size, m.content_size, m.layers, m.pushed_at";

#[derive(FromRow)]
pub(super) struct SummaryRow {
    pub(super) id: i64,
    digest: Vec<u8>,
    media_type: String,
    artifact_type: Option<String>,
    kind: i64,
    size: i64,
    content_size: i64,
    layers: i64,
    pushed_at: i64,
}

impl SummaryRow {
    pub(super) fn view(self, children: Vec<ChildView>) -> Result<ManifestSummary, IndexError> {
        Ok(ManifestSummary {
            id: ManifestId(self.id),
            digest: stored::digest(&self.digest)?,
            media_type: self.media_type,
            artifact_type: self.artifact_type,
            kind: stored::kind(self.kind)?,
            size: u64::try_from(self.size).ok(),
            content_size: stored::count(self.content_size),
            layers: u32::try_from(self.layers).unwrap_or(u32::MAX),
            pushed_at: stored::instant(self.pushed_at),
            children,
        })
    }
}

#[derive(FromRow)]
struct ChildRow {
    manifest: i64,
    digest: Vec<u8>,
    media_type: String,
    size: i64,
    os: String,
    architecture: String,
    variant: String,
    os_version: String,
    attestation: bool,
    content_size: Option<i64>,
}

/// The children of each of the manifests `ids`, in the order of their indexes.
pub(super) async fn children(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<ChildView>>, IndexError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = ids.iter().map(|id| row![*id]).collect();
    let rows: Vec<ChildRow> = found(
        connection,
        "SELECT c.manifest, c.digest, c.media_type, c.size, c.os, c.architecture, c.variant, c.os_version, c.attestation, \
                (SELECT m.content_size FROM manifest m WHERE m.account = c.account AND m.digest = c.digest ORDER BY m.odd_rkey LIMIT 1) \
                    AS content_size \
         FROM unnest($1::bigint[]) AS j(id) JOIN child c ON c.manifest = j.id ORDER BY c.manifest, c.position",
        ids,
    )
    .await
    .map_err(failed)?;
    let mut children: HashMap<i64, Vec<ChildView>> = HashMap::new();
    for row in rows {
        let platform = PlatformFact {
            os: row.os,
            architecture: row.architecture,
            variant: row.variant,
            os_version: row.os_version,
        };
        children.entry(row.manifest).or_default().push(ChildView {
            digest: stored::digest(&row.digest)?,
            media_type: row.media_type,
            size: stored::count(row.size),
            platform: Some(platform).filter(|platform| !platform.os.is_empty()),
            is_attestation: row.attestation,
            content_size: row.content_size.map(stored::count),
        });
    }
    Ok(children)
}

#[derive(FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    subject: Vec<u8>,
    parents: Vec<Vec<u8>>,
}

/// The indexes of the same repository that name the manifest `m` as their child.
fn parents() -> String {
    format!(
        "ARRAY(SELECT p.digest FROM child c JOIN manifest p ON p.id = c.manifest \
               WHERE c.account = m.account AND c.digest = m.digest AND p.repository = m.repository \
               GROUP BY p.digest ORDER BY max(p.id) DESC LIMIT {MAX_PARENTS}) AS parents"
    )
}

fn digests(bytes: &[Vec<u8>]) -> Result<Vec<Digest>, IndexError> {
    bytes.iter().map(|bytes| stored::digest(bytes)).collect()
}

async fn listed(
    connection: &mut PgConnection,
    repository: RepositoryId,
    page: Page<ListedRow>,
) -> Result<Page<ListedManifest>, IndexError> {
    let ids: Vec<i64> = page.items.iter().map(|row| row.summary.id).collect();
    let mut children = children(connection, &ids).await?;
    let of_page = page
        .items
        .iter()
        .map(|row| row![repository.0, &row.summary.digest])
        .collect();
    let names: Vec<(Vec<u8>, String)> = found(
        connection,
        &format!(
            "SELECT j.digest, n.name FROM unnest($1::bigint[], $2::bytea[]) AS j(repository, digest) \
             JOIN LATERAL (SELECT t.name FROM tag t WHERE t.repository = j.repository AND t.digest = j.digest AND t.shown > 0 \
                           ORDER BY t.name LIMIT {ROW_TAGS}) n ON true ORDER BY n.name"
        ),
        of_page,
    )
    .await
    .map_err(failed)?;
    let mut tags: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for (digest, name) in names {
        let names = tags.entry(digest).or_default();
        if names.len() < ROW_TAGS {
            names.push(name);
        }
    }
    let items = page
        .items
        .into_iter()
        .map(|row| {
            Ok(ListedManifest {
                tags: tags.remove(&row.summary.digest).unwrap_or_default(),
                parents: digests(&row.parents)?,
                subject: stored::some_digest(&row.subject)?,
                summary: {
                    let children = children.remove(&row.summary.id).unwrap_or_default();
                    row.summary.view(children)?
                },
            })
        })
        .collect::<Result<_, IndexError>>()?;
    Ok(Page {
        items,
        newer: page.newer,
        older: page.older,
    })
}

pub(super) async fn list(
    connection: &mut PgConnection,
    repository: RepositoryId,
    kind: Option<Kind>,
    page: &PageRequest,
) -> Result<Page<ListedManifest>, IndexError> {
    if !is_listed(connection, repository).await? {
        return Ok(Page::empty());
    }
    let condition = if kind.is_some() { " AND m.kind = $2" } else { "" };
    let select = format!(
        "SELECT {SUMMARY}, m.subject, {} FROM manifest m WHERE m.repository = $1{condition}",
        parents()
    );
    let mut parameters = vec![Parameter::Integer(repository.0)];
    parameters.extend(kind.map(|kind| Parameter::Integer(kind.code())));
    let found = fetch(
        connection,
        &select,
        &Order::newest(&["m.pushed_at", "m.id"]),
        page,
        parameters,
    )
    .await?;
    let found = Page::of(found, page, |row: &ListedRow| {
        Position::new(row.summary.pushed_at, row.summary.id)
    });
    listed(connection, repository, found).await
}

/// The bytes of a digest at a position, which has them in hexadecimal; none for a text that was edited by hand.
fn digest_at(hex: &str) -> Parameter {
    Parameter::Blob(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap_or_default())
}

/// By digest.
const BY_DIGEST: Order = Order {
    columns: &["m.digest"],
    descending: false,
    values: |position| vec![digest_at(&position.key)],
};

/// By subject and digest.
const BY_SUBJECT: Order = Order {
    columns: &["m.subject", "m.digest"],
    descending: false,
    values: |position| {
        let (subject, digest) = position.key.split_once('-').unwrap_or_default();
        vec![digest_at(subject), digest_at(digest)]
    },
};

pub(super) async fn referrers(
    connection: &mut PgConnection,
    repository: RepositoryId,
    subject: &Digest,
    page: &PageRequest,
) -> Result<Page<ListedManifest>, IndexError> {
    if !is_listed(connection, repository).await? {
        return Ok(Page::empty());
    }
    let select = format!(
        "SELECT {SUMMARY}, m.subject, {} FROM manifest m \
         WHERE m.repository = $1 AND m.subject = $2 AND m.subject <> ''::bytea",
        parents()
    );
    let parameters = vec![
        Parameter::Integer(repository.0),
        Parameter::Blob(digest_bytes(subject)),
    ];
    let found = fetch(connection, &select, &BY_DIGEST, page, parameters).await?;
    let found = Page::of(found, page, |row: &ListedRow| {
        Position::new(0, stored::hex(&row.summary.digest))
    });
    listed(connection, repository, found).await
}

pub(super) async fn all_referrers(
    connection: &mut PgConnection,
    repository: RepositoryId,
    page: &PageRequest,
) -> Result<Page<ListedManifest>, IndexError> {
    if !is_listed(connection, repository).await? {
        return Ok(Page::empty());
    }
    let select = format!(
        "SELECT {SUMMARY}, m.subject, {} FROM manifest m \
         WHERE m.repository = $1 AND m.subject <> ''::bytea",
        parents()
    );
    let parameters = vec![Parameter::Integer(repository.0)];
    let found = fetch(connection, &select, &BY_SUBJECT, page, parameters).await?;
    let found = Page::of(found, page, |row: &ListedRow| {
        let key = format!(
            "{}-{}",
            stored::hex(&row.subject),
            stored::hex(&row.summary.digest)
        );
        Position::new(0, key)
    });
    listed(connection, repository, found).await
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    summary: SummaryRow,
    odd_rkey: String,
    cid: Vec<u8>,
    blob: Vec<u8>,
    hold: String,
    subject: Vec<u8>,
    config: Vec<u8>,
    annotations: String,
    referrers: i64,
    proof: i64,
    rev: String,
}

pub(super) async fn one(
    connection: &mut PgConnection,
    repository: RepositoryId,
    digest: &Digest,
) -> Result<Option<ManifestView>, IndexError> {
    let statement = format!(
        "SELECT {SUMMARY}, m.odd_rkey, m.cid, m.blob, m.hold, m.subject, m.config, m.annotations, a.proof, a.rev, \
                (SELECT count(*) FROM manifest x \
                 WHERE x.repository = r.id AND x.subject = m.digest AND x.subject <> ''::bytea) AS referrers \
         FROM repository r JOIN manifest m ON m.account = r.account AND m.digest = $2 AND m.repository = r.id \
         JOIN account a ON a.id = r.account \
         WHERE r.id = $1 AND r.listed ORDER BY m.odd_rkey LIMIT 1"
    );
    let bytes = digest_bytes(digest);
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(repository.0)
        .bind(&bytes)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let tags: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM tag WHERE repository = $1 AND digest = $2 AND shown > 0 \
         ORDER BY moved_at DESC, name DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(&bytes)
    .bind(i64::try_from(MAX_TAGS_OF_MANIFEST).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let parents: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT p.digest FROM repository r JOIN child c ON c.account = r.account AND c.digest = $2 \
         JOIN manifest p ON p.id = c.manifest AND p.repository = r.id \
         WHERE r.id = $1 ORDER BY p.id DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(&bytes)
    .bind(MAX_PARENTS)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let children = children(connection, &[row.summary.id])
        .await?
        .remove(&row.summary.id)
        .unwrap_or_default();
    let rkey = if row.odd_rkey.is_empty() {
        atcr_atproto::lexicon::manifest::rkey(digest.as_str()).ok()
    } else {
        row.odd_rkey.parse().ok()
    };
    Ok(Some(ManifestView {
        rkey: rkey.ok_or(IndexError::Corrupt("a record key"))?,
        cid: stored::cid(&row.cid)?,
        blob: stored::some_cid(&row.blob)?,
        hold: stored::some_did(&row.hold)?,
        subject: stored::some_digest(&row.subject)?,
        config: stored::some_digest(&row.config)?,
        annotations: stored::annotations(&row.annotations)?,
        tags,
        parents: digests(&parents)?,
        referrers: stored::count(row.referrers),
        proof: if row.proof == 0 {
            Proof::Owner
        } else {
            Proof::Signed
        },
        rev: row.rev.parse().ok(),
        summary: row.summary.view(children)?,
    }))
}
