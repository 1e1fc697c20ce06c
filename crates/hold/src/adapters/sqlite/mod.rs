//! The hold's own SQLite database: running uploads, promises, notices that wait for promised layers, the blobs of its repository,
//! counts of pushes and pulls, who was erased, scans, and what the admin site knows. Records live in the embedded PDS, not here.
//!
//! A promise, a deferred notice and an erasure are synced before they are acknowledged. Any other commit survives the end of the process, but a
//! power failure may undo the last ones. Blobs are not lost: the store has them on its disk before the client gets its answer. The
//! effect of losing each write:
//!
//! - `insert`: the upload is unknown, its owner starts again, and the sweep removes the bytes that only the store knows.
//! - `touch`: the upload is swept earlier. An owner who comes back starts again.
//! - `finish`: an open promise is kept once more, without a copy. A client that repeats the completion finds the blob in the store,
//!   as after a crash between the two writes.
//! - `note` of a blob of the repository: its upload has to be repeated before a record can refer to it, and what is in the store
//!   stays there. `forget`: the next sweep removes the blob again.
//! - a count: it is missing; the record that was published keeps what it says
//! - what the garbage collection knows: the ages of condemned blobs start anew after a power failure, so that promises whose trace is lost
//!   are followed by their manifests first; that a blob is being removed, or was deleted from a repository, is synced
//! - a session of the admin site: the captain signs in again; an entry of the audit log: it is missing at the end
//! - a job or result of a scan: the image is scanned again, after its lease or its next push
//! - `remove`: the row has no bytes; a completion fails, and the sweep removes the row.

#[cfg(feature = "pages")]
mod admin;
mod counts;
mod deferred_notices;
mod digests;
mod erasures;
mod gc;
mod repo_blobs;
mod scans;
mod standings;
mod uploads;

use std::path::Path;

use atcr_server::database::{Database, DatabaseOptions, Durability, OpenError};
use sqlx::migrate::Migrator;

#[cfg(feature = "pages")]
pub use self::admin::SqliteAdmin;
pub use self::counts::SqliteCounts;
pub use self::deferred_notices::SqliteDeferredNotices;
pub use self::erasures::SqliteErasures;
pub use self::gc::SqliteGc;
pub use self::repo_blobs::SqliteRepoBlobs;
pub use self::scans::SqliteScans;
pub use self::standings::SqliteStandings;
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
