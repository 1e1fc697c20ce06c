//! What every server process needs before its domain starts.
//!
//! | Module | Holds |
//! |---|---|
//! | [`settings`] | layered configuration, its example file, its command line |
//! | [`telemetry`], [`request_log`], [`port_call`] | log and metrics; one line per request; one per call that is slow or fails |
//! | [`serve`], [`shutdown`], [`stream_limits`], `paced_writer` | the listener and its limits; signals and drain; long answers |
//! | [`client_address`], [`rate_limit`], [`address_gate`], [`retry_after`] | who asks, how often, and when to try again |
//! | [`health`], [`disk_space`] | alive, ready; whether there is room to write |
//! | [`supervise`], [`host_calls`] | background work that survives its own failures; best-effort calls to other hosts |
//! | [`database`], [`private_files`] | the pools over a SQLite file; files for their owner only |
//! | [`exit`] | how a program runs and ends |
//! | [`keyed_locks`], [`shared_places`], [`client_places`] | locks by key; places of which one party, or one client, takes a share |
//! | [`body`], [`pieces`] | bodies read within a bound; bodies in pieces worth working on |
//!
//! The names of spans, fields and metrics are listed in `docs/OBSERVABILITY.md`.

pub mod address_gate;
pub mod body;
pub mod client_address;
pub mod client_places;
pub mod database;
pub mod disk_space;
pub mod exit;
pub mod health;
pub mod host_calls;
pub mod keyed_locks;
mod paced_writer;
pub mod pieces;
pub mod port_call;
pub mod private_files;
pub mod rate_limit;
pub mod request_log;
pub mod retry_after;
pub mod serve;
pub mod settings;
pub mod shared_places;
pub mod shutdown;
pub mod stream_limits;
pub mod supervise;
pub mod telemetry;

pub use exit::{exit_code, run_to_end};
pub use keyed_locks::KeyedLocks;
pub use settings::{
    ConfigCommand, ConfigError, HumanDuration, LoadOptions, Loaded, Problem, Problems, Rate, Secret,
    Settings, changed_yaml, commented_yaml, load,
};
pub use shutdown::Shutdown;
