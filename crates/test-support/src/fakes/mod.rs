//! Fakes of the outside world, for faults that a real part cannot be made to show.

pub mod hold_store;

pub use hold_store::{FakeHold, Fault, StoreKind};
