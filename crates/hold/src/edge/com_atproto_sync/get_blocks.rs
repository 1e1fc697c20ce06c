//! `com.atproto.sync.getBlocks`.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Cid;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use atcr_repo::car;
use atcr_server::address_gate::Exempt;
use atcr_server::client_address::ClientAddress;
use atcr_server::client_places::ClientPlaces;
use atcr_server::stream_limits::ClientStreams;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use url::form_urlencoded;

use super::{CAR, require_own};
use crate::edge::error::EdgeError;

/// Blocks of one answer.
const MAX_BLOCKS: usize = 200;
/// Bytes of one answer, more by at most one block.
const MAX_BYTES: usize = 5_000_000;

/// Answers at once, those of them to one client, and how long one may take.
const AT_ONCE: usize = 32;
const OF_CLIENT: usize = 4;
const WITHIN: Duration = Duration::from_mins(2);
/// Bytes that are handed to the connection at once.
const PIECE: usize = 64 * 1024;

/// Answers under way: each takes the memory of its blocks.
#[derive(Clone, Debug)]
pub struct BlockAnswers(ClientStreams);

impl BlockAnswers {
    /// Clients that are `exempt` have places of their own.
    #[must_use]
    pub fn new(exempt: Exempt) -> Self {
        Self(ClientStreams::new(
            ClientPlaces::new(AT_ONCE, OF_CLIENT, exempt),
            WITHIN,
        ))
    }
}

/// A CAR without a root that has the blocks named, each once, which must all be of the repository as it is now.
pub async fn get_blocks(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    State(answers): State<BlockAnswers>,
    client: Option<Extension<ClientAddress>>,
    RawQuery(query): RawQuery,
) -> Result<Response, EdgeError> {
    let invalid = |message: String| EdgeError::InvalidRequest { message };
    let (mut did, mut cids) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "did" => did = Some(value.into_owned()),
            "cids" if cids.len() == MAX_BLOCKS => {
                return Err(invalid(format!("at most {MAX_BLOCKS} blocks are sent at once")));
            }
            "cids" => cids.push(
                value
                    .parse::<Cid>()
                    .map_err(|_| invalid(format!("cids: {value:?} is no CID")))?,
            ),
            _ => {}
        }
    }
    let did = did.ok_or_else(|| invalid("did is missing".to_owned()))?;
    require_own(&identity, &did)?;
    if cids.is_empty() {
        return Err(invalid("cids is missing".to_owned()));
    }
    let client = client.map(|Extension(client)| client);
    let slot = answers
        .0
        .admit(client.as_ref())
        .map_err(EdgeError::TooManyExports)?;
    let mut answer = Vec::new();
    car::write_header_without_root(&mut answer);
    let mut sent = HashSet::new();
    for cid in cids.into_iter().filter(|cid| sent.insert(*cid)) {
        // One by one, so that the bound holds whatever their sizes are.
        let found = repo.get_blocks(&[cid]).await?.pop();
        let block = found.ok_or(EdgeError::BlockNotFound(cid))?;
        car::write_block(&mut answer, &block.cid, &block.bytes);
        if answer.len() > MAX_BYTES {
            return Err(invalid(format!(
                "these blocks have more than {MAX_BYTES} bytes; ask for fewer"
            )));
        }
    }
    let length = answer.len();
    let mut rest = Bytes::from(answer);
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some(Ok::<_, io::Error>(piece))
    });
    let body = Body::from_stream(slot.bound(stream::iter(pieces)));
    Ok(([(CONTENT_TYPE, CAR)], [(CONTENT_LENGTH, length)], body).into_response())
}
