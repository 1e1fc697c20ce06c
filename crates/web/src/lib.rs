//! What the pages of all servers share: the layout around a page, its assets, and the protection against other sites.
//!
//! - [`view`], [`site`]: the layout's data and how a page is rendered; its templates are in `templates/`
//! - [`assets`]: style sheet, scripts, fonts and icons, built in by `build.rs`
//! - [`cookies`], [`csrf`], [`origin`], [`security_headers`], [`return_to`]: protection against other sites
//! - [`form`], [`moment`], [`figures`]: forms, and times and numbers as people read them
//! - [`appearance`]: light or dark, and the client of commands
//! - [`drawings`], [`markdown`], [`pull`], [`navigation`]: bars and charts, READMEs, commands to pull, tabs and pages of lists
//!
//! The parts that pages are made of are macros in `templates/parts/`; [`gallery`] is a page that shows them all.

pub mod appearance;
pub mod assets;
pub mod cookies;
pub mod csrf;
pub mod drawings;
pub mod figures;
pub mod form;
pub mod gallery;
pub mod markdown;
pub mod moment;
pub mod navigation;
pub mod origin;
pub mod pull;
pub mod return_to;
pub mod security_headers;
pub mod site;
pub mod view;
