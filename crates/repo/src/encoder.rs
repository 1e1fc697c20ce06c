//! DAG-CBOR written piece by piece, for what every commit has: a serializer gathers the fields of each map and sorts them, which took
//! longer than all else that a commit needs. The caller gives the fields in order, by length and then by bytes.
//!
//! # Spec
//! IPLD "DAG-CBOR": the shortest form of each number, definite lengths, links with tag 42.

use atcr_atproto::syntax::Cid;

// Major types, in the upper three bits of a head.
const NUMBER: u8 = 0;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
/// The tag of a link.
const LINK: [u8; 2] = [0xd8, 42];
const FALSE: u8 = 0xf4;
const NULL: u8 = 0xf6;

/// What was written so far.
#[derive(Debug)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The head of a value: its type, and its number or length.
    fn head(&mut self, major: u8, number: u64) {
        match u8::try_from(number) {
            Ok(small @ ..=23) => self.0.push(major | small),
            Ok(byte) => self.0.extend([major | 0x18, byte]),
            Err(_) => match (u16::try_from(number), u32::try_from(number)) {
                (Ok(number), _) => {
                    self.0.push(major | 0x19);
                    self.0.extend(number.to_be_bytes());
                }
                (_, Ok(number)) => {
                    self.0.push(major | 0x1a);
                    self.0.extend(number.to_be_bytes());
                }
                _ => {
                    self.0.push(major | 0x1b);
                    self.0.extend(number.to_be_bytes());
                }
            },
        }
    }

    /// Begins a map; each field's name and value follow.
    pub(crate) fn map(&mut self, fields: usize) {
        self.head(MAP, fields as u64);
    }

    /// Begins an array.
    pub(crate) fn array(&mut self, values: usize) {
        self.head(ARRAY, values as u64);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.head(NUMBER, number);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn no(&mut self) {
        self.0.push(FALSE);
    }

    pub(crate) fn null(&mut self) {
        self.0.push(NULL);
    }

    pub(crate) fn link(&mut self, cid: &Cid) {
        self.0.extend(LINK);
        // A zero stands before the CID.
        self.head(BYTES, 1 + cid.encoded_len() as u64);
        self.0.push(0);
        // Writing to memory does not fail.
        let _ = cid.write_bytes(&mut self.0);
    }

    pub(crate) fn link_or_null(&mut self, cid: Option<&Cid>) {
        match cid {
            Some(cid) => self.link(cid),
            None => self.null(),
        }
    }
}
