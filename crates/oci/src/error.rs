//! Why a text was refused. Messages name the rule and never repeat the input.

use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::media_type::MediaType;

/// Not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidDigest {
    /// There is no colon between algorithm and digits.
    #[error("a digest has the form <algorithm>:<hexadecimal digits>")]
    Format,
    /// Neither sha256 nor sha512.
    #[error("the digest algorithm is not supported; use sha256 or sha512")]
    UnsupportedAlgorithm,
    /// Too short, too long, upper case, or no hexadecimal digits.
    #[error("the digest does not have its algorithm's number of lower-case hexadecimal digits")]
    Encoding,
}

/// Not a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRepositoryName {
    /// Against the specification's grammar.
    #[error(
        "a repository name has components of lower-case letters and digits, separated within by '.', '_', '__' or hyphens"
    )]
    Grammar,
    /// Longer than 255 characters.
    #[error("a repository name has at most 255 characters")]
    TooLong,
    /// A legal name for the specification, but of one component only: no account is named.
    #[error("repositories are named <identity>/<image>, such as alice.example.com/app")]
    NoIdentity,
}

/// Not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a tag has at most 128 letters, digits, '_', '.' and '-', and begins with none of the last two")]
pub struct InvalidTag;

/// Neither a tag nor a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidReference {
    /// Without a colon, so a tag was meant.
    #[error(transparent)]
    Tag(InvalidTag),
    /// With a colon, so a digest was meant.
    #[error(transparent)]
    Digest(InvalidDigest),
}

/// Not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a media type has the form type/subtype with the characters of RFC 6838")]
pub struct InvalidMediaType;

/// Not a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a platform has the form os/architecture or os/architecture/variant")]
pub struct InvalidPlatform;

/// Not an upload session id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an upload session id")]
pub struct InvalidUploadSessionId;

/// A saved hasher state that cannot be used: hash the content from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a saved hasher state")]
pub struct InvalidHasherState;

/// Not a range, or one that ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a range has the form <first>-<last>, both inclusive and the second not below the first")]
pub struct InvalidRange;

/// Not an access scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidAccessScope {
    /// Against the grammar.
    #[error("a scope has the form <type>:<name>:<action>[,<action>…]")]
    Grammar,
    /// More scopes than one request may ask for.
    #[error("too many scopes in one request")]
    TooMany,
}

/// Not a `WWW-Authenticate` header with a Bearer challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a Bearer challenge with a realm")]
pub struct InvalidChallenge;

/// Why bytes are not a manifest that this registry keeps. [`Manifest`](crate::Manifest) says what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// More than 4 MiB.
    #[error("the manifest is larger than {} bytes", crate::MAX_MANIFEST_BYTES)]
    TooLarge,
    /// Nested too deep.
    #[error("the manifest nests deeper than {} levels", crate::MAX_JSON_DEPTH)]
    TooDeep,
    /// More values than any manifest needs.
    #[error("the manifest has more than {} values", crate::MAX_JSON_VALUES)]
    TooManyValues,
    /// More layers or manifests than are kept.
    #[error("the manifest lists more than {} layers or manifests", crate::MAX_DESCRIPTORS)]
    TooManyDescriptors,
    /// No JSON, a field of a wrong type, a known field twice or in another case.
    #[error("the manifest is not valid: {reason}")]
    Malformed {
        /// What the parser found, with line and column.
        reason: String,
    },
    /// Not `"schemaVersion": 2`, or Docker's schema 1.
    #[error("the manifest is not of schema version 2")]
    SchemaVersion,
    /// The `Content-Type` header is no media type.
    #[error("the Content-Type header is not a media type")]
    ContentTypeInvalid,
    /// The header says one type and the body another.
    #[error("the Content-Type header says {declared}, the mediaType field says {stated}")]
    MediaTypeMismatch {
        /// From the header.
        declared: MediaType,
        /// From the body.
        stated: MediaType,
    },
    /// A field that the manifest's media type requires is absent.
    #[error("the manifest lacks the field {field}, which its media type requires")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// Both an image and an index: clients would disagree about what it is.
    #[error("the manifest has both manifests and config or layers")]
    Ambiguous,
    /// A foreign type, and neither an image nor an index: its references cannot be read.
    #[error("the manifest of type {media_type} has neither config, layers nor manifests")]
    Formless {
        /// The type.
        media_type: MediaType,
    },
}

impl ManifestError {
    /// The status to answer a push with: 413 or 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::TooDeep
            | Self::TooManyValues
            | Self::TooManyDescriptors
            | Self::Malformed { .. }
            | Self::SchemaVersion
            | Self::ContentTypeInvalid
            | Self::MediaTypeMismatch { .. }
            | Self::MissingField { .. }
            | Self::Ambiguous
            | Self::Formless { .. } => 400,
        }
    }

    /// The code to answer a push with: `SIZE_INVALID` or `MANIFEST_INVALID`.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self.status() {
            413 => ErrorCode::SizeInvalid,
            _ => ErrorCode::ManifestInvalid,
        }
    }
}

/// Why a request under `/v2/` was refused before anything was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No endpoint has this path. 404.
    #[error("no such endpoint")]
    UnknownEndpoint,
    /// The endpoint exists, but not for this method. 405 with `Allow`.
    #[error("the method is not supported here; use {allow}")]
    MethodNotAllowed {
        /// Value of the `Allow` header.
        allow: &'static str,
    },
    /// The repository name is against the grammar. 400 `NAME_INVALID`; a legal name of one component, which can name no
    /// repository here, is 404 `NAME_UNKNOWN`.
    #[error("invalid repository name: {0}")]
    Name(InvalidRepositoryName),
    /// A digest in path or query is invalid, or a required one is absent. 400 `DIGEST_INVALID`.
    #[error("invalid digest: {0}")]
    Digest(InvalidDigest),
    /// An upload is finished without saying which digest it has. 400 `DIGEST_INVALID`.
    #[error("the digest parameter is missing")]
    DigestMissing,
    /// No manifest can have this tag: reading or deleting it. 404 `MANIFEST_UNKNOWN`.
    #[error("no such manifest: {0}")]
    TagUnknown(InvalidTag),
    /// A manifest cannot be given this tag. 400 `MANIFEST_INVALID`.
    #[error("invalid tag: {0}")]
    Tag(InvalidTag),
    /// More than [`MAX_EXTRA_TAGS`](crate::MAX_EXTRA_TAGS) tags at once. 414 `UNSUPPORTED`.
    #[error("at most {} tags can be set with one request", crate::MAX_EXTRA_TAGS)]
    TooManyTags,
    /// Not a session id of ours. 404 `BLOB_UPLOAD_UNKNOWN`.
    #[error("no such upload; start it again")]
    UploadUnknown,
    /// An upload is to be hashed with an algorithm that is not supported. 400 `UNSUPPORTED`.
    #[error("the digest algorithm is not supported; use sha256 or sha512")]
    AlgorithmUnsupported,
    /// A query parameter is malformed or given twice. 400 `UNSUPPORTED`: the specification has no better code.
    #[error("the query parameter {parameter} is not valid")]
    Parameter {
        /// Its name.
        parameter: &'static str,
    },
}

impl RequestError {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownEndpoint
            | Self::Name(InvalidRepositoryName::NoIdentity)
            | Self::TagUnknown(_)
            | Self::UploadUnknown => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::TooManyTags => 414,
            Self::Name(InvalidRepositoryName::Grammar | InvalidRepositoryName::TooLong)
            | Self::Digest(_)
            | Self::DigestMissing
            | Self::Tag(_)
            | Self::AlgorithmUnsupported
            | Self::Parameter { .. } => 400,
        }
    }

    /// The code to answer with.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownEndpoint
            | Self::MethodNotAllowed { .. }
            | Self::TooManyTags
            | Self::AlgorithmUnsupported
            | Self::Parameter { .. } => ErrorCode::Unsupported,
            Self::Name(InvalidRepositoryName::NoIdentity) => ErrorCode::NameUnknown,
            Self::Name(InvalidRepositoryName::Grammar | InvalidRepositoryName::TooLong) => {
                ErrorCode::NameInvalid
            }
            Self::Digest(_) | Self::DigestMissing => ErrorCode::DigestInvalid,
            Self::TagUnknown(_) => ErrorCode::ManifestUnknown,
            Self::Tag(_) => ErrorCode::ManifestInvalid,
            Self::UploadUnknown => ErrorCode::BlobUploadUnknown,
        }
    }

    /// The `Allow` header of a 405.
    #[must_use]
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allow } => Some(allow),
            _ => None,
        }
    }
}
