//! Fakes of the outside world, for faults that a real part cannot be made to show.

pub mod authorization_server;
pub mod hold;
pub mod pds;

pub use authorization_server::Misbehaviour;
pub use hold::{FakeHold, Fault, HeadAnswer, HoldOffice, Spelling, StoreKind, UrlAnswer};
pub use pds::{FakePds, Filler, PageGate, PdsFault, Snapshot};
