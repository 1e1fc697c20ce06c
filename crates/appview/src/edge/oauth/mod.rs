//! What authorization servers and browsers on their way to and from them ask for.

pub mod client_metadata;
