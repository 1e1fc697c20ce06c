//! Accounts that a write makes captain or crew: whoever keeps a list of all that ever were is told before the write.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Did;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::HoldRepo;
use crate::error::RepoError;
use crate::writer::RecordWrite;

type Tell = dyn Fn(Vec<Did>) -> BoxFuture<'static, io::Result<()>> + Send + Sync;

/// Is told of accounts before a record makes them captain or crew, which is not written if that fails.
pub struct Newcomers(Box<Tell>);

impl Newcomers {
    /// Tells `tell`.
    pub fn new(
        tell: impl Fn(Vec<Did>) -> BoxFuture<'static, io::Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(tell))
    }
}

impl fmt::Debug for Newcomers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newcomers").finish_non_exhaustive()
    }
}

impl HoldRepo {
    /// From now on `newcomers` is told, on every clone. Only the first one that is given.
    pub fn tell_newcomers_to(&self, newcomers: Newcomers) {
        let _ = self.inner.newcomers.set(newcomers);
    }

    pub(super) async fn tell_of_newcomers(&self, writes: &[RecordWrite]) -> Result<(), RepoError> {
        let Some(newcomers) = self.inner.newcomers.get() else {
            return Ok(());
        };
        let accounts: Vec<Did> = writes.iter().filter_map(newcomer).collect();
        if accounts.is_empty() {
            return Ok(());
        }
        let told = (newcomers.0)(accounts).await;
        told.map_err(|error| RepoError::Disk {
            action: "note a new member in",
            path: PathBuf::from("the list of accounts"),
            source: Arc::new(error),
        })
    }
}

fn newcomer(write: &RecordWrite) -> Option<Did> {
    let (RecordWrite::Create {
        collection, value, ..
    }
    | RecordWrite::Put {
        collection, value, ..
    }) = write
    else {
        return None;
    };
    let field = match collection.as_str() {
        nsid::HOLD_CREW => "member",
        nsid::HOLD_CAPTAIN => "owner",
        _ => return None,
    };
    value.get(field).and_then(Value::as_str)?.parse().ok()
}
