//! Settings: defaults ← YAML ← environment, every problem reported at once with its key.
//!
//! - [`load()`]: the layers, and the checks
//! - [`commented_yaml()`]: the example file, its comments taken from the doc comments of the structs; [`changed_yaml()`]: a file
//!   of what differs from it
//! - [`ConfigCommand`]: `config init` and `config check` of a server's command line
//! - [`HumanDuration`], [`Rate`], [`Secret`]: values that carry their unit or their secrecy in the type

mod command;
mod commented_yaml;
mod env_name;
mod error;
mod load;
mod rate;
mod schema;
mod values;

pub use self::command::ConfigCommand;
pub use self::commented_yaml::{changed_yaml, commented_yaml};
pub use self::env_name::env_name;
pub use self::error::{ConfigError, Problem, Problems};
pub use self::load::{LoadOptions, Loaded, Settings, load};
pub use self::rate::Rate;
pub use self::values::{HumanDuration, Secret};
