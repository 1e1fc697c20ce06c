//! What a process needs before its domain starts: layered configuration, logging and metrics,
//! the listener and the shutdown.
//!
//! - [`load()`]: defaults ← YAML ← environment, every problem reported at once with its key
//! - [`commented_yaml()`]: the example file, its comments taken from the doc comments of the structs
//! - [`ConfigCommand`]: `config init` and `config check` of a server's command line
//! - [`values`]: durations with units, secrets that redact
//! - [`telemetry`]: tracing subscriber and Prometheus recorder
//! - [`shutdown`], [`serve`], [`pieces`]: signals, drain, listener, the bodies it delivers

pub mod body;
pub mod command;
pub mod commented_yaml;
pub mod env_name;
pub mod error;
pub mod keyed_locks;
pub mod load;
pub mod pieces;
mod schema;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod values;

pub use command::ConfigCommand;
pub use commented_yaml::commented_yaml;
pub use error::{ConfigError, Problem, Problems};
pub use keyed_locks::KeyedLocks;
pub use load::{LoadOptions, Loaded, Settings, load};
pub use shutdown::Shutdown;
pub use values::{HumanDuration, Secret};
