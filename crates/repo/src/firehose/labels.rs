//! Messages of `com.atproto.label.subscribeLabels`, which are framed as those of `subscribeRepos` are.

use ipld_core::ipld::Ipld;
use serde::Deserialize;

use super::wire::{body_of, error_name};
use crate::error::DataError;

/// A message of a labeler.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelFrame {
    /// Labels, as they were signed. Nothing of them is checked.
    Labels {
        /// Greater than that of every message before it.
        seq: u64,
        /// The labels.
        labels: Vec<Ipld>,
    },
    /// The stream ends.
    Error(String),
    /// Anything else.
    Other,
}

#[derive(Deserialize)]
struct Body {
    seq: u64,
    labels: Vec<Ipld>,
}

/// Reads a message.
///
/// # Errors
/// [`DataError::Malformed`].
pub fn label_frame(frame: &[u8]) -> Result<LabelFrame, DataError> {
    if let Some(error) = error_name(frame)? {
        return Ok(LabelFrame::Error(error));
    }
    let Some(body) = body_of(frame, "#labels") else {
        return Ok(LabelFrame::Other);
    };
    let Body { seq, labels } =
        serde_ipld_dagcbor::from_slice(body).map_err(|_| DataError::Malformed("the body of a message"))?;
    Ok(LabelFrame::Labels { seq, labels })
}
