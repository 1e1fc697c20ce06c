//! The suite of the index's ports on a PostgreSQL server, and what only several servers on one database show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod importing;
mod opening;
mod same_as_sqlite;
mod several;
mod store;

pub(crate) use store::Store;

atcr_index_suite::index_suite!(crate::Store);
