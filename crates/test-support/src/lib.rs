//! What the tests and the development commands stand on: the real parts on loopback, and fakes for the
//! faults a real part cannot be made to show.
//!
//! - [`buildkit`]: a BuildKit daemon
//! - [`docker_engine`]: the Docker engine that runs, or one started for the occasion
//! - `fakes` (a feature): the outside world, failing on request
//! - [`network`]: PLC directory, reference PDS, hold and appview as processes, on ports of one's own
//! - [`postgres_server`]: a PostgreSQL server in a temporary folder
//! - [`registry_client`]: a small client of the distribution API
//! - [`s3_server`]: a real S3 server over a folder
//! - [`tools`]: installs what those parts and the clients need (npm, Debian packages, Go programs)

pub mod buildkit;
pub mod docker_engine;
#[cfg(feature = "fakes")]
pub mod fakes;
pub mod network;
pub mod postgres_server;
pub mod registry_client;
pub mod s3_server;
pub mod tools;
