//! The repository as CAR, in pieces.

use atcr_atproto::syntax::Tid;
use atcr_repo::car;
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use crate::blocks::View;
use crate::blocks::walk::{Step, Walk};
use crate::error::RepoError;
use crate::head::rev_number;
use crate::offload::blocking;

/// Pieces are about this long, and longer by at most one block.
const PIECE_BYTES: usize = 64 * 1024;

/// Where an export is.
enum State {
    Begin(Box<View>, Option<Tid>),
    Walking(Box<Walk>),
    Done,
}

/// The commit that is the newest now, then its blocks: with `since` those that came in after that revision.
pub(super) fn export(
    view: View,
    since: Option<Tid>,
) -> impl Stream<Item = Result<Bytes, RepoError>> + Send + 'static {
    stream::try_unfold(State::Begin(Box::new(view), since), |state| async move {
        blocking(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES + 1024);
            let state = match state {
                State::Begin(view, since) => start(*view, since.as_ref(), &mut piece)?,
                State::Walking(walk) => go_on(walk, &mut piece)?,
                State::Done => State::Done,
            };
            Ok((!piece.is_empty()).then(|| (Bytes::from(piece), state)))
        })
        .await
    })
}

fn start(view: View, since: Option<&Tid>, piece: &mut Vec<u8>) -> Result<State, RepoError> {
    let head = &view.head;
    car::write_header(piece, head.commit);
    if since.is_some_and(|since| head.rev <= *since) {
        return Ok(State::Done);
    }
    let commit = view.block(&head.commit)?;
    car::write_block(piece, &head.commit, &commit);
    let walk = match since {
        None => Walk::over_all(view),
        Some(since) => Walk::new(view, rev_number(since)),
    };
    Ok(State::Walking(Box::new(walk)))
}

fn go_on(mut walk: Box<Walk>, piece: &mut Vec<u8>) -> Result<State, RepoError> {
    while piece.len() < PIECE_BYTES {
        match walk.step()? {
            None => return Ok(State::Done),
            Some(Step::Node { cid, bytes, .. } | Step::Record { cid, bytes, .. }) => {
                car::write_block(piece, &cid, &bytes);
            }
        }
    }
    Ok(State::Walking(walk))
}
