//! From the network into the index: what is proven, what is not, and that both end alike.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod catching_up;
mod converging;
mod discovering;
mod failing_over;
mod following;
mod hinting;
mod host;
mod labelling;
mod leading;
mod losing_the_lead;
mod proofs;
mod renewing;
mod replaced;
mod sockets;
mod streams;
