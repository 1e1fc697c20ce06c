//! Proofs that the policy said yes: only this module's parent makes them, and use cases take them as arguments.

use std::fmt;

use atcr_atproto::syntax::Did;

use super::permission::Permission;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::BlobRead {}
    impl Sealed for super::BlobWrite {}
    impl Sealed for super::CrewAdmin {}
}

/// Something a caller may be allowed to do in a hold.
pub trait Action: sealed::Sealed {
    /// The name that a refusal mentions.
    const NAME: &'static str;
    /// The permissions of which one suffices, as a refusal names them.
    const REQUIRED: &'static [Permission];
    /// The caller that the proof names. An anonymous caller may only read a public hold.
    type Subject: Clone + fmt::Debug + Send + Sync;
}

/// Reading blobs.
#[derive(Clone, Copy, Debug)]
pub enum BlobRead {}

/// Uploading blobs, and telling the hold about manifests.
#[derive(Clone, Copy, Debug)]
pub enum BlobWrite {}

/// Managing the crew and the hold's own records.
#[derive(Clone, Copy, Debug)]
pub enum CrewAdmin {}

impl Action for BlobRead {
    const NAME: &'static str = "blob:read";
    const REQUIRED: &'static [Permission] = &[Permission::BlobRead, Permission::BlobWrite];
    type Subject = Option<Did>;
}

impl Action for BlobWrite {
    const NAME: &'static str = "blob:write";
    const REQUIRED: &'static [Permission] = &[Permission::BlobWrite];
    type Subject = Did;
}

impl Action for CrewAdmin {
    const NAME: &'static str = "crew:admin";
    const REQUIRED: &'static [Permission] = &[Permission::CrewAdmin];
    type Subject = Did;
}

/// Proof that `A` was allowed, and to whom.
#[derive(Clone, Debug)]
pub struct Granted<A: Action> {
    subject: A::Subject,
}

impl<A: Action> Granted<A> {
    pub(super) fn new(subject: A::Subject) -> Self {
        Self { subject }
    }

    /// Who was allowed: a DID, or `None` for an anonymous reader.
    #[must_use]
    pub fn subject(&self) -> &A::Subject {
        &self.subject
    }
}
