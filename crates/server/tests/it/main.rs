//! Configuration and process behaviour, as the two servers use them.
#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

mod loading;
mod serving;
