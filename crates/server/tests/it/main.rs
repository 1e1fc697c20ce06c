//! What a process of ours needs, as the two servers use it.
#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod captured_log;
mod databases;
mod loading;
mod readiness;
mod request_logging;
mod serving;
mod supervising;
