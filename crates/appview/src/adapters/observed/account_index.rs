//! The index of accounts, observed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_oci::Digest;
use atcr_registry::account::ports::{
    AccountChange, AccountIndex, IndexedManifest, IndexedTag, ListedAs, ListingId, Located, ManifestDetails,
    RecordsPage, Referrer,
};
use atcr_registry::error::RegistryError;
use atcr_server::port_call::PortCall;

/// Removing what listings have replaced is many short statements. It is slow from this time on.
const SLOW_SWEEP: Duration = Duration::from_secs(30);

/// [`AccountIndex`] with every call observed as port `database`.
#[derive(Clone)]
pub struct ObservedAccountIndex(Arc<dyn AccountIndex>);

impl ObservedAccountIndex {
    /// Observes `index`.
    #[must_use]
    pub fn new(index: Arc<dyn AccountIndex>) -> Self {
        Self(index)
    }
}

#[async_trait]
impl AccountIndex for ObservedAccountIndex {
    async fn listed_as(&self, did: &Did) -> Result<Option<ListedAs>, RegistryError> {
        PortCall::database("find_listing")
            .run(self.0.listed_as(did))
            .await
    }

    async fn begin_listing(&self, did: &Did) -> Result<ListingId, RegistryError> {
        PortCall::database("begin_listing")
            .run(self.0.begin_listing(did))
            .await
    }

    async fn stage(&self, listing: ListingId, page: &RecordsPage) -> Result<bool, RegistryError> {
        PortCall::database("stage_listing_page")
            .run(self.0.stage(listing, page))
            .await
    }

    async fn stage_change(&self, listing: ListingId, change: &AccountChange) -> Result<bool, RegistryError> {
        PortCall::database("stage_own_change")
            .run(self.0.stage_change(listing, change))
            .await
    }

    async fn publish(
        &self,
        listing: ListingId,
        listed_as: &ListedAs,
        size_bytes: u64,
    ) -> Result<bool, RegistryError> {
        PortCall::database("publish_listing")
            .run(self.0.publish(listing, listed_as, size_bytes))
            .await
    }

    async fn staged(&self) -> Result<Vec<ListingId>, RegistryError> {
        PortCall::database("list_staged_listings")
            .run(self.0.staged())
            .await
    }

    async fn sweep(&self, left: &[ListingId]) -> Result<(), RegistryError> {
        PortCall::database("sweep_listings")
            .slow_after(SLOW_SWEEP)
            .run(self.0.sweep(left))
            .await
    }

    async fn apply(
        &self,
        did: &Did,
        change: &AccountChange,
        from: &str,
        to: &str,
    ) -> Result<(), RegistryError> {
        PortCall::database("apply_own_change")
            .run(self.0.apply(did, change, from, to))
            .await
    }

    async fn note(&self, did: &Did, manifest: &Located<ManifestRecord>) -> Result<(), RegistryError> {
        PortCall::database("note_manifest")
            .run(self.0.note(did, manifest))
            .await
    }

    async fn tags(
        &self,
        did: &Did,
        repository: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError> {
        PortCall::database("list_tags")
            .run(self.0.tags(did, repository, after, limit))
            .await
    }

    async fn find_tag(
        &self,
        did: &Did,
        repository: &str,
        tag: &str,
    ) -> Result<Vec<IndexedTag>, RegistryError> {
        PortCall::database("find_tag")
            .run(self.0.find_tag(did, repository, tag))
            .await
    }

    async fn tags_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<IndexedTag>, RegistryError> {
        PortCall::database("list_tags_of_manifest")
            .run(self.0.tags_of(did, repository, digest))
            .await
    }

    async fn copies(&self, did: &Did, digest: &Digest) -> Result<Vec<IndexedManifest>, RegistryError> {
        PortCall::database("list_copies")
            .run(self.0.copies(did, digest))
            .await
    }

    async fn parents_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        PortCall::database("list_parents")
            .run(self.0.parents_of(did, repository, digest))
            .await
    }

    async fn referrers(
        &self,
        did: &Did,
        repository: &str,
        subject: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Referrer>, RegistryError> {
        PortCall::database("list_referrers")
            .run(self.0.referrers(did, repository, subject, after, limit))
            .await
    }

    async fn keep_details(
        &self,
        digest: &Digest,
        size: u64,
        details: &ManifestDetails,
    ) -> Result<(), RegistryError> {
        PortCall::database("keep_manifest_details")
            .run(self.0.keep_details(digest, size, details))
            .await
    }

    async fn has_repository(&self, did: &Did, repository: &str) -> Result<bool, RegistryError> {
        PortCall::database("has_repository")
            .run(self.0.has_repository(did, repository))
            .await
    }

    async fn repositories(
        &self,
        did: &Did,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError> {
        PortCall::database("list_repositories")
            .run(self.0.repositories(did, after, limit))
            .await
    }

    async fn holds_of_blob(
        &self,
        did: &Did,
        repository: &str,
        blob: &Digest,
    ) -> Result<Vec<Did>, RegistryError> {
        PortCall::database("list_holds_of_blob")
            .run(self.0.holds_of_blob(did, repository, blob))
            .await
    }

    async fn blobs_at(
        &self,
        did: &Did,
        hold: &Did,
        blobs: &[Digest],
        besides: &[RecordKey],
    ) -> Result<BTreeSet<Digest>, RegistryError> {
        PortCall::database("list_blobs_at_hold")
            .run(self.0.blobs_at(did, hold, blobs, besides))
            .await
    }
}
