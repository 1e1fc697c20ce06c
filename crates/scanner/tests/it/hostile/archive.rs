//! Tar archives entry by entry, also such as no writer makes.

use tar::{EntryType, Header};

/// An archive that is being made.
#[derive(Default)]
pub(super) struct Archive(Vec<u8>);

impl Archive {
    /// An entry of type `kind`, which claims `size` bytes and has `content`. Of the name only 100 bytes are there.
    pub(super) fn claiming(mut self, name: &[u8], kind: EntryType, size: u64, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let short = &name[..name.len().min(100)];
        header.as_old_mut().name[..short.len()].copy_from_slice(short);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.content(content)
    }

    pub(super) fn entry(self, name: &[u8], kind: EntryType, content: &[u8]) -> Self {
        self.claiming(name, kind, content.len() as u64, content)
    }

    pub(super) fn file(self, name: &[u8], content: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, content)
    }

    pub(super) fn link(mut self, name: &str, target: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_link_name_literal(target).unwrap();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// An extended header with these bytes.
    pub(super) fn extended(self, content: &[u8]) -> Self {
        self.entry(b"pax", EntryType::XHeader, content)
    }

    /// A header that `change` has changed, with a checksum that is right for it.
    pub(super) fn header(mut self, change: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header::new_gnu();
        header.set_path("changed").unwrap();
        header.set_size(0);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// Bytes as they are, up to the end of their last block.
    pub(super) fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive without its end.
    pub(super) fn open(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// The record of an extended header, whose length is that of the whole.
pub(super) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    format!("{len} {key}={value}\n").into_bytes()
}
