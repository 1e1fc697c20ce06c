//! What the pages of all servers share: the layout around a page, its assets, and the protection against other sites.
//!
//! - [`view`], [`site`]: the layout's data and how a page is rendered; its templates are in `templates/`
//! - [`assets`]: style sheet, scripts, fonts and icons, built in by `build.rs`
//! - [`cookies`], [`csrf`], [`origin`], [`security_headers`], [`return_to`]: protection against other sites
//! - [`form`], [`moment`]: forms, and times as people read them

pub mod assets;
pub mod cookies;
pub mod csrf;
pub mod form;
pub mod moment;
pub mod origin;
pub mod return_to;
pub mod security_headers;
pub mod site;
pub mod view;
