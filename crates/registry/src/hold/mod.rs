//! Holds: which one a push goes to, how they are asked, what they are told.

pub mod credentials;
pub mod discovery;
pub mod error;
pub mod notices;
pub mod ports;
pub(crate) mod quota;
