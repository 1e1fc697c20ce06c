//! A store that stalls at one of its steps until it is told to go on, as a slow one does, or fails at it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use atcr_hold::blobs::{
    Assembled, DownloadMethod, ObjectBytes, ObjectKey, ObjectStat, ObjectStore, PartTag, PartUrl,
    PresignedUrl, StoreError, StoreTraits, StoreUpload, Unfinished,
};
use atcr_oci::Algorithm;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// Where a completion can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Before the parts are joined.
    Joining,
    /// After they were joined, before they are read.
    Reading,
    /// After they were read, before they are published.
    Publishing,
    /// After they were published, before the hold hears of it.
    Published,
}

#[derive(Debug)]
pub(crate) struct StallingStore {
    store: Arc<dyn ObjectStore>,
    step: Step,
    arrived: watch::Sender<bool>,
    open: watch::Sender<bool>,
    /// Times that the step still fails, once it is open.
    failures: AtomicU32,
}

impl StallingStore {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, step: Step) -> Arc<Self> {
        Arc::new(Self {
            store,
            step,
            arrived: watch::Sender::new(false),
            open: watch::Sender::new(false),
            failures: AtomicU32::new(0),
        })
    }

    pub(crate) fn fail(&self, times: u32) {
        self.failures.store(times, Ordering::SeqCst);
    }

    pub(crate) fn go_on(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn arrived(&self) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived).await.expect("the store");
    }

    async fn at(&self, step: Step) -> Result<(), StoreError> {
        if step != self.step {
            return Ok(());
        }
        self.arrived.send_replace(true);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the store");
        let left = |failures: u32| failures.checked_sub(1);
        match self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
        {
            Ok(_) => Err(StoreError::Unavailable {
                action: "work",
                source: "the service is down".into(),
            }),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl ObjectStore for StallingStore {
    fn traits(&self) -> StoreTraits {
        self.store.traits()
    }

    async fn begin(&self, key: &ObjectKey, algorithm: Algorithm) -> Result<StoreUpload, StoreError> {
        self.store.begin(key, algorithm).await
    }

    async fn part_url(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError> {
        self.store.part_url(upload, part_number, expires_at).await
    }

    async fn measure(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Option<u64>, StoreError> {
        self.store.measure(upload, parts).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Assembled, StoreError> {
        self.at(Step::Joining).await?;
        self.store.assemble(upload, parts).await
    }

    async fn read_assembled(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        self.at(Step::Reading).await?;
        self.store.read_assembled(upload, assembled, range).await
    }

    async fn publish(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        self.at(Step::Publishing).await?;
        self.store.publish(upload, assembled, key).await?;
        self.at(Step::Published).await
    }

    async fn discard(&self, upload: &StoreUpload) -> Result<(), StoreError> {
        self.store.discard(upload).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        self.store.stat(key).await
    }

    async fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError> {
        self.store.download_url(key, method, expires_at).await
    }

    async fn list_unfinished(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        self.store.list_unfinished(limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
