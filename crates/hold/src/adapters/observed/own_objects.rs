//! The hold's own objects, observed.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::store::{SLOW_WHOLE_OBJECT, call, outcome};
use crate::blobs::{ObjectBytes, ObjectKey, StoreError};
use crate::repo_blobs::OwnObjects;

/// [`OwnObjects`] with every call to it observed as port `store`.
#[derive(Clone, Debug)]
pub struct ObservedOwnObjects(Arc<dyn OwnObjects>);

impl ObservedOwnObjects {
    /// Observes `objects`.
    #[must_use]
    pub fn new(objects: Arc<dyn OwnObjects>) -> Self {
        Self(objects)
    }
}

#[async_trait]
impl OwnObjects for ObservedOwnObjects {
    async fn put_file(&self, key: &ObjectKey, file: &Path, size: u64) -> Result<(), StoreError> {
        let call = call("put_file").slow_after(SLOW_WHOLE_OBJECT);
        call.run_with(self.0.put_file(key, file, size), outcome).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<(u64, ObjectBytes)>, StoreError> {
        call("read").run_with(self.0.read(key), outcome).await
    }

    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        call("remove").run_with(self.0.remove(key), outcome).await
    }
}
