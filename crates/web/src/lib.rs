//! What every page of every server of ours shares: the page around a page's own part, its assets, and what keeps other sites out.
//!
//! - [`view`], [`site`]: the layout's data and how a page is rendered; its templates are in `templates/`
//! - [`assets`]: style sheet, scripts, fonts and icons, built in by `build.rs`
//! - [`cookies`], [`csrf`], [`origin`], [`security_headers`], [`return_to`]: what stands between a page and other sites
//! - [`form`], [`moment`]: what people send and read

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
