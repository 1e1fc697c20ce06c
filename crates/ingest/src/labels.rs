//! Takedowns by the labeler that this server trusts.
//!
//! Labels are believed when the labeler's own key signed them. `!takedown` alone counts: on an account (`did:…`, `at://did:…`), or on one
//! repository, named by its page (`at://did:…/io.atcr.repo.page/<name>`). A negation lifts it.
//!
//! # Spec
//! atproto specs "Labels"; `com.atproto.label.subscribeLabels`.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{AtUri, Did};
use atcr_index::IndexError;
use atcr_index::change::{Batch, Step, TakedownStep};
use atcr_repo::firehose::{LabelFrame, label_frame};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use ipld_core::ipld::Ipld;
use serde::Deserialize;

use crate::Index;
use crate::follow::{FollowError, Intake, StreamError, Taken, Term, count};

/// The value that counts.
const TAKEDOWN: &str = "!takedown";

/// The only version of labels.
const VERSION: i64 = 1;

/// The key of the labeler's document that signs labels.
const KEY: &str = "atproto_label";

/// Takedowns into an index.
#[derive(Clone)]
pub struct Labels {
    labeler: Did,
    index: Index,
    identities: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Deserialize)]
struct Label {
    ver: Option<i64>,
    src: String,
    uri: String,
    val: String,
    neg: Option<bool>,
    cts: String,
    exp: Option<String>,
}

#[async_trait]
impl Intake for Labels {
    async fn begin(&self, _place: &str) -> Result<Term, IndexError> {
        let source = format!("labeler {}", self.labeler);
        let (epoch, cursor) = self.index.writer.take_source(&source).await?;
        Ok(Term {
            source,
            epoch,
            // All labels there ever were: an old takedown holds as well.
            cursor: Some(cursor.unwrap_or(0)),
            has_gap: false,
        })
    }

    async fn take(&self, term: &Term, frames: Vec<Bytes>) -> Result<Taken, FollowError> {
        let now = self.clock.now();
        let mut key = self.key(false).await?;
        let mut batch = Batch::default();
        let mut error = None;
        let (mut newest, mut cursor) = (None, None);
        for frame in &frames {
            match label_frame(frame) {
                Ok(LabelFrame::Labels { seq, labels }) => {
                    cursor = cursor.max(Some(seq));
                    for label in labels {
                        let Some(label) = self.read(&label, &mut key).await? else {
                            count(&term.source, "refused", 1);
                            continue;
                        };
                        newest = newest.max(Some(label.at));
                        batch.steps.push(Step::Takedown(TakedownStep {
                            at: label.at.min(now),
                            ..label
                        }));
                    }
                }
                Ok(LabelFrame::Other) => {}
                Ok(LabelFrame::Error(name)) => {
                    error = Some(name);
                    break;
                }
                Err(_) => count(&term.source, "unreadable", 1),
            }
        }
        count(&term.source, "applied", batch.steps.len());
        if error.as_deref() == Some("FutureCursor") {
            cursor = Some(0);
        }
        let cursor = cursor.map(|cursor| i64::try_from(cursor).unwrap_or(i64::MAX));
        batch.fence = Some(term.fence(cursor));
        self.index.writer.apply(&batch, now).await?;
        match error {
            None => Ok(Taken { newest }),
            Some(error) => Err(StreamError(format!("the labeler ends the stream: {error}")).into()),
        }
    }
}

impl Labels {
    /// Takedowns by `labeler` into `index`.
    #[must_use]
    pub fn new(
        labeler: Did,
        index: Index,
        identities: Arc<dyn IdentityResolver>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            labeler,
            index,
            identities,
            clock,
        }
    }

    async fn key(&self, anew: bool) -> Result<PublicKey, StreamError> {
        let document = if anew {
            self.identities.refresh_document(&self.labeler).await
        } else {
            self.identities.resolve_document(&self.labeler).await
        };
        document
            .map_err(|error| StreamError(format!("the labeler has no document: {error}")))?
            .verification_method(KEY)
            .ok_or_else(|| StreamError(format!("the labeler's document has no key #{KEY}")))
    }

    /// The takedown that a label is; `None` for one that is none, or not the labeler's. `key` may be an old one.
    async fn read(&self, label: &Ipld, key: &mut PublicKey) -> Result<Option<TakedownStep>, StreamError> {
        let Some(step) = self.takedown(label) else {
            return Ok(None);
        };
        if is_signed(label, key) {
            return Ok(Some(step));
        }
        *key = self.key(true).await?;
        Ok(Some(step).filter(|_| is_signed(label, key)))
    }

    fn takedown(&self, label: &Ipld) -> Option<TakedownStep> {
        let label: Label = ipld_core::serde::from_ipld(label.clone()).ok()?;
        let is_counted =
            label.ver == Some(VERSION) && label.src == self.labeler.as_str() && label.val == TAKEDOWN;
        if !is_counted {
            return None;
        }
        let (did, repository) = subject(&label.uri)?;
        let expires = label.exp.as_deref().map(instant);
        let is_over = match expires {
            None => false,
            Some(expires) => expires? <= self.clock.now(),
        };
        Some(TakedownStep {
            source: self.labeler.clone(),
            did,
            repository,
            applies: !label.neg.unwrap_or(false) && !is_over,
            at: instant(&label.cts)?,
        })
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// The account that a label is on, and the repository if it is not the whole account.
fn subject(uri: &str) -> Option<(Did, Option<String>)> {
    if let Ok(did) = uri.parse::<Did>() {
        return Some((did, None));
    }
    let uri: AtUri = uri.parse().ok()?;
    let did = uri.did()?;
    match (uri.collection(), uri.rkey()) {
        (None, _) => Some((did, None)),
        (Some(nsid::REPO_PAGE), Some(rkey)) => Some((did, Some(rkey.as_str().replace('~', "/")))),
        (Some(_), _) => None,
    }
}

/// Whether `key` signed the label: its bytes without the signature.
fn is_signed(label: &Ipld, key: &PublicKey) -> bool {
    let Ipld::Map(mut fields) = label.clone() else {
        return false;
    };
    let Some(Ipld::Bytes(signature)) = fields.remove("sig") else {
        return false;
    };
    serde_ipld_dagcbor::to_vec(&Ipld::Map(fields)).is_ok_and(|bytes| key.verify(&bytes, &signature).is_ok())
}
