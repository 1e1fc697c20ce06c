//! What the captain sees and changes in a browser.
//!
//! - [`sessions`]: whose browser is signed in; [`sign_in`]: how the captain shows who they are
//! - [`crew`]: the crew as the captain changes it; [`import`]: many members at once
//! - [`rules`]: what the configuration leaves open
//! - [`accounts`]: names of accounts, looked up before they are needed
//! - [`overview`]: how the hold is; [`history`]: how much there was on each day
//! - [`audit`]: who changed what, in a chain of hashes
//!
//! Only the captain gets in. A member with `crew:admin` manages the crew by XRPC, and does not see this.

pub mod accounts;
pub mod audit;
pub mod crew;
mod error;
pub mod history;
pub mod import;
pub mod overview;
pub mod rules;
pub mod sessions;
pub mod sign_in;

pub use error::{AdminError, TableError};
