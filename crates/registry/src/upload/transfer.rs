//! Carries the bytes of one request from the client to the store.
//!
//! Works on a copy of the session: only when everything has arrived does [`crate::upload::Uploads`] make that copy the session's state.
//! Two ways lead to a store:
//!
//! - a **streaming** store takes the request's body as one part, as it comes, as long as requests do not use up the numbers of
//!   parts;
//! - any **other** wants parts of known length and a minimum size. The bytes go to the spool, full parts are sent while the
//!   next one fills, and what is less than a part stays in the spool until more comes or the upload is finished.

use std::sync::Arc;

use atcr_server::pieces::Piece;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::blob::ports::{PartBody, PartTarget, StoreTraits, UploadedPart};
use crate::error::{BlobError, RegistryError, UploadError};
use crate::hold::error::HoldError;
use crate::upload::Uploads;
use crate::upload::chunks::ChunkReader;
use crate::upload::hash::UploadHash;
use crate::upload::part_sender::PartSender;
use crate::upload::part_stream::{Closed, feed};
use crate::upload::ports::SpoolWriter;
use crate::upload::schedule::{MAX_BLOB_BYTES, MAX_PARTS, PartSchedule};
use crate::upload::session::{RemoteUpload, UploadSession};

/// Full parts on their way at once, besides the one that fills.
const PARTS_IN_FLIGHT: usize = 2;

/// Parts that a streaming store takes as the requests bring them. A client that sends a large blob in small chunks would run out
/// of part numbers; beyond this its chunks fill parts of the schedule, which needs 9,600 of them for the largest blob.
const STREAMED_PARTS: usize = 300;

/// One request's work on a session.
pub(super) struct Transfer<'a> {
    uploads: &'a Uploads,
    /// The working copy.
    pub(super) session: UploadSession,
    /// The session has a row that outlives this request.
    persistent: bool,
    first_part: Option<PartTarget>,
    /// The spooled part that holds acknowledged bytes: it stays, even when it has been sent, until the session has moved on.
    pub(super) kept_part: Option<u32>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(uploads: &'a Uploads, session: UploadSession, persistent: bool) -> Self {
        Self {
            uploads,
            session,
            persistent,
            first_part: None,
            kept_part: None,
        }
    }

    /// Takes in everything that `reader` has. `len` is the length of that in bytes, if known; `whole` says that it is the whole
    /// blob.
    pub(super) async fn take_in(
        &mut self,
        reader: &mut ChunkReader,
        len: Option<u64>,
        whole: bool,
    ) -> Result<(), RegistryError> {
        let Some(first) = reader.next().await? else {
            return Ok(());
        };
        let size = len.filter(|_| whole);
        let wants_parts = self
            .uploads
            .stores
            .get(&self.session.hold.did)
            .is_some_and(|traits| !traits.streaming);
        if self.session.remote.is_none() && !wants_parts {
            self.begin(size).await?;
        }
        if self.takes_as_it_comes(len) {
            self.send_tail().await?;
            self.stream_in(first, reader, len).await
        } else {
            self.spool_in(first, reader, size).await
        }
    }

    /// Whether a body of `len` bytes goes to the store as one part while it arrives.
    fn takes_as_it_comes(&self, len: Option<u64>) -> bool {
        let streaming = self
            .session
            .remote
            .as_ref()
            .is_some_and(|remote| remote.traits.streaming);
        streaming
            && (self.session.parts.len() < STREAMED_PARTS
                || len.is_some_and(|len| len >= self.part_len(self.session.stored())))
    }

    /// Sends what is left in the spool, and an empty part for an empty blob: no store completes an upload without parts.
    pub(super) async fn flush(&mut self, size: Option<u64>) -> Result<(), RegistryError> {
        if self.session.remote.is_none() {
            self.begin(size).await?;
        }
        if self.session.parts.is_empty() && self.session.tail_len() == 0 {
            let part = self.sender()?.send_spooled(1, 0, self.first_part.take()).await?;
            self.session.parts.push(part);
        }
        self.send_tail().await
    }

    /// Begins the upload at the hold.
    async fn begin(&mut self, size: Option<u64>) -> Result<(), RegistryError> {
        // Not the session's own name: that is the client's secret.
        let temporary_id = format!("uploads/temp-{}", Uuid::new_v4());
        let (hold, uploads, temporary_id) = (&self.session.hold, self.uploads, temporary_id.as_str());
        let begun = uploads
            .access
            .as_user(&self.session.principal(), hold, |token| async move {
                uploads
                    .gateway
                    .begin_upload(hold, &token, temporary_id, size)
                    .await
            })
            .await
            .map_err(|error| error.at(hold))?;
        uploads.stores.insert(hold.did.clone(), begun.traits);
        if begun.traits.hashes && self.session.offset == 0 {
            self.session.hash = UploadHash::left_to_the_hold();
            self.session.tail_hash = UploadHash::left_to_the_hold();
        }
        let remote = RemoteUpload {
            id: begun.upload_id,
            traits: begun.traits,
        };
        // Written down at once, so that whatever becomes of this request the upload at the hold is gone on with or given up.
        if self.persistent && !uploads.sessions.begun(&self.session.id, &remote).await? {
            return Err(self.unknown());
        }
        self.first_part = begun.first_part;
        self.session.remote = Some(remote);
        Ok(())
    }

    async fn send_tail(&mut self) -> Result<(), RegistryError> {
        let len = self.session.tail_len();
        if len > 0 {
            let number = self.next_part()?;
            let target = self.first_part.take().filter(|_| number == 1);
            let part = self.sender()?.send_spooled(number, len, target).await?;
            self.session.parts.push(part);
            self.session.tail_hash = self.session.hash.clone();
        }
        Ok(())
    }

    async fn stream_in(
        &mut self,
        first: Piece,
        reader: &mut ChunkReader,
        len: Option<u64>,
    ) -> Result<(), RegistryError> {
        let number = self.next_part()?;
        let target = match self.first_part.take() {
            Some(target) if number == 1 => target,
            _ => {
                let sender = self.sender()?;
                sender
                    .target(number)
                    .await
                    .map_err(|error| sender.explain(error))?
            }
        };
        let mut hash = self.session.hash.clone();
        let mut room = MAX_BLOB_BYTES.saturating_sub(self.session.offset);
        // In a block of its own: what borrows the hash and the reader ends with it.
        let (etag, complete) = {
            let (feed, bytes) = feed();
            let send = self.uploads.gateway.send_part(&target, PartBody { len, bytes });
            let pump = async {
                let mut piece = Some(first);
                let mut given = 0;
                while let Some(next) = piece {
                    given += next.len() as u64;
                    room = room.checked_sub(next.len() as u64).ok_or_else(too_large)?;
                    hash.update(&next);
                    if let Err(Closed) = feed.give(next).await {
                        return Ok(false);
                    }
                    piece = reader.next().await?;
                }
                // A request of known length is over with its last byte: no reader may be left for the end.
                Ok::<bool, RegistryError>(feed.finish().await.is_ok() || len == Some(given))
            };
            tokio::pin!(send, pump);
            tokio::select! {
                pumped = &mut pump => {
                    let complete = pumped?;
                    (send.await, complete)
                }
                sent = &mut send => match sent {
                    Ok(etag) => (Ok(etag), pump.await?),
                    Err(error) => (Err(error), false),
                },
            }
        };
        let etag = match etag {
            Ok(etag) if complete => etag,
            Ok(_) => {
                return Err(HoldError::Malformed {
                    what: "patience for the whole part",
                }
                .at(&self.session.hold));
            }
            Err(error) => return Err(self.sender()?.explain(error.into())),
        };
        self.session.hash = hash;
        self.session.tail_hash = self.session.hash.clone();
        let size = reader.received();
        self.session.offset += size;
        self.session.parts.push(UploadedPart { number, etag, size });
        Ok(())
    }

    async fn spool_in(
        &mut self,
        first: Piece,
        reader: &mut ChunkReader,
        size: Option<u64>,
    ) -> Result<(), RegistryError> {
        let mut sending = Sending {
            tasks: JoinSet::new(),
            done: Vec::new(),
        };
        let number = self.session.next_part();
        self.kept_part = Some(number);
        let mut filling = Filling {
            number,
            start: self.session.stored(),
            len: self.session.tail_len(),
            writer: None,
        };
        let mut target_len = self.part_len(filling.start);
        let mut piece = Some(first);
        while let Some(mut rest) = piece {
            while !rest.is_empty() {
                let room = usize::try_from(target_len.saturating_sub(filling.len)).unwrap_or(usize::MAX);
                let taken = rest.split_to(room);
                if !taken.is_empty() {
                    self.session.offset += taken.len() as u64;
                    if self.session.offset > MAX_BLOB_BYTES {
                        return Err(too_large());
                    }
                    self.session.hash.update(&taken);
                    filling.append(self.uploads, &self.session, taken).await?;
                }
                if filling.len >= target_len {
                    filling.flush().await?;
                    self.session.tail_hash = self.session.hash.clone();
                    self.dispatch(&mut sending, filling.number, filling.len, size)
                        .await?;
                    filling = filling.following()?;
                    target_len = self.part_len(filling.start);
                }
            }
            piece = reader.next().await?;
        }
        filling.flush().await?;
        while sending.settle_one().await? {}
        sending.done.sort_by_key(|part| part.number);
        self.session.parts.append(&mut sending.done);
        Ok(())
    }

    /// Sets a full part on its way, after waiting for a place.
    async fn dispatch(
        &mut self,
        sending: &mut Sending,
        number: u32,
        len: u64,
        size: Option<u64>,
    ) -> Result<(), RegistryError> {
        if self.session.remote.is_none() {
            self.begin(size).await?;
        }
        // A hold may have changed its store since it was last asked: a streaming one wants its parts in order.
        let in_order = self
            .session
            .remote
            .as_ref()
            .is_some_and(|remote| remote.traits.streaming);
        let most = if in_order { 1 } else { PARTS_IN_FLIGHT };
        while sending.tasks.len() >= most {
            sending.settle_one().await?;
        }
        let sender = self.sender()?;
        let target = self.first_part.take().filter(|_| number == 1);
        let keep = self.kept_part == Some(number);
        sending.tasks.spawn(async move {
            let part = sender.send_spooled(number, len, target).await?;
            if !keep {
                sender.spool.discard_part(&sender.session, number).await?;
            }
            Ok(part)
        });
        Ok(())
    }

    fn part_len(&self, offset: u64) -> u64 {
        let begun = self.session.remote.as_ref().map(|remote| remote.traits);
        let traits = begun.or_else(|| self.uploads.stores.get(&self.session.hold.did));
        PartSchedule::for_store(&traits.unwrap_or_else(StoreTraits::assumed)).part_size(offset)
    }

    fn unknown(&self) -> RegistryError {
        RegistryError::Upload(UploadError::Unknown {
            session: self.session.id.clone(),
        })
    }

    fn next_part(&self) -> Result<u32, RegistryError> {
        let number = self.session.next_part();
        if number > MAX_PARTS {
            Err(too_many_parts())
        } else {
            Ok(number)
        }
    }

    fn sender(&self) -> Result<Arc<PartSender>, RegistryError> {
        let remote = self.session.remote.as_ref().ok_or_else(|| self.unknown())?;
        Ok(Arc::new(PartSender {
            gateway: Arc::clone(&self.uploads.gateway),
            access: self.uploads.access.clone(),
            spool: Arc::clone(&self.uploads.spool),
            principal: self.session.principal(),
            session: self.session.id.clone(),
            hold: self.session.hold.clone(),
            upload_id: remote.id.clone(),
        }))
    }
}

/// The part that takes in bytes.
struct Filling {
    number: u32,
    start: u64,
    len: u64,
    writer: Option<Box<dyn SpoolWriter>>,
}

impl Filling {
    async fn append(
        &mut self,
        uploads: &Uploads,
        session: &UploadSession,
        piece: Piece,
    ) -> Result<(), RegistryError> {
        let len = piece.len() as u64;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(
                uploads
                    .spool
                    .append_to(&session.did, &session.id, self.number, self.len)
                    .await?,
            ),
        };
        writer.append(piece).await?;
        self.len += len;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RegistryError> {
        match self.writer.take() {
            Some(mut writer) => Ok(writer.flush().await?),
            None => Ok(()),
        }
    }

    fn following(self) -> Result<Self, RegistryError> {
        if self.number >= MAX_PARTS {
            return Err(too_many_parts());
        }
        Ok(Self {
            number: self.number + 1,
            start: self.start + self.len,
            len: 0,
            writer: None,
        })
    }
}

/// The parts on their way. Dropping it breaks them off.
struct Sending {
    tasks: JoinSet<Result<UploadedPart, RegistryError>>,
    done: Vec<UploadedPart>,
}

impl Sending {
    /// Waits for one part; `false` when none is under way.
    async fn settle_one(&mut self) -> Result<bool, RegistryError> {
        match self.tasks.join_next().await {
            None => Ok(false),
            Some(sent) => {
                let sent = sent.map_err(|error| RegistryError::Internal {
                    what: error.to_string(),
                })?;
                self.done.push(sent?);
                Ok(true)
            }
        }
    }
}

fn too_large() -> RegistryError {
    RegistryError::Blob(BlobError::SizeInvalid {
        reason: "a blob has at most 5 TiB".to_owned(),
    })
}

fn too_many_parts() -> RegistryError {
    RegistryError::Blob(BlobError::SizeInvalid {
        reason: "the upload came in more than 10,000 pieces".to_owned(),
    })
}
