//! The codes of the specification and the body that carries them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An error code of the OCI specification (code-1 to code-14) or one of Docker's for server faults.
///
/// # Spec
/// distribution-spec v1.1, Error Codes. The table test pins the spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `BLOB_UNKNOWN`, code-1
    BlobUnknown,
    /// `BLOB_UPLOAD_INVALID`, code-2
    BlobUploadInvalid,
    /// `BLOB_UPLOAD_UNKNOWN`, code-3
    BlobUploadUnknown,
    /// `DIGEST_INVALID`, code-4
    DigestInvalid,
    /// `MANIFEST_BLOB_UNKNOWN`, code-5
    ManifestBlobUnknown,
    /// `MANIFEST_INVALID`, code-6
    ManifestInvalid,
    /// `MANIFEST_UNKNOWN`, code-7
    ManifestUnknown,
    /// `NAME_INVALID`, code-8
    NameInvalid,
    /// `NAME_UNKNOWN`, code-9
    NameUnknown,
    /// `SIZE_INVALID`, code-10
    SizeInvalid,
    /// `UNAUTHORIZED`, code-11
    Unauthorized,
    /// `DENIED`, code-12
    Denied,
    /// `UNSUPPORTED`, code-13
    Unsupported,
    /// `TOOMANYREQUESTS`, code-14
    TooManyRequests,
    /// `UNAVAILABLE`: a service that the registry needs does not answer. Docker's code, for 5xx only.
    Unavailable,
    /// `UNKNOWN`: a fault of the registry. Docker's, for 5xx only; also stands for every code that is not listed here.
    Unknown,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::SizeInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// The spelling on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    /// A code that is not listed reads as [`ErrorCode::Unknown`]: other registries have their own.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::ALL
            .into_iter()
            .find(|code| code.as_str() == text)
            .unwrap_or(Self::Unknown))
    }
}

/// One error of an [`ErrorResponse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// Which error.
    pub code: ErrorCode,
    /// A sentence for the person who reads the client's output; never internal text.
    #[serde(default)]
    pub message: String,
    /// Data for the client, free in form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// The body of an error answer, `{"errors":[{"code","message","detail"}]}`.
///
/// # Spec
/// distribution-spec v1.1, Error Codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// At least one.
    pub errors: Vec<ErrorEntry>,
}

impl ErrorResponse {
    /// The body with one error.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            errors: vec![ErrorEntry {
                code,
                message: message.into(),
                detail: None,
            }],
        }
    }

    /// The body with one error that has a `detail`.
    #[must_use]
    pub fn with_detail(code: ErrorCode, message: impl Into<String>, detail: Value) -> Self {
        Self {
            errors: vec![ErrorEntry {
                code,
                message: message.into(),
                detail: Some(detail),
            }],
        }
    }
}
