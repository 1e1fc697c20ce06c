//! A hold's queries over its records.

use std::collections::HashSet;

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::{BlobRef, Record as _, nsid};
use atcr_atproto::syntax::{AtUri, Cid, Did, RecordKey, Tid};

use super::HoldRepo;
use crate::error::RepoError;
use crate::head::rev_number;
use crate::index::holdings::{LayerName, Usage};
use crate::offload::blocking;

/// A crew record and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrewMember {
    /// The key, which older holds chose differently.
    pub rkey: RecordKey,
    /// The record.
    pub record: CrewRecord,
}

/// Some of the crew, in the order of the record keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrewPage {
    /// The members. Malformed records are left out, so there may be fewer than were asked for.
    pub members: Vec<CrewMember>,
    /// Asks for the next page; `None` at the end.
    pub cursor: Option<String>,
}

impl HoldRepo {
    /// Keys of the layer records of a manifest, in order.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn layers_of_manifest(&self, manifest: &AtUri) -> Result<Vec<RecordKey>, RepoError> {
        self.index().await?.layers_of_manifest(manifest).await
    }

    /// How a record refers to the blob of that name: with its media type and length; `None` if none does.
    ///
    /// # Errors
    /// The index's.
    pub async fn blob_reference(&self, cid: &Cid) -> Result<Option<BlobRef>, RepoError> {
        self.index().await?.blob_reference(cid).await
    }

    /// Of `blobs`, which are in the order of their names, those that a record refers to which came in after the revision `since`; all of
    /// them, if so many records refer to them that not all can be looked at.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn blobs_since(&self, blobs: Vec<Cid>, since: &Tid) -> Result<Vec<Cid>, RepoError> {
        let (Some(first), Some(last)) = (blobs.first(), blobs.last()) else {
            return Ok(blobs);
        };
        let Some(records) = self.index().await?.records_of_blobs(first, last).await? else {
            return Ok(blobs);
        };
        let (view, since) = (self.view(), rev_number(since));
        let newer: HashSet<Cid> = blocking(move || {
            let mut newer = HashSet::new();
            for (blob, path) in records {
                // A record that went away since has nothing to say.
                if !newer.contains(&blob)
                    && let Some(record) = view.record(&path)?
                    && view.locate(&record)?.rev > since
                {
                    newer.insert(blob);
                }
            }
            Ok(newer)
        })
        .await?;
        Ok(blobs.into_iter().filter(|blob| newer.contains(blob)).collect())
    }

    /// Names of blobs that records refer to, in order: at most `limit`, after the name `after` when there is one.
    ///
    /// # Errors
    /// The index's.
    pub async fn referenced_blobs(&self, limit: usize, after: Option<&str>) -> Result<Vec<Cid>, RepoError> {
        self.index()
            .await?
            .referenced_blobs(limit, after.unwrap_or_default())
            .await
    }

    /// Keys of the layer records of a user, in order: at most `limit`, after the key `after` when there is one.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn layers_of_user(
        &self,
        user: &Did,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Vec<RecordKey>, RepoError> {
        self.index()
            .await?
            .layers_of_user(user, limit, after.unwrap_or_default())
            .await
    }

    /// Keys of the records of counts of an owner's repositories, in order: at most `limit`, after the key `after` when there is one.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn stats_of_owner(
        &self,
        owner: &Did,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Vec<RecordKey>, RepoError> {
        self.index()
            .await?
            .stats_of_owner(owner, limit, after.unwrap_or_default())
            .await
    }

    /// Accounts that have layer records, in the order of their DIDs: at most `limit`, after `after` when there is one.
    ///
    /// # Errors
    /// The index's.
    pub async fn layer_owners(&self, limit: u32, after: Option<&Did>) -> Result<Vec<Did>, RepoError> {
        let after = after.map_or("", Did::as_str);
        self.index().await?.layer_owners(limit, after).await
    }

    /// What the layer records of a user say, in the order of their keys: at most `limit`, after the key `after` when there is one.
    ///
    /// # Errors
    /// The index's.
    pub async fn layer_names(
        &self,
        user: &Did,
        limit: u32,
        after: Option<&RecordKey>,
    ) -> Result<Vec<LayerName>, RepoError> {
        let after = after.map_or("", RecordKey::as_str);
        self.index().await?.layer_names(user, limit, after).await
    }

    /// What a user keeps in the hold. Costs the same however much it is.
    ///
    /// A digest counts with the greatest size that one of its records says: with the same figure in whichever order they came.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn usage_of(&self, user: &Did) -> Result<Usage, RepoError> {
        self.index().await?.usage_of(user).await
    }

    /// Those of `digests` of which the user has no layer record yet, each once, in the order given: what a push adds to
    /// the user's quota.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn unseen_layers(&self, user: &Did, digests: &[String]) -> Result<Vec<String>, RepoError> {
        self.index().await?.unseen_layers(user, digests).await
    }

    /// The crew record of a member, found by what it says and not by its key. Of several, the one under the key that this
    /// version would choose, else the one with the greatest key.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn crew_by_member(&self, member: &Did) -> Result<Option<CrewMember>, RepoError> {
        let Some(rkey) = self.index().await?.crew_key(member).await? else {
            return Ok(None);
        };
        let Some(stored) = self.get_record(nsid::HOLD_CREW, rkey.as_str()).await? else {
            return Ok(None);
        };
        Ok(Some(CrewMember {
            rkey,
            record: CrewRecord::from_value(stored.value)?,
        }))
    }

    /// Keys of crew records beside the one that counts, of at most `limit` members that have several.
    ///
    /// # Errors
    /// The index's.
    pub async fn needless_crew_keys(&self, limit: u32) -> Result<Vec<RecordKey>, RepoError> {
        let index = self.index().await?;
        let mut needless = Vec::new();
        for member in index.doubled_members(limit).await? {
            let counts = index.crew_key(&member).await?;
            let keys = index.crew_keys(&member).await?;
            needless.extend(keys.into_iter().filter(|key| Some(key) != counts.as_ref()));
        }
        Ok(needless)
    }

    /// A page of the crew, of at most `limit` records, from after `cursor`.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn crew_page(&self, limit: usize, cursor: Option<&str>) -> Result<CrewPage, RepoError> {
        let page = self.list_records(nsid::HOLD_CREW, limit, cursor, true).await?;
        let member = |stored: super::StoredRecord| {
            let rkey = stored.uri.rkey()?;
            CrewRecord::from_value(stored.value)
                .ok()
                .map(|record| CrewMember { rkey, record })
        };
        Ok(CrewPage {
            members: page.records.into_iter().filter_map(member).collect(),
            cursor: page.cursor,
        })
    }

    /// The captain record.
    ///
    /// # Errors
    /// [`RepoError::RecordShape`] for a malformed one; the disk's or the index's.
    pub async fn captain(&self) -> Result<Option<CaptainRecord>, RepoError> {
        let key = RecordKey::literal_self();
        match self.get_record(nsid::HOLD_CAPTAIN, key.as_str()).await? {
            None => Ok(None),
            Some(stored) => Ok(Some(CaptainRecord::from_value(stored.value)?)),
        }
    }
}
