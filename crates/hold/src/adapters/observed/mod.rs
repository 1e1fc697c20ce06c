//! The ports of the blob service with a span, a metric and a line in the log around every call that leaves the process.

mod own_objects;
mod store;
mod uploads;

pub use self::own_objects::ObservedOwnObjects;
pub use self::store::ObservedStore;
pub use self::uploads::ObservedUploads;
