//! AT Protocol vocabulary of ATCR: identifiers, records, identity, keys and the client of a PDS.
//!
//! The one place for everything that the AppView and a hold both say to the network. No server code, no database,
//! no ambient time: `now` comes through [`clock::Clock`], and every request to a host that others name goes
//! through [`egress::EgressClient`].
//!
//! - [`bounds`]: every bound on values that others name.
//! - [`syntax`]: identifiers as validated strings; [`Cid`].
//! - [`clock`]: the time port and the source of TIDs.
//! - [`crypto`]: public keys, signing keys, low-S signatures.
//! - [`data_model`]: JSON ⇄ IPLD with `$link` and `$bytes`.
//! - [`lexicon`]: one struct per `io.atcr.*` record and per `io.atcr.hold.*` method.
//! - [`egress`]: the guarded HTTP client; [`identity`]: handle and DID resolution.
//! - [`plc`]: what a did:plc is made of, and its directory.
//! - [`dpop`]: proofs of possession for OAuth's tokens.
//! - [`xrpc`]: the error envelope; [`pds`]: the client of a Personal Data Server; [`revision`]: which state is newer.
//! - [`store_target`]: URLs and headers that a hold names, checked.
//!
//! To add a record type: a JSON document under `lexicons/`, a struct with [`lexicon::Record`], a line in the lexicon
//! test.

pub mod bounds;
pub mod clock;
pub mod crypto;
pub mod data_model;
pub mod dpop;
pub mod egress;
pub mod identity;
pub mod lexicon;
pub mod pds;
pub mod plc;
pub mod retry_after;
pub mod revision;
pub mod store_target;
pub mod syntax;
pub mod xrpc;

pub use syntax::Cid;
