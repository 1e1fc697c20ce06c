//! What handlers share.

use std::sync::Arc;

use crate::registry::blob::Blobs;
use crate::registry::upload::Uploads;

/// The use cases and settings that handlers reach; cloned per request, so every part is shared.
#[derive(Clone)]
pub struct AppState {
    /// Reading blobs.
    pub blobs: Arc<Blobs>,
    /// Writing blobs.
    pub uploads: Arc<Uploads>,
}
