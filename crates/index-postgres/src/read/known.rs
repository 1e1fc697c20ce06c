//! The records that the index has of an account.

use atcr_atproto::syntax::Did;
use atcr_index::ports::KnownRecord;
use atcr_index::stored::{self, collection_code, manifest_rkey, tag_rkey};
use atcr_index::{Collection, IndexError};
use atcr_oci::Digest;
use sqlx::PgConnection;

use crate::failed;

/// The records of one collection, in the order of their keys. Keys that follow from their record's content are made again from it.
pub(crate) async fn known_records(
    connection: &mut PgConnection,
    did: &Did,
    collection: Collection,
) -> Result<Vec<KnownRecord>, IndexError> {
    let account: Option<i64> = sqlx::query_scalar("SELECT id FROM account WHERE did = $1")
        .bind(did.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(account) = account else {
        return Ok(Vec::new());
    };
    let statement = format!(
        "SELECT rkey, cid FROM unusable WHERE account = $1 AND collection = {}",
        collection_code(collection)
    );
    let mut found: Vec<(String, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(account)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    match collection {
        Collection::Manifest => {
            let rows: Vec<(Vec<u8>, String, Vec<u8>)> =
                sqlx::query_as("SELECT digest, odd_rkey, cid FROM manifest WHERE account = $1")
                    .bind(account)
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(failed)?;
            for (digest, odd_rkey, cid) in rows {
                let digest: Digest = stored::digest(&digest)?;
                found.push((manifest_rkey(&digest, odd_rkey), cid));
            }
        }
        Collection::Tag => {
            let rows: Vec<(String, String, String, Vec<u8>)> = sqlx::query_as(
                "SELECT r.name, t.name, t.odd_rkey, t.cid FROM repository r JOIN tag t ON t.repository = r.id \
                 WHERE r.account = $1",
            )
            .bind(account)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
            for (repository, name, odd_rkey, cid) in rows {
                found.push((tag_rkey(&repository, &name, odd_rkey), cid));
            }
        }
        _ => {
            let table = match collection {
                Collection::RepoPage => "page",
                Collection::Profile => "profile",
                Collection::Star => "star",
                Collection::Captain => "captain",
                Collection::Crew => "crew",
                Collection::Stats => "stats",
                Collection::Scan | Collection::Manifest | Collection::Tag => "scan",
            };
            let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "SELECT rkey, cid FROM {table} WHERE account = $1"
            )))
            .bind(account)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
            found.extend(rows);
        }
    }
    found.sort_unstable();
    found
        .into_iter()
        .map(|(rkey, cid)| {
            Ok(KnownRecord {
                collection,
                rkey: rkey.parse().map_err(|_| IndexError::Corrupt("a record key"))?,
                cid: stored::cid(&cid)?,
            })
        })
        .collect()
}
