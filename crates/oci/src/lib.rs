//! The vocabulary of the OCI distribution and image specifications, for a server and for its clients.
//!
//! Contract: no I/O, no async, no clock. A value that exists is valid: every type with a grammar has one parser
//! (`FromStr`, and serde through the same check), keeps its text as it came and prints it back unchanged. Whatever
//! comes from a client is refused with an error that knows its spec code ([`ErrorCode`]) and status; nothing here
//! panics on input, and everything that grows with input is bounded.
//!
//! - names: [`RepositoryName`], [`Tag`], [`Digest`], [`Reference`], [`UploadSessionId`], [`MediaType`]
//! - documents: [`Descriptor`], [`Platform`], [`ImageManifest`], [`ImageIndex`], [`Manifest`] (verbatim bytes with a view)
//! - requests: [`RegistryRequest`] is parsed from a method and URL on the serving side and turned into one on the asking
//!   side, both from the grammar in [`path`]
//! - answers: [`ErrorResponse`], [`TagList`], [`CatalogBody`], [`header`], [`response_headers`], [`Page`]
//! - access: [`AccessScope`], [`BearerChallenge`]
//!
//! A new endpoint is a variant in `request.rs`, an arm in `parse.rs` and one in `url.rs`; the round-trip property test
//! in `tests/it` fails until the three agree.

mod access_scope;
mod challenge;
mod descriptor;
mod digest;
mod error;
mod error_code;
mod hasher;
pub mod header;
mod http_range;
mod image_index;
mod image_manifest;
mod json;
mod manifest;
mod media_range;
mod media_type;
mod pagination;
mod parse;
pub mod path;
mod platform;
mod reference;
mod repository_name;
mod request;
mod response;
pub mod response_headers;
mod tag;
mod text_serde;
mod upload_session_id;
mod url;

pub use access_scope::{AccessScope, MAX_SCOPES};
pub use challenge::BearerChallenge;
pub use descriptor::{Annotations, Descriptor};
pub use digest::{Algorithm, Digest};
pub use error::{
    InvalidAccessScope, InvalidChallenge, InvalidDigest, InvalidHasherState, InvalidMediaType,
    InvalidPlatform, InvalidRange, InvalidReference, InvalidRepositoryName, InvalidTag,
    InvalidUploadSessionId, ManifestError, RequestError,
};
pub use error_code::{ErrorCode, ErrorEntry, ErrorResponse};
pub use hasher::DigestHasher;
pub use http_range::{ByteRange, ContentRange, SatisfiedRange};
pub use image_index::ImageIndex;
pub use image_manifest::ImageManifest;
pub use manifest::{
    MAX_DESCRIPTORS, MAX_JSON_DEPTH, MAX_JSON_VALUES, MAX_MANIFEST_BYTES, Manifest, ManifestKind,
};
pub use media_range::{Accept, MediaRange};
pub use media_type::{ContentKind, MediaType};
pub use pagination::{Page, next_link, parse_next_link};
pub use platform::Platform;
pub use reference::Reference;
pub use repository_name::RepositoryName;
pub use request::{
    BlobRequest, MAX_EXTRA_TAGS, ManifestRequest, Mount, RegistryRequest, RepositoryRequest, UploadRequest,
};
pub use response::{CatalogBody, TagList};
pub use tag::Tag;
pub use upload_session_id::UploadSessionId;
pub use url::{
    blob_path, catalog_path, manifest_path, referrers_path, tags_path, upload_path, upload_start_path,
};
