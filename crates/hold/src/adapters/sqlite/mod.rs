//! The hold's own SQLite database: running uploads. Records live in the embedded PDS, not here.
//!
//! A commit survives the end of the process, but a power failure may undo the last ones. Blobs are safe by then: the store has
//! them on its disk before anybody is told. What the undoing of each write does:
//!
//! - `insert`: the upload is unknown, its owner begins anew, and its bytes are swept as what only the store knows of.
//! - `touch`: the upload is swept earlier. An owner who comes back begins anew.
//! - `finish`: whoever repeats the completion finds the blob in the store, as after a crash between the two.
//! - `remove`: the row has no bytes; a completion fails, and the sweep takes it.

mod uploads;

use std::path::Path;

use atcr_server::database::{Database, DatabaseOptions, Durability, OpenError};
use sqlx::migrate::Migrator;

pub use self::uploads::SqliteUploads;

static MIGRATIONS: Migrator = sqlx::migrate!();

const OPTIONS: DatabaseOptions = DatabaseOptions {
    durability: Durability::ProcessEnd,
    readers: 4,
};

/// Opens the database file at `path`, made when it is missing and brought up to date.
///
/// # Errors
/// [`OpenError`], which names the file.
pub async fn open(path: &Path) -> Result<Database, OpenError> {
    Database::open(path, OPTIONS, &MIGRATIONS).await
}
