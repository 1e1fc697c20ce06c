//! Blocks of a tree that is being built beside the repository, in a file that goes away again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Cid;
use atcr_repo::Block;
use atcr_repo::mst::{Node, NodeSource};

use crate::blocks::recent::Slot;
use crate::blocks::view::decode_node;
use crate::blocks::{BlockKey, Blocks, NodeCache, Recent, View};
use crate::disk::{self, Disk, DiskFile};
use crate::error::RepoError;
use crate::head::{Head, rev_number};
use crate::log::Segment;

/// A start removes files of this kind.
const FILE: &str = "import.tmp";
/// Bytes written at once.
const PIECE: usize = 1024 * 1024;
/// The file is looked at in windows, since a place in a segment has 32 bits.
const WINDOW_BITS: u32 = 31;
/// Bytes of tree nodes kept in memory while the tree grows.
const NODE_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// The blocks: those that were put, over those of the repository.
#[derive(Debug)]
pub(crate) struct Staging {
    disk: Arc<dyn Disk>,
    base: View,
    file: Arc<dyn DiskFile>,
    written: u64,
    /// What comes after `written` in the file.
    piece: Vec<u8>,
    places: HashMap<BlockKey, (u64, u32)>,
    nodes: NodeCache,
}

impl Drop for Staging {
    fn drop(&mut self) {
        disk::remove_unused(&*self.disk, FILE);
    }
}

impl NodeSource for Staging {
    type Error = RepoError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, RepoError> {
        if let Some(node) = self.nodes.get(cid) {
            return Ok(node);
        }
        let Some((position, length)) = self.places.get(&BlockKey::known(cid)?).copied() else {
            return self.base.node(cid);
        };
        let bytes = self.read(position, length as usize)?;
        if cid_of(DAG_CBOR, &bytes) != *cid {
            return Err(RepoError::corrupt(format!(
                "block {cid} does not match its name in {FILE}"
            )));
        }
        let node = Arc::new(decode_node(cid, &bytes)?);
        self.nodes.insert(*cid, Arc::clone(&node), bytes.len());
        Ok(node)
    }
}

impl Staging {
    /// No blocks yet but those of `base`.
    pub(crate) fn new(disk: Arc<dyn Disk>, base: View) -> Result<Self, RepoError> {
        let file = disk
            .create(FILE)
            .map_err(|error| disk::failed(&*disk, "create", FILE, error))?;
        Ok(Self {
            disk,
            base,
            file,
            written: 0,
            piece: Vec::with_capacity(PIECE),
            places: HashMap::new(),
            nodes: NodeCache::new(NODE_CACHE_BYTES),
        })
    }

    /// Adds a block.
    pub(crate) fn put(&mut self, block: &Block) -> Result<(), RepoError> {
        let length =
            u32::try_from(block.bytes.len()).map_err(|_| RepoError::corrupt("a block is too long"))?;
        let position = self.written + self.piece.len() as u64;
        self.places
            .insert(BlockKey::known(&block.cid)?, (position, length));
        self.piece.extend_from_slice(&block.bytes);
        if self.piece.len() >= PIECE {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Adds a node that the tree has made.
    pub(crate) fn put_node(&mut self, cid: Cid, node: &Arc<Node>, bytes: Vec<u8>) -> Result<(), RepoError> {
        self.nodes.insert(cid, Arc::clone(node), bytes.len());
        self.put(&Block {
            cid,
            bytes: bytes.into(),
        })
    }

    fn flush(&mut self) -> Result<(), RepoError> {
        self.file
            .write_at(self.written, &self.piece)
            .map_err(|error| disk::failed(&*self.disk, "write", FILE, error))?;
        self.written += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> Result<Vec<u8>, RepoError> {
        if let Some(from) = position.checked_sub(self.written) {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            let bytes = from.checked_add(length).and_then(|end| self.piece.get(from..end));
            return bytes
                .map(<[u8]>::to_vec)
                .ok_or_else(|| RepoError::corrupt(format!("{FILE} is shorter than it should be")));
        }
        disk::read(&*self.file, position, length)
            .map_err(|error| disk::failed(&*self.disk, "read", FILE, error))
    }

    /// The repository as of a commit whose blocks are here or in the repository. Good as long as this lives.
    pub(crate) fn view(&mut self, head: Head) -> Result<View, RepoError> {
        self.flush()?;
        let mut segments = (*self.base.segments).clone();
        let first = segments
            .last()
            .map_or(0, |segment| segment.number)
            .saturating_add(1);
        let window = |position: u64| {
            u32::try_from(position >> WINDOW_BITS)
                .ok()
                .and_then(|window| first.checked_add(window))
                .ok_or_else(|| RepoError::corrupt(format!("{FILE} is too long")))
        };
        for number in first..=window(self.written)? {
            segments.push(Segment {
                number,
                file: Arc::new(Window {
                    file: Arc::clone(&self.file),
                    start: u64::from(number - first) << WINDOW_BITS,
                }),
                after_seq: 0,
                closed: None,
            });
        }
        let mut slots = HashMap::with_capacity(self.places.len());
        for (key, (position, length)) in &self.places {
            let offset = u32::try_from(position & ((1 << WINDOW_BITS) - 1)).unwrap_or(0);
            let slot = Slot::new(window(*position)?, offset, *length, rev_number(&head.rev));
            slots.insert(*key, slot);
        }
        let blocks = &self.base.blocks;
        Ok(View {
            head,
            segments: Arc::new(segments),
            blocks: Arc::new(Blocks {
                snapshot: blocks.snapshot.clone(),
                frozen: Some(Arc::clone(&blocks.recent)),
                recent: Arc::new(Recent::of(slots)),
            }),
            nodes: Arc::new(NodeCache::new(NODE_CACHE_BYTES)),
            ..self.base.clone()
        })
    }
}

/// A part of the file that is read like a segment.
#[derive(Debug)]
struct Window {
    file: Arc<dyn DiskFile>,
    start: u64,
}

impl DiskFile for Window {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(self.start + position, buffer)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
