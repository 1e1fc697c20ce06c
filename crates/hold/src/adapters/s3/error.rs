//! The SDK's errors → the port's.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::blobs::StoreError;

/// Whether the service says that what was asked for is not there. A `HEAD` has no body to say it with, only a status.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error.code() {
        Some("NoSuchKey" | "NoSuchUpload" | "NotFound") => true,
        Some(_) => false,
        None => error
            .raw_response()
            .is_some_and(|response| response.status().as_u16() == 404),
    }
}

pub(super) fn unavailable<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    StoreError::unavailable(action, error)
}
