//! Devices: signed in from a browser, listed, revoked.

mod address;
mod approval;
mod limits;
mod revocation;

use serde_json::json;

use crate::harness::Answer;

pub(super) const APP: &str = "alice.test/app";

#[track_caller]
pub(super) fn assert_flow_error(answer: &Answer, error: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]),
        (400, &json!(error))
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}
