//! A message looked at before it is read: most of a relay's messages are about other applications, and are left after this.

use serde::Deserialize;

use super::wire::{KINDS, body_of, error_name};
use crate::error::DataError;

/// What a message is about. Nothing of it is checked but its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glance<'f> {
    /// A message with a number: a commit, a change of identity or status, the current state.
    Event(GlancedEvent<'f>),
    /// The host has something to say, such as `OutdatedCursor`. It has no number.
    Info(String),
    /// The stream ends, for example with `FutureCursor`.
    Error(String),
    /// A kind from after this was written.
    Unknown,
}

/// A message with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlancedEvent<'f> {
    /// Greater than that of every event before it.
    pub seq: u64,
    /// Whose it is.
    pub did: &'f str,
    /// When the host says it happened.
    pub time: &'f str,
    /// The revision, of a commit or a state.
    pub rev: Option<&'f str>,
    /// The records that a commit changes, `<collection>/<rkey>`; `None` for every other kind.
    pub paths: Option<Vec<&'f str>>,
}

#[derive(Deserialize)]
struct Body<'f> {
    seq: u64,
    did: Option<&'f str>,
    repo: Option<&'f str>,
    time: &'f str,
    rev: Option<&'f str>,
    #[serde(borrow)]
    ops: Option<Vec<Op<'f>>>,
}

#[derive(Deserialize)]
struct Op<'f> {
    path: &'f str,
}

#[derive(Deserialize)]
struct InfoBody {
    name: String,
}

impl<'f> Glance<'f> {
    /// Looks at a message.
    ///
    /// # Errors
    /// [`DataError::Malformed`].
    pub fn at(frame: &'f [u8]) -> Result<Self, DataError> {
        let malformed = |_| DataError::Malformed("the body of a message");
        if let Some(body) = body_of(frame, "#info") {
            let info: InfoBody = serde_ipld_dagcbor::from_slice(body).map_err(malformed)?;
            return Ok(Self::Info(info.name));
        }
        if let Some(error) = error_name(frame)? {
            return Ok(Self::Error(error));
        }
        let Some((kind, body)) = KINDS
            .into_iter()
            .find_map(|kind| body_of(frame, kind).map(|body| (kind, body)))
        else {
            // A header of another kind is a map of two as well.
            return if frame.first() == Some(&0xa2) {
                Ok(Self::Unknown)
            } else {
                Err(DataError::Malformed("the header of a message"))
            };
        };
        let body: Body<'f> = serde_ipld_dagcbor::from_slice(body).map_err(malformed)?;
        let is_commit = kind == "#commit";
        let did = if is_commit { body.repo } else { body.did };
        let ops = body.ops.unwrap_or_default();
        Ok(Self::Event(GlancedEvent {
            seq: body.seq,
            did: did.ok_or(DataError::Malformed("a message is about nobody"))?,
            time: body.time,
            rev: body.rev,
            paths: is_commit.then(|| ops.into_iter().map(|op| op.path).collect()),
        }))
    }
}
