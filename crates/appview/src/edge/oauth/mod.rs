//! What authorization servers and browsers on their way to and from them ask for.

pub mod callback;
pub mod client_metadata;
pub mod login;
pub mod logout;
