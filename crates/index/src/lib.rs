//! The index of the network: what the records of many accounts say together, where pages and pulls can ask for it.
//!
//! The records are the truth, and each account's PDS has them. The index keeps, for each account, the rows of one revision of it, and
//! totals over them. Everything but a few histories can be built again from the network.
//!
//! - [`collection`], [`fact`]: which records are indexed, and what one record says
//! - [`change`]: what is written: steps of accounts from one revision to the next, in batches
//! - [`ports`]: [`IndexReader`](ports::IndexReader), [`SearchIndex`](ports::SearchIndex), [`IndexWriter`](ports::IndexWriter),
//!   [`WorkQueue`](ports::WorkQueue), [`IndexAudit`](ports::IndexAudit)
//! - [`view`], [`page`]: what readers get, in pages
//! - [`version_order`]: tags in the order of versions
//! - [`search`]: words of a query, and the order of what is found
//! - [`dump`]: the index as sorted lines, to compare two of them
//! - [`generator`]: a made-up network of any size
//! - [`judge`], [`plan`]: what becomes of a step, and which rows change
//! - [`row`], [`stored`]: rows and values as the tables have them
//!
//! No database here: an adapter crate per database implements the ports, with statements and nothing that they do not need.

pub mod change;
pub mod collection;
pub mod dump;
pub mod error;
pub mod fact;
pub mod generator;
pub mod judge;
pub mod page;
pub mod plan;
pub mod ports;
pub mod row;
pub mod search;
pub mod stored;
pub mod turn;
pub mod version_order;
pub mod view;

pub use collection::Collection;
pub use error::IndexError;
