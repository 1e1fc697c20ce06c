//! What a hold and its scanners say to each other, for both ends. No I/O, no clock.
//!
//! A scanner connects to `/xrpc/io.atcr.hold.subscribeScanJobs` ([`PATH`], [`Subscription`]) with the shared secret
//! ([`SECRET_HEADER`]). Each text frame is one JSON message:
//!
//! ```text
//! hold ──► scanner   scan_job       ScanJob
//! scanner ──► hold   scan_result    ScanResult    ends the job
//!                    scan_progress  Progress      renews the lease
//!                    scan_release   Release       gives the job back
//!                    scan_database  DatabaseInUse what the scanner looks packages up in
//! ```
//!
//! The first two are the original's; the others, and the fields that its lexicon does not have, are ours, and an original peer
//! ignores them. A job with `resultsUrl` comes from a hold of ours: the scanner uploads each document there, gzip-compressed
//! ([`DocumentKind`]), and then sends a result that says `uploaded` and has no bytes. To any other hold the documents go in the
//! message.
//!
//! A hold of ours says so when the connection is made ([`UNDERSTANDS_HEADER`]). It then hears of each vulnerability database that the
//! scanner begins to use, and may hand out a job with `listUrl`: the packages that were listed before. The scanner looks those up, and
//! uploads the report alone; or it scans the image all the same.
//!
//! `seq` numbers the times that jobs were handed out: a job that is handed out again has another one. A cursor therefore never
//! hides a job that waits, and a message about an earlier time is known as that.
//!
//! Decoding is lenient in form and strict in bounds: unknown fields and messages are passed over, texts are cut to their length,
//! and a number, name or size beyond its bound makes the message [`InvalidMessage`].

pub mod bounds;
mod document;
mod error;
mod job;
mod scanner_message;
mod secret;
mod state;
mod subscription;
mod view;

pub use document::{DocumentKind, UnknownDocument, UploadReceipt};
pub use error::InvalidMessage;
pub use job::{HoldMessage, ScanJob};
pub use scanner_message::{DatabaseInUse, Progress, Release, ScanResult, ScannerMessage, Subject};
pub use secret::{SECRET_HEADER, SECRET_PARAMETERS, is_same_secret};
pub use state::{FailureClass, JobState, ScanState};
pub use subscription::{Cursor, InvalidSubscription, PATH, Subscription, UNDERSTANDS, UNDERSTANDS_HEADER};
pub use view::{DocumentView, FailureView, JobView, ResultView, ScanView, ScannersView};
