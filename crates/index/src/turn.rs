//! Accounts take turns with the configurations that their cards wait for, so that one with many is in nobody's way.

use crate::ports::WantedConfig;
use crate::view::RepositoryId;
use crate::{IndexError, stored};

/// Accounts that are looked at in one turn.
pub const ACCOUNTS: i64 = 64;

/// Configurations of one account in one turn.
pub const OF_ACCOUNT: i64 = 4;

/// Whose turn it is: accounts take turns by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigTurn {
    /// The account that was last, of those with configurations that were never tried.
    pub first: i64,
    /// The account that was last, of those with configurations that could not be read.
    pub again: i64,
}

/// An account, and one of its configurations that is due: repository, owner, name, digest, attempts, hold, whether that is private.
pub type Row = (
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<String>,
    Option<bool>,
);

/// At most `limit` of the configurations in `rows`, which are in the order of the accounts, and the account that is last: 0 after all.
pub fn taken(rows: Vec<Row>, limit: usize) -> Result<(Vec<WantedConfig>, i64), IndexError> {
    let mut last = 0;
    let mut accounts = 0;
    let mut taken = Vec::new();
    for (account, repository, did, name, digest, attempts, hold, is_private) in rows {
        if account != last {
            (last, accounts) = (account, accounts + 1);
        }
        let (Some(repository), Some(did), Some(name), Some(digest)) = (repository, did, name, digest) else {
            continue;
        };
        taken.push(WantedConfig {
            repository: RepositoryId(repository),
            did: stored::did(&did)?,
            name,
            digest: stored::digest(&digest)?,
            attempts: attempts
                .and_then(|attempts| u32::try_from(attempts).ok())
                .unwrap_or(u32::MAX),
            hold: hold.and_then(|hold| hold.parse().ok()),
            is_private: is_private.unwrap_or_default(),
        });
        if taken.len() == limit {
            return Ok((taken, last));
        }
    }
    Ok((taken, if accounts < ACCOUNTS { 0 } else { last }))
}
