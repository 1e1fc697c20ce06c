//! The records of a tag: which of them a push writes.

use std::collections::BTreeSet;

use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::syntax::RecordKey;
use atcr_oci::{Digest, Tag};
use futures_util::future::try_join_all;

use crate::account::Freshness;
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::manifest::Manifests;
use crate::manifest::pull::internal;

/// A record to write a tag to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TagPlace {
    /// Its key.
    pub(super) rkey: RecordKey,
    /// Whether a record is there, to be replaced.
    pub(super) exists: bool,
}

/// What a push has to know before it moves tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TagMoves {
    /// How well the account has to be known.
    pub(super) freshness: Freshness,
    /// Manifests that lose their last tag are to go.
    pub(super) untag: bool,
}

/// Which tags a manifest that is written gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moving {
    /// All. A manifest that loses its last tag goes, if the account wants that.
    Push,
    /// All, and nothing goes.
    Point,
    /// Those that are not there, and nothing goes.
    IfAbsent,
    /// Those that point at this, and nothing goes.
    IfAt(Digest),
}

/// What becomes of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagTurn {
    /// It is written.
    Moves,
    /// It is where it is to be.
    IsThere,
    /// It is somewhere else than [`Moving`] asks, and stays.
    Stays,
}

impl Manifests {
    /// What becomes of `tag`, which is to point at `digest`, by what the account has now.
    pub(super) async fn tag_turn(
        &self,
        context: &RequestContext,
        tag: &Tag,
        digest: &Digest,
        moving: &Moving,
    ) -> Result<TagTurn, RegistryError> {
        let expected = match moving {
            Moving::Push | Moving::Point => return Ok(TagTurn::Moves),
            Moving::IfAbsent => None,
            Moving::IfAt(expected) => Some(expected),
        };
        let index = self.accounts.index();
        let known = index
            .find_tag(&context.owner.did, context.repository(), tag.as_str())
            .await?;
        Ok(match known.first() {
            Some(record) if record.digest.as_ref() == Some(digest) => TagTurn::IsThere,
            Some(record) if expected.is_some() && record.digest.as_ref() == expected => TagTurn::Moves,
            None if expected.is_none() => TagTurn::Moves,
            _ => TagTurn::Stays,
        })
    }

    /// The records of `tag` that a push writes: the one under our own key, and those that other writers keep under theirs, so that
    /// readers of each of them see the tag move. A new one only where there is none at all.
    pub(super) async fn tag_places(
        &self,
        context: &RequestContext,
        tag: &Tag,
    ) -> Result<Vec<TagPlace>, RegistryError> {
        let owner = &context.owner;
        let own = self.own_tag_place(context, tag).await?;
        let known = self
            .accounts
            .index()
            .find_tag(&owner.did, context.repository(), tag.as_str())
            .await?;
        let mut places = Vec::new();
        for rkey in known.into_iter().map(|record| record.rkey) {
            // The index may be of an earlier revision.
            if rkey != own.rkey
                && let Some(record) = self.store.find_tag(owner, &rkey).await?
                && is_of(&record, context, tag)
            {
                places.push(TagPlace { rkey, exists: true });
            }
        }
        if own.exists || places.is_empty() {
            places.push(own);
        }
        Ok(places)
    }

    /// Our own key for a tag, and whether a record is there.
    async fn own_tag_place(&self, context: &RequestContext, tag: &Tag) -> Result<TagPlace, RegistryError> {
        let (owner, repository) = (&context.owner, context.repository());
        let rkey = tag::rkey(repository, tag.as_str()).map_err(internal)?;
        match self.store.find_tag(owner, &rkey).await? {
            None => Ok(TagPlace { rkey, exists: false }),
            Some(record) if is_of(&record, context, tag) => Ok(TagPlace { rkey, exists: true }),
            // `a_b` + `c` and `a` + `b_c` have one key; the second to come takes another.
            Some(_) => {
                let rkey = tag::rkey_beside(repository, tag.as_str()).map_err(internal)?;
                let exists = self.store.find_tag(owner, &rkey).await?.is_some();
                Ok(TagPlace { rkey, exists })
            }
        }
    }

    /// What moving `tags` to `digest` takes.
    pub(super) async fn tag_moves(
        &self,
        context: &RequestContext,
        digest: &Digest,
        tags: &BTreeSet<Tag>,
        moving: &Moving,
    ) -> Result<TagMoves, RegistryError> {
        if matches!(moving, Moving::IfAbsent | Moving::IfAt(_)) {
            return Ok(TagMoves {
                freshness: Freshness::Required,
                untag: false,
            });
        }
        let owner = &context.owner;
        let look = |tag: &Tag| {
            let rkey = tag::rkey(context.repository(), tag.as_str()).map_err(internal);
            async move { self.store.find_tag(owner, &rkey?).await }
        };
        let records = try_join_all(tags.iter().map(look)).await?;
        // A tag that is not under our key may be under another.
        let is_unseen = records.iter().any(Option::is_none);
        let mut moves = false;
        for (tag, record) in tags.iter().zip(&records) {
            let moves_away = |previous: String| previous != digest.to_string();
            moves |= match record {
                Some(record) => record.digest().is_some_and(moves_away),
                None => {
                    let index = self.accounts.index();
                    let known = index
                        .find_tag(&owner.did, context.repository(), tag.as_str())
                        .await?;
                    let mut digests = known.into_iter().filter_map(|record| record.digest);
                    digests.any(|previous| previous != *digest)
                }
            };
        }
        let untag = moves && *moving == Moving::Push && self.wants_untagged_removed(context).await?;
        let freshness = match (untag, is_unseen) {
            (true, _) => Freshness::Required,
            (false, true) => Freshness::IfQuick,
            (false, false) => Freshness::Any,
        };
        Ok(TagMoves { freshness, untag })
    }

    async fn wants_untagged_removed(&self, context: &RequestContext) -> Result<bool, RegistryError> {
        let profile = self.owners.find_profile(&context.owner).await?;
        Ok(profile
            .and_then(|profile| profile.auto_remove_untagged)
            .unwrap_or_default())
    }
}

fn is_of(record: &TagRecord, context: &RequestContext, tag: &Tag) -> bool {
    record.repository == context.repository() && record.tag == tag.as_str()
}
