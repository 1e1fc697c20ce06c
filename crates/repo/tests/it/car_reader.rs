//! Reads CARs, checking every hash.

use std::collections::HashMap;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;
use atcr_repo::car::read_block;

#[derive(serde::Deserialize)]
struct Header {
    roots: Vec<Cid>,
    version: u8,
}

pub(crate) struct Car {
    pub(crate) root: Cid,
    /// In the order of the file.
    pub(crate) order: Vec<Cid>,
    pub(crate) blocks: HashMap<Cid, Vec<u8>>,
}

pub(crate) fn read(bytes: &[u8]) -> Car {
    // A header with one root is shorter than 128 bytes, so its length is one byte.
    let header_end = 1 + usize::from(bytes[0]);
    let header: Header = serde_ipld_dagcbor::from_slice(&bytes[1..header_end]).unwrap();
    assert_eq!((header.version, header.roots.len()), (1, 1));
    let mut car = Car {
        root: header.roots[0],
        order: Vec::new(),
        blocks: HashMap::new(),
    };
    let mut position = header_end;
    while position < bytes.len() {
        let section = read_block(bytes, position).unwrap();
        let content = &bytes[section.content.clone()];
        assert_eq!(cid_of(DAG_CBOR, content), section.cid);
        car.order.push(section.cid);
        car.blocks.insert(section.cid, content.to_vec());
        position = section.content.end;
    }
    car
}
