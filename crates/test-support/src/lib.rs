//! What the tests and the development commands stand on: the real parts on loopback, and fakes for the
//! faults a real part cannot be made to show.
//!
//! - [`docker_engine`]: the Docker engine that runs, or one started for the occasion
//! - [`network`]: PLC directory, reference PDS, hold and appview as processes, on ports of one's own
//! - [`tools`]: installs what those parts and the clients need (npm, Debian packages, Go programs)

pub mod docker_engine;
pub mod network;
pub mod tools;
