//! Messages of `com.atproto.sync.subscribeRepos`, to and from the bytes of one WebSocket message.
//!
//! A message is two DAG-CBOR values one after the other: a header that says which kind, and the body.
//!
//! # Spec
//! atproto specs "Event Stream", framing; lexicon `com.atproto.sync.subscribeRepos`.

mod event;
mod glance;
mod labels;
mod wire;

pub use event::{AccountEvent, CommitEvent, IdentityEvent, Message, RecordOp, SyncEvent};
pub use glance::{Glance, GlancedEvent};
pub use labels::{LabelFrame, label_frame};
pub use wire::{EncodedCommit, error, info, is_identity};
