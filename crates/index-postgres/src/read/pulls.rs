//! What a pull needs, by keys alone.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::ports::PullIndex;
use atcr_index::stored::{self, digest_bytes};
use atcr_index::view::{PulledManifest, Standing};
use atcr_oci::Digest;

use crate::codec;
use crate::{PostgresIndex, failed};

#[async_trait]
impl PullIndex for PostgresIndex {
    async fn standing(&self, did: &Did) -> Result<Option<Standing>, IndexError> {
        let row: Option<(String, String, i64, bool)> =
            sqlx::query_as("SELECT rev, head_seen, status, taken_down FROM account WHERE did = $1")
                .bind(did.as_str())
                .fetch_optional(&self.readers)
                .await
                .map_err(failed)?;
        Ok(row.and_then(|(rev, head_seen, status, is_taken_down)| {
            Some(Standing {
                rev: rev.parse().ok()?,
                is_behind: head_seen > rev,
                status: stored::status(status),
                is_taken_down,
            })
        }))
    }

    async fn tag_target(&self, did: &Did, repository: &str, tag: &str) -> Result<Option<Digest>, IndexError> {
        let target: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT t.digest FROM account a JOIN repository r ON r.account = a.id AND r.name = $1 \
             JOIN tag t ON t.repository = r.id AND t.name = $2 \
             WHERE a.did = $3 ORDER BY (t.odd_rkey = '') DESC, (t.shown > 0) DESC, t.odd_rkey LIMIT 1",
        )
        .bind(codec::text(repository))
        .bind(codec::text(tag))
        .bind(did.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        stored::some_digest(&target.unwrap_or_default())
    }

    async fn pulled_manifest(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<PulledManifest>, IndexError> {
        let row: Option<(String, Vec<u8>, String, String)> = sqlx::query_as(
            "SELECT m.media_type, m.blob, m.hold, m.odd_rkey \
             FROM account a JOIN repository r ON r.account = a.id AND r.name = $1 \
             JOIN manifest m ON m.account = a.id AND m.digest = $2 AND m.repository = r.id \
             WHERE a.did = $3 ORDER BY m.odd_rkey LIMIT 1",
        )
        .bind(codec::text(repository))
        .bind(digest_bytes(digest))
        .bind(did.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        row.map(|(media_type, blob, hold, odd_rkey)| {
            Ok(PulledManifest {
                media_type,
                blob: stored::some_cid(&blob)?,
                hold: stored::some_did(&hold)?,
                odd_rkey: (!odd_rkey.is_empty())
                    .then(|| odd_rkey.parse().map_err(|_| IndexError::Corrupt("a record key")))
                    .transpose()?,
            })
        })
        .transpose()
    }
}
