//! Rows of the garbage collection's tables, read and written.

use atcr_atproto::syntax::Tid;
use chrono::DateTime;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::adapters::sqlite::digests::{digest, failed, number};
use crate::blobs::SessionsError;
use crate::gc::ports::{Account, AccountState, Action, Item, StoredRun};
use crate::gc::{Report, RunState};

pub(super) fn corrupt(column: &'static str) -> SessionsError {
    SessionsError::Corrupt { column }
}

pub(super) fn state_text(state: AccountState) -> &'static str {
    match state {
        AccountState::New => "new",
        AccountState::Unread => "unread",
        AccountState::Read => "read",
        AccountState::Unreadable => "unreadable",
        AccountState::Gone => "gone",
        AccountState::Frozen => "frozen",
    }
}

pub(super) fn account_state(text: &str) -> Result<AccountState, SessionsError> {
    Ok(match text {
        "new" => AccountState::New,
        "unread" => AccountState::Unread,
        "read" => AccountState::Read,
        "unreadable" => AccountState::Unreadable,
        "gone" => AccountState::Gone,
        "frozen" => AccountState::Frozen,
        _ => return Err(corrupt("state")),
    })
}

pub(super) fn action(text: &str) -> Result<Action, SessionsError> {
    Ok(match text {
        "lift" => Action::Lift,
        "wait" => Action::Wait,
        "condemn" => Action::Condemn,
        "delete" => Action::Delete,
        _ => return Err(corrupt("action")),
    })
}

pub(super) fn optional_number(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, SessionsError> {
    let number: Option<i64> = row.try_get(column).map_err(failed)?;
    number
        .map(|number| u64::try_from(number).map_err(|_| corrupt(column)))
        .transpose()
}

pub(super) fn account(row: &SqliteRow) -> Result<Account, SessionsError> {
    let (did, rev): (String, Option<String>) = (
        row.try_get("did").map_err(failed)?,
        row.try_get("rev").map_err(failed)?,
    );
    let state: String = row.try_get("state").map_err(failed)?;
    Ok(Account {
        id: row.try_get("id").map_err(failed)?,
        did: did.parse().map_err(|_| corrupt("did"))?,
        rev: rev
            .map(|rev| rev.parse::<Tid>().map_err(|_| corrupt("rev")))
            .transpose()?,
        read_since: optional_number(row, "read_since")?,
        state: account_state(&state)?,
        gone_since: optional_number(row, "gone_since")?,
        reason: row.try_get("reason").map_err(failed)?,
        may_push: row.try_get("may_push").map_err(failed)?,
        pushed: row.try_get("pushed").map_err(failed)?,
        erased: row.try_get("erased").map_err(failed)?,
        released: row.try_get("released").map_err(failed)?,
        accepted: row.try_get("accepted").map_err(failed)?,
    })
}

pub(super) fn run(row: &SqliteRow) -> Result<StoredRun, SessionsError> {
    let began_at: i64 = row.try_get("began_at").map_err(failed)?;
    let (state, report): (String, String) = (
        row.try_get("state").map_err(failed)?,
        row.try_get("report").map_err(failed)?,
    );
    Ok(StoredRun {
        id: row.try_get("id").map_err(failed)?,
        began_at: DateTime::from_timestamp_millis(began_at).ok_or_else(|| corrupt("began_at"))?,
        since: number(row, "since")?,
        state: RunState::parse(&state).ok_or_else(|| corrupt("state"))?,
        report: serde_json::from_str(&report).map_err(|_| corrupt("report"))?,
    })
}

pub(super) fn item(row: &SqliteRow) -> Result<Item, SessionsError> {
    let kind: String = row.try_get("action").map_err(failed)?;
    let owner: Option<String> = row.try_get("owner").map_err(failed)?;
    Ok(Item {
        digest: digest(row)?,
        action: action(&kind)?,
        bytes: number(row, "bytes")?,
        since: optional_number(row, "since")?,
        owner: owner
            .map(|did| did.parse().map_err(|_| corrupt("owner")))
            .transpose()?,
        outcome: row.try_get("outcome").map_err(failed)?,
    })
}

pub(super) fn text_of(report: &Report) -> Result<String, SessionsError> {
    serde_json::to_string(report).map_err(|_| corrupt("report"))
}
