//! A document in memory that is counted: checked against its hash, and sent to a client that has a minute for it.

use std::time::Duration;

use atcr_atproto::data_model::{RAW, cid_of_sha256};
use atcr_atproto::egress::SharePermit;
use atcr_atproto::syntax::{Cid, Did};
use atcr_server::Shutdown;
use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::NoDocument;

/// How long a client may take for a document.
const DOWNLOAD: Duration = Duration::from_mins(1);
/// Bytes that wait for the client at once.
const PIECE: usize = 64 * 1024;

/// A document as the hold gave it, in memory that is counted.
pub(super) struct ReadDocument {
    pub(super) bytes: Bytes,
    pub(super) cid: Cid,
    pub(super) hold: Did,
    pub(super) _room: SharePermit,
}

impl ReadDocument {
    /// The same if its bytes hash to what names it. It takes as long as tasks must not.
    pub(super) fn checked(self) -> Result<Self, NoDocument> {
        let hash: [u8; 32] = Sha256::digest(&self.bytes).into();
        if cid_of_sha256(RAW, &hash) == self.cid {
            return Ok(self);
        }
        tracing::info!(hold = %self.hold, "a document of a scan is not what its hash says");
        Err(NoDocument::Unreadable)
    }
}

/// A document on its way to a client.
#[derive(Debug)]
pub struct Download {
    /// How long it is, in bytes.
    pub length: usize,
    pieces: mpsc::Receiver<Bytes>,
}

/// Memory for an answer to a client.
#[derive(Debug)]
pub struct Sending {
    room: SharePermit,
    tasks: Shutdown,
}

impl Sending {
    pub(super) const fn new(room: SharePermit, tasks: Shutdown) -> Self {
        Self { room, tasks }
    }

    /// Sends `bytes`, as [`Download::start`] does.
    #[must_use]
    pub fn start(mut self, bytes: Bytes) -> Download {
        self.room.shrink_to(bytes.len());
        Download::start(bytes, self.room, &self.tasks)
    }
}

impl Download {
    /// Sends `bytes`, whose memory is `room`, to a client that takes them within a minute; one that does not is cut off, which it sees by the
    /// length. The memory is free when the stream has ended, was dropped, or the minute is over.
    pub(super) fn start(mut bytes: Bytes, room: SharePermit, tasks: &Shutdown) -> Self {
        let (told, pieces) = mpsc::channel(1);
        let length = bytes.len();
        tasks.spawn(async move {
            let sending = async {
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(PIECE));
                    // A copy: what waits for the client does not keep all of it.
                    if told.send(Bytes::copy_from_slice(&piece)).await.is_err() {
                        break;
                    }
                }
            };
            let in_time = tokio::time::timeout(DOWNLOAD, sending).await.is_ok();
            tracing::debug!(in_time, "a document of a scan was sent");
            drop((bytes, room));
        });
        Self { length, pieces }
    }

    /// Its bytes.
    pub fn into_stream(mut self) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
        futures_util::stream::poll_fn(move |context| {
            self.pieces.poll_recv(context).map(|piece| piece.map(Ok))
        })
    }
}
