//! The object store, observed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_oci::Algorithm;
use atcr_server::port_call::{Outcome, PortCall};
use chrono::{DateTime, Utc};

use crate::blobs::{
    Assembled, DownloadMethod, ObjectBytes, ObjectKey, ObjectStat, ObjectStore, PartTag, PartUrl,
    PresignedUrl, StoreError, StoreTraits, StoreUpload, Unfinished,
};

/// Joining and moving take time with the size of an object.
pub(super) const SLOW_WHOLE_OBJECT: Duration = Duration::from_secs(30);

/// [`ObjectStore`] with every call to it observed as port `store`. Signing asks nothing of the store and is not.
#[derive(Clone, Debug)]
pub struct ObservedStore(Arc<dyn ObjectStore>);

impl ObservedStore {
    /// Observes `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }
}

pub(super) fn call(operation: &'static str) -> PortCall<'static> {
    PortCall::new("store", operation)
}

/// A store that refuses what an uploader did wrong works well.
pub(super) fn outcome(error: &StoreError) -> Outcome {
    match error {
        StoreError::UnknownUpload | StoreError::PartMismatch { .. } | StoreError::PartTooSmall => {
            Outcome::Refused
        }
        StoreError::Full(_) | StoreError::Unavailable { .. } => Outcome::Failed,
    }
}

#[async_trait]
impl ObjectStore for ObservedStore {
    fn traits(&self) -> StoreTraits {
        self.0.traits()
    }

    async fn begin(&self, key: &ObjectKey, algorithm: Algorithm) -> Result<StoreUpload, StoreError> {
        call("begin")
            .run_with(self.0.begin(key, algorithm), outcome)
            .await
    }

    async fn part_url(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError> {
        self.0.part_url(upload, part_number, expires_at).await
    }

    async fn measure(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Option<u64>, StoreError> {
        call("measure")
            .run_with(self.0.measure(upload, parts), outcome)
            .await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Assembled, StoreError> {
        let call = call("assemble").slow_after(SLOW_WHOLE_OBJECT);
        call.run_with(self.0.assemble(upload, parts), outcome).await
    }

    async fn read_assembled(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        call("read_assembled")
            .run_with(self.0.read_assembled(upload, assembled, range), outcome)
            .await
    }

    async fn publish(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let call = call("publish").slow_after(SLOW_WHOLE_OBJECT);
        call.run_with(self.0.publish(upload, assembled, key), outcome)
            .await
    }

    async fn discard(&self, upload: &StoreUpload) -> Result<(), StoreError> {
        call("discard").run_with(self.0.discard(upload), outcome).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        call("stat").run_with(self.0.stat(key), outcome).await
    }

    async fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError> {
        self.0.download_url(key, method, expires_at).await
    }

    async fn list_unfinished(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        call("list_unfinished")
            .run_with(self.0.list_unfinished(limit), outcome)
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        call("ping").run_with(self.0.ping(), outcome).await
    }
}
