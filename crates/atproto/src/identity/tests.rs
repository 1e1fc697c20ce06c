//! The document parser, the cache, and the resolver against a directory and hosts on this machine.

mod cache;
mod did_documents;
mod document;
mod network;
mod resolver;
