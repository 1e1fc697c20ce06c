//! What is known of an image's vulnerabilities, as its registry and hold say, and whether that is enough.

pub mod judgement;
pub mod platform;
pub mod report;
