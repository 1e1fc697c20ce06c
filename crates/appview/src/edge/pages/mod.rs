//! The pages, and what browsers need for them.
//!
//! A handler takes a [`visit::Visit`], calls a use case and renders a view; the views' templates are below `templates/`. Every page and
//! every form works without scripts; scripts make them nicer.

pub mod approve_device;
pub mod crawlers;
pub mod devices;
pub mod gallery;
pub mod home;
pub mod images;
pub mod install;
pub mod learn_more;
pub mod not_found;
pub mod settings;
pub mod visit;
