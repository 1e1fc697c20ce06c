//! What is proven of an image without trusting its registry: that its author's account signed a repository which has the image's
//! record, and that the record is of these bytes.
//!
//! Pure: [`verify`] takes what was fetched, the DID document that the account is judged by, and `now`. [`gather`] says which records
//! are fetched, from a [`EvidenceSource`] that the caller has.
//!
//! | Step | Refused as |
//! |---|---|
//! | the CAR's blocks hash to their names | `WrongHash`, `Malformed`, `TooLong` |
//! | its root is a commit of the account, signed by the document's `#atproto` key | `AnotherAccount`, `BadSignature`, `NoKey` |
//! | its revision is no older than asked, and not of the future | `OlderRevision`, `FromTheFuture` |
//! | the tree that it names leads to the record | `BrokenPath`, `NoSuchRecord`, `RecordMissing` |
//! | the record is of this repository, tag and digest, under the image's key | `RecordMalformed`, `AnotherKey`, `AnotherImage` |
//! | the manifest's bytes hash to the record's digest | `BytesDiffer` |
//!
//! What it does not prove: when the record was first written (`createdAt` is the author's word; the commit's revision is the time of
//! the account's newest commit), and what is in blobs that nobody hashed.
//!
//! # Spec
//! atproto specs "Repository", "Sync": authenticating a record by its proof.

mod gather;
mod image;
mod record;
mod refusal;

pub use gather::{EvidenceSource, GatherError, gather};
pub use image::{Evidence, Expected, RecordEvidence, Statement, Verdict, verify};
pub use record::{MAX_PROOF_BYTES, ProvenRecord, RecordClaim, record};
pub use refusal::Refusal;
