//! Digests, times and failures in the tables of the garbage collection.

use atcr_oci::{Algorithm, Digest};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::blobs::SessionsError;

pub(super) fn failed(error: sqlx::Error) -> SessionsError {
    SessionsError::Database(Box::new(error))
}

/// The column `digest`, as text.
pub(super) fn digest(row: &SqliteRow) -> Result<Digest, SessionsError> {
    let text: String = row.try_get("digest").map_err(failed)?;
    text.parse()
        .map_err(|_| SessionsError::Corrupt { column: "digest" })
}

/// An integer that is not negative.
pub(super) fn number(row: &SqliteRow, column: &'static str) -> Result<u64, SessionsError> {
    let number: i64 = row.try_get(column).map_err(failed)?;
    u64::try_from(number).map_err(|_| SessionsError::Corrupt { column })
}

/// SQLite's integers are signed.
pub(super) fn time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A list of digests as one parameter.
pub(super) fn json_of(digests: &[Digest]) -> String {
    list(digests.iter().map(ToString::to_string))
}

/// A list of digests as one parameter, each as the hexadecimal digits of its short form.
pub(super) fn short_json_of(digests: &[Digest]) -> String {
    list(digests.iter().map(short))
}

fn list(texts: impl Iterator<Item = String>) -> String {
    // Digests need no escapes.
    let mut list = String::from("[");
    for text in texts {
        if list.len() > 1 {
            list.push(',');
        }
        list.push('"');
        list.push_str(&text);
        list.push('"');
    }
    list.push(']');
    list
}

/// The short form: one byte for the algorithm, then the hash.
fn short(digest: &Digest) -> String {
    let algorithm = match digest.algorithm() {
        Algorithm::Sha256 => "00",
        Algorithm::Sha512 => "01",
    };
    format!("{algorithm}{}", digest.hex())
}

/// The digest of a short form's digits, as SQLite writes them.
pub(super) fn from_short(digits: &str) -> Result<Digest, SessionsError> {
    let digits = digits.to_ascii_lowercase();
    let parsed = match (digits.get(..2), digits.get(2..)) {
        (Some("00"), Some(hex)) => format!("sha256:{hex}").parse(),
        (Some("01"), Some(hex)) => format!("sha512:{hex}").parse(),
        _ => return Err(SessionsError::Corrupt { column: "digest" }),
    };
    parsed.map_err(|_| SessionsError::Corrupt { column: "digest" })
}
