//! Queries of pages. Those of several statements run in one read transaction.

mod accounts;
mod holds;
mod known;
mod list;
mod manifests;
mod pulls;
mod repositories;
mod stars;
mod tags;

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Handle, RecordKey};
use atcr_index::IndexError;
use atcr_index::fact::Kind;
use atcr_index::page::{Page, PageRequest};
use atcr_index::ports::IndexReader;
use atcr_index::view::{
    AccountView, HoldView, ListedManifest, ManifestView, MembershipView, PullDay, RepositoryCard,
    RepositoryHold, RepositoryId, RepositoryView, ScanView, StarView, TagFilter, TagMove, TagView,
};
use atcr_oci::Digest;
use chrono::NaiveDate;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Transaction};

pub(crate) use known::known_records;
pub(crate) use repositories::{CARD, CardRow};

use crate::{PostgresIndex, failed};

impl PostgresIndex {
    /// A transaction that reads: all its statements see one state.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, IndexError> {
        self.readers
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(failed)
    }

    /// A connection for one statement.
    async fn reader(&self) -> Result<PoolConnection<Postgres>, IndexError> {
        self.readers.acquire().await.map_err(failed)
    }
}

/// Whether the repository is shown.
async fn is_listed(connection: &mut PgConnection, repository: RepositoryId) -> Result<bool, IndexError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM repository WHERE id = $1 AND listed)")
        .bind(repository.0)
        .fetch_one(connection)
        .await
        .map_err(failed)
}

#[async_trait]
impl IndexReader for PostgresIndex {
    async fn account(&self, did: &Did) -> Result<Option<AccountView>, IndexError> {
        accounts::by_did(&mut *self.reader().await?, did).await
    }

    async fn account_by_handle(&self, handle: &Handle) -> Result<Option<AccountView>, IndexError> {
        accounts::by_handle(&mut *self.reader().await?, handle).await
    }

    async fn former_owner(&self, handle: &Handle) -> Result<Option<Did>, IndexError> {
        accounts::former_owner(&mut *self.reader().await?, handle).await
    }

    async fn is_taken_down(&self, did: &Did, repository: &str) -> Result<bool, IndexError> {
        accounts::is_taken_down(&mut *self.reader().await?, did, repository).await
    }

    async fn recently_pushed(&self, page: &PageRequest) -> Result<Page<RepositoryCard>, IndexError> {
        repositories::recently_pushed(&mut *self.reader().await?, page).await
    }

    async fn most_starred(&self, page: &PageRequest) -> Result<Page<RepositoryCard>, IndexError> {
        repositories::most_starred(&mut *self.reader().await?, page).await
    }

    async fn repositories_of(
        &self,
        did: &Did,
        page: &PageRequest,
    ) -> Result<Page<RepositoryCard>, IndexError> {
        repositories::of_account(&mut *self.reader().await?, did, page).await
    }

    async fn starred_by(&self, did: &Did, page: &PageRequest) -> Result<Page<RepositoryCard>, IndexError> {
        stars::starred_by(&mut *self.reader().await?, did, page).await
    }

    async fn all_repositories(
        &self,
        after: RepositoryId,
        limit: u32,
    ) -> Result<Vec<RepositoryCard>, IndexError> {
        repositories::all(&mut *self.reader().await?, after, limit).await
    }

    async fn repositories_named(&self, name: &str, limit: u32) -> Result<Vec<RepositoryCard>, IndexError> {
        repositories::named(&mut *self.reader().await?, name, limit).await
    }

    async fn repository(&self, did: &Did, name: &str) -> Result<Option<RepositoryView>, IndexError> {
        repositories::one(&mut *self.snapshot().await?, did, name).await
    }

    async fn tags(
        &self,
        repository: RepositoryId,
        filter: &TagFilter,
        page: &PageRequest,
    ) -> Result<Page<TagView>, IndexError> {
        tags::list(&mut *self.snapshot().await?, repository, filter, page).await
    }

    async fn count_tags(&self, repository: RepositoryId, filter: &TagFilter) -> Result<u64, IndexError> {
        tags::count(&mut *self.reader().await?, repository, filter).await
    }

    async fn tag(&self, repository: RepositoryId, name: &str) -> Result<Option<TagView>, IndexError> {
        tags::one(&mut *self.snapshot().await?, repository, name).await
    }

    async fn tag_moves(
        &self,
        repository: RepositoryId,
        tag: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<TagMove>, IndexError> {
        tags::moves(&mut *self.snapshot().await?, repository, tag, page).await
    }

    async fn manifests(
        &self,
        repository: RepositoryId,
        kind: Option<Kind>,
        page: &PageRequest,
    ) -> Result<Page<ListedManifest>, IndexError> {
        manifests::list(&mut *self.snapshot().await?, repository, kind, page).await
    }

    async fn manifest(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Option<ManifestView>, IndexError> {
        manifests::one(&mut *self.snapshot().await?, repository, digest).await
    }

    async fn referrers(
        &self,
        repository: RepositoryId,
        subject: &Digest,
        page: &PageRequest,
    ) -> Result<Page<ListedManifest>, IndexError> {
        manifests::referrers(&mut *self.snapshot().await?, repository, subject, page).await
    }

    async fn all_referrers(
        &self,
        repository: RepositoryId,
        page: &PageRequest,
    ) -> Result<Page<ListedManifest>, IndexError> {
        manifests::all_referrers(&mut *self.snapshot().await?, repository, page).await
    }

    async fn holds_of(&self, repository: RepositoryId) -> Result<Vec<RepositoryHold>, IndexError> {
        holds::of_repository(&mut *self.reader().await?, repository).await
    }

    async fn pulls_by_day(
        &self,
        repository: RepositoryId,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<PullDay>, IndexError> {
        repositories::pulls_by_day(&mut *self.snapshot().await?, repository, from, to).await
    }

    async fn stars_of(
        &self,
        did: &Did,
        repository: &str,
        page: &PageRequest,
    ) -> Result<Page<StarView>, IndexError> {
        stars::of_repository(&mut *self.reader().await?, did, repository, page).await
    }

    async fn stars_given(
        &self,
        starrer: &Did,
        did: &Did,
        repository: &str,
    ) -> Result<Vec<RecordKey>, IndexError> {
        stars::given(&mut *self.reader().await?, starrer, did, repository).await
    }

    async fn hold(&self, did: &Did) -> Result<Option<HoldView>, IndexError> {
        holds::one(&mut *self.reader().await?, did).await
    }

    async fn open_holds(&self, limit: u32) -> Result<Vec<HoldView>, IndexError> {
        holds::open(&mut *self.reader().await?, limit).await
    }

    async fn memberships(&self, did: &Did) -> Result<Vec<MembershipView>, IndexError> {
        holds::memberships(&mut *self.reader().await?, did).await
    }

    async fn scans(&self, did: &Did, digest: &Digest) -> Result<Vec<ScanView>, IndexError> {
        holds::scans(&mut *self.reader().await?, did, digest).await
    }
}
