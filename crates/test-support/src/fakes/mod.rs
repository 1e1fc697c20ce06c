//! Fakes of the outside world, for faults that a real part cannot be made to show.

pub mod authorization_server;
pub mod hold;
pub mod hold_store;
pub mod pds;

pub use authorization_server::Misbehaviour;
pub use hold::HoldOffice;
pub use hold_store::{FakeHold, Fault, StoreKind};
pub use pds::{FakePds, Filler, PageGate, PdsFault, Snapshot};
