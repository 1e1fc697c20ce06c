//! What a scanner asks for when it connects.

use std::str::FromStr;

use crate::bounds::MAX_WORKERS;

/// The path of the WebSocket.
pub const PATH: &str = "/xrpc/io.atcr.hold.subscribeScanJobs";

/// The header with which a hold of ours answers a scanner, and what it says: that it understands which database the scanner uses. An
/// original hold gets no such message.
pub const UNDERSTANDS_HEADER: &str = "x-scanner-understands";

/// The header's value.
pub const UNDERSTANDS: &str = crate::scanner_message::DATABASE;

/// A query that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubscription {
    /// `cursor` is no integer of at least -1.
    #[error("cursor must be -1 or a sequence number")]
    Cursor,
    /// `workers` is out of bounds.
    #[error("workers must be between 1 and 64")]
    Workers,
}

/// Which jobs a scanner wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// All that wait.
    #[default]
    Waiting,
    /// Only those that are queued from now on: -1.
    OnlyNew,
    /// All that wait; this is the last number that was seen.
    After(u64),
}

impl FromStr for Cursor {
    type Err = InvalidSubscription;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "-1" => Ok(Self::OnlyNew),
            text => text
                .parse()
                .map(Self::After)
                .map_err(|_| InvalidSubscription::Cursor),
        }
    }
}

/// The query of the WebSocket, without the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// `cursor`.
    pub cursor: Cursor,
    /// `workers`, ours: how many scans the scanner works on at the same time, and that it renews leases. An original scanner
    /// says nothing.
    pub workers: Option<u16>,
}

impl Subscription {
    /// Reads the values of the two parameters.
    ///
    /// # Errors
    /// [`InvalidSubscription`] names the parameter.
    pub fn parse(cursor: Option<&str>, workers: Option<&str>) -> Result<Self, InvalidSubscription> {
        let cursor = cursor.filter(|text| !text.is_empty());
        let workers = workers.map(|text| {
            text.parse()
                .ok()
                .filter(|workers| (1..=MAX_WORKERS).contains(workers))
                .ok_or(InvalidSubscription::Workers)
        });
        Ok(Self {
            cursor: cursor.map(str::parse).transpose()?.unwrap_or_default(),
            workers: workers.transpose()?,
        })
    }

    /// The query, `cursor=12&workers=2`; empty if everything is left out.
    #[must_use]
    pub fn query(&self) -> String {
        let cursor = match self.cursor {
            Cursor::Waiting => None,
            Cursor::OnlyNew => Some("cursor=-1".to_owned()),
            Cursor::After(seq) => Some(format!("cursor={seq}")),
        };
        let workers = self.workers.map(|workers| format!("workers={workers}"));
        cursor.into_iter().chain(workers).collect::<Vec<_>>().join("&")
    }
}
