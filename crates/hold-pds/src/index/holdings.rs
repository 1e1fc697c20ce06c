//! A hold's queries over its layer and crew records, and whose counts it has.

use std::collections::{HashMap, HashSet};

use atcr_atproto::data_model::ipld_to_json;
use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::lexicon::{Record, nsid};
use atcr_atproto::syntax::{AtUri, Did, RecordKey};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{Index, RecordChange, bad_row, number, to_sql};
use crate::error::RepoError;

/// Rows of one statement: far below SQLite's limit of 32,766 values.
const ROWS_PER_QUERY: usize = 500;

/// Digests of one query. SQLite's own limit is 32,766.
const DIGESTS_PER_QUERY: usize = 500;
/// 8 TiB. No stored object is larger, and sums of what a hostile client claims stay within 63 bits.
const MAX_LAYER_BYTES: u64 = 1 << 43;

/// What one user keeps in the hold: every digest once, however many manifests have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Distinct digests.
    pub unique_blobs: u64,
    /// Their sizes, added up.
    pub total_bytes: u64,
}

/// A layer record: which manifest names which blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerName {
    /// The record's key.
    pub rkey: RecordKey,
    /// The manifest.
    pub manifest: AtUri,
    /// The layer's digest, as the record says it.
    pub digest: String,
}

/// Brings the tables in step with the records that a commit changed.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    changes: &[RecordChange],
) -> Result<(), RepoError> {
    let changes = last_changes(changes);
    let in_collection = |collection: &'static str| {
        changes
            .iter()
            .filter(move |change| change.collection == collection)
    };
    for old in in_collection(nsid::HOLD_LAYER).filter(|change| !change.is_new) {
        // Triggers keep the users' sums.
        sqlx::query("DELETE FROM layers WHERE rkey = ?")
            .bind(&old.rkey)
            .execute(&mut *connection)
            .await?;
    }
    for old in in_collection(nsid::HOLD_CREW).filter(|change| !change.is_new) {
        sqlx::query("DELETE FROM crew WHERE rkey = ?")
            .bind(&old.rkey)
            .execute(&mut *connection)
            .await?;
    }
    let layers: Vec<_> = in_collection(nsid::HOLD_LAYER)
        .filter_map(parse::<LayerRecord>)
        .collect();
    insert_layers(connection, &layers).await?;
    let crew: Vec<_> = in_collection(nsid::HOLD_CREW)
        .filter_map(parse::<CrewRecord>)
        .collect();
    insert_crew(connection, &crew).await?;
    for change in in_collection(nsid::HOLD_STATS) {
        apply_stats(connection, change).await?;
    }
    for change in &changes {
        if !matches!(
            &*change.collection,
            nsid::HOLD_LAYER | nsid::HOLD_CREW | nsid::HOLD_STATS
        ) {
            super::blob_refs::apply(connection, change).await?;
        }
    }
    Ok(())
}

/// What became of each record, in the order in which they changed first: several commits may have changed the same one.
fn last_changes(changes: &[RecordChange]) -> Vec<RecordChange> {
    let mut places = HashMap::new();
    let mut last: Vec<RecordChange> = Vec::new();
    for change in changes {
        let place = *places
            .entry((&*change.collection, &*change.rkey))
            .or_insert(last.len());
        match last.get_mut(place) {
            Some(first) => first.content.clone_from(&change.content),
            None => last.push(change.clone()),
        }
    }
    last
}

/// A record of the wrong shape is kept like any other, and counts for nothing.
fn parse<R: Record>(change: &RecordChange) -> Option<(&str, R)> {
    let value = serde_ipld_dagcbor::from_slice(change.content.as_deref()?).ok();
    let value = value.and_then(|value| ipld_to_json(&value).ok())?;
    match R::from_value(value) {
        Ok(record) => Some((&change.rkey, record)),
        Err(error) => {
            tracing::warn!(collection = R::NSID, %error, "a record is malformed and is not indexed");
            None
        }
    }
}

async fn insert_layers(
    connection: &mut SqliteConnection,
    layers: &[(&str, LayerRecord)],
) -> Result<(), sqlx::Error> {
    for rows in layers.chunks(ROWS_PER_QUERY) {
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT INTO layers (rkey, manifest, user_did, digest, size) ");
        query.push_values(rows, |mut row, (rkey, layer)| {
            row.push_bind(rkey)
                .push_bind(layer.manifest.as_str())
                .push_bind(layer.user_did.as_str())
                .push_bind(&layer.digest)
                .push_bind(to_sql(layer.size.min(MAX_LAYER_BYTES)));
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_crew(
    connection: &mut SqliteConnection,
    crew: &[(&str, CrewRecord)],
) -> Result<(), sqlx::Error> {
    for rows in crew.chunks(ROWS_PER_QUERY) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO crew (rkey, member, role, permissions, tier, added_micros) ",
        );
        query.push_values(rows, |mut row, (rkey, crew)| {
            let added = crew.added_at.to_utc().timestamp_micros();
            row.push_bind(rkey)
                .push_bind(crew.member.as_str())
                .push_bind(&crew.role)
                .push_bind(crew.permissions.join(" "))
                .push_bind(&crew.tier)
                .push_bind(added.max(0));
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Counts change often, and their owner never does.
async fn apply_stats(connection: &mut SqliteConnection, change: &RecordChange) -> Result<(), sqlx::Error> {
    let statement = match parse::<StatsRecord>(change) {
        Some((rkey, stats)) => sqlx::query(
            "INSERT INTO stats (rkey, owner) VALUES (?, ?)
             ON CONFLICT (rkey) DO UPDATE SET owner = excluded.owner WHERE owner <> excluded.owner",
        )
        .bind(rkey.to_owned())
        .bind(stats.owner_did.as_str().to_owned()),
        None => sqlx::query("DELETE FROM stats WHERE rkey = ?").bind(change.rkey.clone()),
    };
    statement.execute(connection).await?;
    Ok(())
}

/// Whether a record has a row.
pub(crate) fn has_row(collection: &str, content: &[u8]) -> bool {
    let change = RecordChange {
        collection: collection.to_owned(),
        rkey: String::new(),
        is_new: true,
        content: Some(bytes::Bytes::copy_from_slice(content)),
    };
    match collection {
        nsid::HOLD_LAYER => parse::<LayerRecord>(&change).is_some(),
        nsid::HOLD_CREW => parse::<CrewRecord>(&change).is_some(),
        nsid::HOLD_STATS => parse::<StatsRecord>(&change).is_some(),
        _ => false,
    }
}

impl Index {
    /// How many records have a row, and as of which event.
    pub(crate) async fn row_count(&self) -> Result<(u64, u64), RepoError> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM layers) + (SELECT count(*) FROM crew)
                        + (SELECT count(*) FROM stats) AS found,
                    (SELECT seq FROM state) AS seq",
        )
        .fetch_one(self.readers())
        .await?;
        Ok((number(&row, "layers", "found")?, number(&row, "state", "seq")?))
    }

    pub(crate) async fn layers_of_manifest(&self, manifest: &AtUri) -> Result<Vec<RecordKey>, RepoError> {
        let keys: Vec<String> =
            sqlx::query_scalar("SELECT rkey FROM layers WHERE manifest = ? ORDER BY rkey")
                .bind(manifest.as_str())
                .fetch_all(self.readers())
                .await?;
        keys.into_iter()
            .map(|key| key.parse().map_err(|_| bad_row("layers", "rkey")))
            .collect()
    }

    pub(crate) async fn layers_of_user(
        &self,
        user: &Did,
        limit: usize,
        after: &str,
    ) -> Result<Vec<RecordKey>, RepoError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT rkey FROM layers WHERE user_did = ? AND rkey > ? ORDER BY rkey LIMIT ?",
        )
        .bind(user.as_str())
        .bind(after)
        .bind(to_sql(limit as u64))
        .fetch_all(self.readers())
        .await?;
        keys.into_iter()
            .map(|key| key.parse().map_err(|_| bad_row("layers", "rkey")))
            .collect()
    }

    pub(crate) async fn stats_of_owner(
        &self,
        owner: &Did,
        limit: usize,
        after: &str,
    ) -> Result<Vec<RecordKey>, RepoError> {
        let keys: Vec<String> =
            sqlx::query_scalar("SELECT rkey FROM stats WHERE owner = ? AND rkey > ? ORDER BY rkey LIMIT ?")
                .bind(owner.as_str())
                .bind(after)
                .bind(to_sql(limit as u64))
                .fetch_all(self.readers())
                .await?;
        keys.into_iter()
            .map(|key| key.parse().map_err(|_| bad_row("stats", "rkey")))
            .collect()
    }

    pub(crate) async fn usage_of(&self, user: &Did) -> Result<Usage, RepoError> {
        let row = sqlx::query("SELECT unique_blobs, total_bytes FROM user_usage WHERE user_did = ?")
            .bind(user.as_str())
            .fetch_optional(self.readers())
            .await?;
        let Some(row) = row else {
            return Ok(Usage::default());
        };
        Ok(Usage {
            unique_blobs: number(&row, "user_usage", "unique_blobs")?,
            total_bytes: number(&row, "user_usage", "total_bytes")?,
        })
    }

    /// Counts everything that all users keep once more, and says of how many users the figures are others than those that are kept.
    pub(crate) async fn wrong_usages(&self) -> Result<u64, RepoError> {
        // Reads every row of layers, in one statement: as of one moment.
        let row = sqlx::query(
            "WITH counted AS (
                 SELECT user_did, count(*) AS unique_blobs, sum(size) AS total_bytes
                 FROM (SELECT user_did, digest, max(size) AS size FROM layers GROUP BY user_did, digest)
                 GROUP BY user_did
             ), wrong AS (
                 SELECT user_did FROM (SELECT * FROM counted EXCEPT SELECT * FROM user_usage)
                 UNION SELECT user_did FROM (SELECT * FROM user_usage EXCEPT SELECT * FROM counted)
             )
             SELECT count(*) AS users FROM wrong",
        )
        .fetch_one(self.readers())
        .await?;
        number(&row, "user_usage", "users")
    }

    /// Users that have layer records, in order: at most `limit`, after `after`.
    pub(crate) async fn layer_owners(&self, limit: u32, after: &str) -> Result<Vec<Did>, RepoError> {
        let users: Vec<String> = sqlx::query_scalar(
            "SELECT user_did FROM user_usage WHERE user_did > ? ORDER BY user_did LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        let did = |user: String| user.parse().map_err(|_| bad_row("user_usage", "user_did"));
        users.into_iter().map(did).collect()
    }

    /// What the layer records of a user say, in the order of their keys: at most `limit`, after the key `after`.
    pub(crate) async fn layer_names(
        &self,
        user: &Did,
        limit: u32,
        after: &str,
    ) -> Result<Vec<LayerName>, RepoError> {
        // layers_user has the key behind the user.
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT rkey, manifest, digest FROM layers WHERE user_did = ? AND rkey > ? ORDER BY rkey LIMIT ?",
        )
        .bind(user.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        let name = |(rkey, manifest, digest): (String, String, String)| {
            Ok(LayerName {
                rkey: rkey.parse().map_err(|_| bad_row("layers", "rkey"))?,
                manifest: manifest.parse().map_err(|_| bad_row("layers", "manifest"))?,
                digest,
            })
        };
        rows.into_iter().map(name).collect()
    }

    /// Those of `digests` that no layer record of `user` names, each once.
    pub(crate) async fn unseen_layers(
        &self,
        user: &Did,
        digests: &[String],
    ) -> Result<Vec<String>, RepoError> {
        let mut seen: HashSet<String> = HashSet::new();
        for digests in digests.chunks(DIGESTS_PER_QUERY) {
            let mut query = QueryBuilder::<Sqlite>::new("SELECT digest FROM user_blobs WHERE user_did = ");
            query.push_bind(user.as_str()).push(" AND digest IN (");
            let mut names = query.separated(", ");
            for digest in digests {
                names.push_bind(digest);
            }
            query.push(")");
            seen.extend(
                query
                    .build_query_scalar::<String>()
                    .fetch_all(self.readers())
                    .await?,
            );
        }
        Ok(digests
            .iter()
            .filter(|digest| seen.insert((*digest).clone()))
            .cloned()
            .collect())
    }

    /// Members with more than one record, at most `limit`.
    pub(crate) async fn doubled_members(&self, limit: u32) -> Result<Vec<Did>, RepoError> {
        // Walks crew_member, which has as many rows as the crew.
        let members: Vec<String> =
            sqlx::query_scalar("SELECT member FROM crew GROUP BY member HAVING count(*) > 1 LIMIT ?")
                .bind(limit)
                .fetch_all(self.readers())
                .await?;
        members
            .into_iter()
            .map(|member| member.parse().map_err(|_| bad_row("crew", "member")))
            .collect()
    }

    /// The keys of all records of a member, in order.
    pub(crate) async fn crew_keys(&self, member: &Did) -> Result<Vec<RecordKey>, RepoError> {
        let keys: Vec<String> = sqlx::query_scalar("SELECT rkey FROM crew WHERE member = ? ORDER BY rkey")
            .bind(member.as_str())
            .fetch_all(self.readers())
            .await?;
        keys.into_iter()
            .map(|key| key.parse().map_err(|_| bad_row("crew", "rkey")))
            .collect()
    }

    /// The key of a member's record: the one that this version would choose, else the last by key.
    pub(crate) async fn crew_key(&self, member: &Did) -> Result<Option<RecordKey>, RepoError> {
        let own = crew::rkey(member)?;
        let key: Option<String> =
            sqlx::query("SELECT rkey FROM crew WHERE member = ? ORDER BY rkey = ? DESC, rkey DESC LIMIT 1")
                .bind(member.as_str())
                .bind(own.as_str())
                .fetch_optional(self.readers())
                .await?
                .map(|row| row.try_get("rkey"))
                .transpose()?;
        key.map(|key| key.parse().map_err(|_| bad_row("crew", "rkey")))
            .transpose()
    }
}
