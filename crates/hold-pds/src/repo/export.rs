//! The repository as CAR, in pieces.

use std::sync::Arc;

use atcr_atproto::syntax::Tid;
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::walk::{Step, Walk};
use crate::error::RepoError;
use crate::store::{Pin, Store};
use atcr_repo::car;

/// Pieces are about this long, and longer by at most one block.
const PIECE_BYTES: usize = 64 * 1024;

/// Where an export is.
enum State {
    Begin(Box<Begin>),
    Walking(Box<Walk>),
    Done,
}

/// The commit that is the newest now, then its blocks: with `since` those that came in after that revision.
pub(super) fn export(
    store: Arc<Store>,
    pin: Pin,
    since: Option<Tid>,
) -> impl Stream<Item = Result<Bytes, RepoError>> + Send + 'static {
    stream::try_unfold(State::Begin(Box::new((store, pin, since))), |state| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES + 1024);
        let state = match state {
            State::Begin(begin) => start(*begin, &mut piece).await?,
            State::Walking(walk) => go_on(walk, &mut piece).await?,
            State::Done => State::Done,
        };
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), state)))
    })
}

type Begin = (Arc<Store>, Pin, Option<Tid>);

async fn start((store, pin, since): Begin, piece: &mut Vec<u8>) -> Result<State, RepoError> {
    let head = pin.head();
    car::write_header(piece, head.commit);
    let known_seq = match since {
        None => 0,
        Some(since) => store.index.seq_at(since.as_str()).await?,
    };
    if head.seq <= known_seq {
        return Ok(State::Done);
    }
    let commit = store.block(head.commit).await?;
    car::write_block(piece, &head.commit, &commit);
    Ok(State::Walking(Box::new(Walk::new(store, pin, known_seq))))
}

async fn go_on(mut walk: Box<Walk>, piece: &mut Vec<u8>) -> Result<State, RepoError> {
    while piece.len() < PIECE_BYTES {
        match walk.step().await? {
            None => return Ok(State::Done),
            Some(Step::Node { cid, bytes, .. } | Step::Record { cid, bytes, .. }) => {
                car::write_block(piece, &cid, &bytes);
            }
        }
    }
    Ok(State::Walking(walk))
}
