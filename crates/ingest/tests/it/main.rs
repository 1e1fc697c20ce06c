//! From the network into the index: what is proven, what is not, and that both end alike.

mod catching_up;
mod following;
mod host;
mod proofs;
mod sockets;
