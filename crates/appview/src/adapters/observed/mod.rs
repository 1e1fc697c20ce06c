//! Ports with a span, a metric and a line in the log around every call that leaves the process. Other adapters do the same where they
//! make the call: `pds_client`, and the tables of sessions, devices and notices.

mod account_index;
mod holds;
mod revisions;
mod upload_sessions;

pub use self::account_index::ObservedAccountIndex;
pub use self::holds::ObservedHolds;
pub use self::revisions::ObservedRevisions;
pub use self::upload_sessions::ObservedUploadSessions;
