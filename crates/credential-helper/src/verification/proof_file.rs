//! Evidence in a file, for a check without network, and what the account's key is believed by there.
//!
//! The file is JSON. Nothing in it is believed as such: the records are signed by the account's key, and the key is one that the
//! operations of a did:plc gave it at some time; the DID is the hash of the first. For another DID the user gives the key. What a file
//! cannot tell is whether the key has been replaced, whose handle it is, and whether something changed after it was made.

use std::path::Path;

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::identity::DidDocument;
use atcr_atproto::plc::PlcLog;
use atcr_atproto::syntax::{AtIdentifier, Datetime, Did, RecordKey};
use atcr_oci::{MAX_MANIFEST_BYTES, Reference};
use atcr_repo::car;
use atcr_repo::provenance::{Evidence, MAX_PROOF_BYTES, RecordEvidence};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::image_name::{ImageName, registry_name};
use super::{Refused, Unchecked, Unproven, read_at_most};
use crate::file::{self, Access, FileError};

/// The form that is written and read.
const FORM: &str = "atcr-proof/1";

/// Longest file that is read, 16 MiB: two proofs, a manifest and a DID's operations at their longest, in base64.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// By what the account's key is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The DID document, from the DID's directory or host, now.
    Document,
    /// Operations of the DID in the file: a key that it had at some time. Who makes a file may leave out the newest.
    Operations,
    /// The user.
    Given,
}

/// A proof file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProofFile {
    form: Form,
    /// The account as it was named, whose handle proves nothing.
    identity: AtIdentifier,
    repository: String,
    reference: Reference,
    did: Did,
    /// When it was made, by the clock of whoever made it.
    saved_at: Datetime,
    /// The audit log of a did:plc, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operations: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<RecordFile>,
    manifest: RecordFile,
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    manifest_bytes: Bytes,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Form {
    #[serde(rename = "atcr-proof/1")]
    One,
}

/// A record's proof, a CAR.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RecordFile {
    rkey: RecordKey,
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    proof: Bytes,
}

impl RecordFile {
    fn of(evidence: &RecordEvidence) -> Self {
        Self {
            rkey: evidence.rkey.clone(),
            proof: evidence.proof.clone(),
        }
    }

    fn evidence(&self) -> RecordEvidence {
        RecordEvidence {
            rkey: self.rkey.clone(),
            proof: self.proof.clone(),
        }
    }
}

impl ProofFile {
    /// The file about `image` of `did`. `operations` is the audit log of a did:plc, as the directory gives it.
    #[must_use]
    pub fn new(
        image: &ImageName,
        did: &Did,
        evidence: &Evidence,
        operations: Option<&Bytes>,
        now: Datetime,
    ) -> Self {
        let proves = |text: &&Bytes| PlcLog::read(did, text).is_ok();
        let operations = operations
            .filter(proves)
            .and_then(|text| serde_json::from_slice(text).ok());
        Self {
            form: Form::One,
            identity: image.identity.clone(),
            repository: image.repository.clone(),
            reference: image.reference.clone(),
            did: did.clone(),
            saved_at: now,
            operations,
            tag: evidence.tag.as_ref().map(RecordFile::of),
            manifest: RecordFile::of(&evidence.manifest),
            manifest_bytes: evidence.bytes.clone(),
        }
    }

    /// Whether the file alone proves the account's key.
    #[must_use]
    pub fn proves_key(&self) -> bool {
        self.operations.is_some()
    }

    /// Writes it. Every user may read what is public.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).map_err(std::io::Error::from);
        let text = text.map_err(FileError::new("write", path))?;
        file::replace(path, &text, Access::Kept)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Unchecked::File`], also for an image that no registry can have: its name is shown.
    pub fn read(path: &Path) -> Result<Self, Unchecked> {
        let text = read_at_most(path, MAX_FILE_BYTES)?;
        let unusable =
            |reason: String| Unchecked::file(path, format_args!("no proof of the form {FORM}: {reason}"));
        if car::read_header(&text).is_some() {
            return Err(unusable(
                "it is a CAR, the proof of one record; --save-proof writes what --proof reads".to_owned(),
            ));
        }
        let file: Self = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        registry_name(&file.identity, &file.repository).map_err(|error| unusable(error.to_string()))?;
        Ok(file)
    }

    /// The image that it says it is about, at `registry`.
    #[must_use]
    pub fn image(&self, registry: &crate::registry_url::RegistryUrl) -> ImageName {
        ImageName {
            registry: registry.clone(),
            identity: self.identity.clone(),
            repository: self.repository.clone(),
            reference: self.reference.clone(),
            unchecked_tag: None,
        }
    }

    /// What it brings forward.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        Evidence {
            tag: self.tag.as_ref().map(RecordFile::evidence),
            manifest: self.manifest.evidence(),
            bytes: self.manifest_bytes.clone(),
        }
    }

    /// When it was made, as it says.
    #[must_use]
    pub fn saved_at(&self) -> &Datetime {
        &self.saved_at
    }

    /// The account's document as far as the file or `key` prove it, for `image`.
    ///
    /// # Errors
    /// [`Refused`] if the file is of another account than `image` names, or its operations prove nothing; [`Unchecked::NoAnchor`] without
    /// operations and `key`.
    pub fn document(
        &self,
        image: &ImageName,
        key: Option<&PublicKey>,
    ) -> Result<(DidDocument, Anchor), Unproven> {
        if let AtIdentifier::Did(did) = &image.identity
            && did.normalised() != self.did.normalised()
        {
            return Err(Refused::OtherAccount {
                found: self.did.clone(),
            }
            .into());
        }
        let proven = match &self.operations {
            Some(text) => {
                let log = PlcLog::read(&self.did, text.get().as_bytes()).map_err(Refused::from)?;
                Some(DidDocument::of_plc(&self.did, &log.data()))
            }
            None => None,
        };
        if let (AtIdentifier::Handle(handle), Some(document)) = (&image.identity, &proven)
            && document.claimed_handle().as_ref() != Some(handle)
        {
            return Err(Refused::HandleNotClaimed {
                did: self.did.clone(),
                handle: handle.clone(),
            }
            .into());
        }
        match (key, proven) {
            (Some(key), _) => Ok((DidDocument::of_key(&self.did, key.clone()), Anchor::Given)),
            (None, Some(document)) => Ok((document, Anchor::Operations)),
            (None, None) => Err(Unchecked::NoAnchor(self.did.clone()).into()),
        }
    }
}

fn write_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| serde::de::Error::custom("not base64"))?;
    if bytes.len() > MAX_PROOF_BYTES.max(MAX_MANIFEST_BYTES) {
        return Err(serde::de::Error::custom("too long"));
    }
    Ok(bytes.into())
}
