//! A disk in memory that forgets what was not synced, and fails when it is told to.
//!
//! - Content is kept in sectors of 512 bytes. A crash keeps any subset of those that were not synced.
//! - Names change in order. A crash keeps any number of the first changes that were not synced.
//! - A failed sync keeps any subset on the disk and all in the cache, and the cache takes it for written, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine stops in the middle of it.
    Crash,
    /// It fails.
    Fail,
    /// The program stops in the middle of it.
    Panic,
}

#[derive(Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    disk: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct State {
    random: StdRng,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_on_disk: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    /// Counted down with each call.
    fault: Option<(u32, Fault)>,
    /// The machine has stopped; files of this life and the ones before are gone.
    stopped: bool,
    life: u32,
    /// Syncs say that they worked and do nothing.
    lies: bool,
    /// Bytes that all files together may have, if that is limited.
    room: Option<usize>,
}

/// The disk.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub(crate) fn new(seed: u64, lies: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            unsynced: Vec::new(),
            fault: None,
            stopped: false,
            life: 0,
            lies,
            room: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets the call after `calls` others go wrong.
    pub(crate) fn plan(&self, calls: u32, fault: Fault) {
        self.state().fault = Some((calls, fault));
    }

    /// Forgets a fault that has not happened.
    pub(crate) fn unplan(&self) {
        self.state().fault = None;
    }

    /// Leaves room for this many bytes more than there are; `None` for any number.
    pub(crate) fn set_room(&self, more: Option<usize>) {
        let mut state = self.state();
        state.room = more.map(|more| state.used() + more);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Stops the machine, if it has not stopped, and starts it again with what is on the disk.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        let state = &mut *state;
        for inode in &mut state.inodes {
            keep_some(inode, &mut state.random);
            inode.cache.clone_from(&inode.disk);
            inode.dirty.clear();
        }
        let kept = state.random.random_range(0..=state.unsynced.len());
        for change in state.unsynced.drain(..).take(kept) {
            apply(&mut state.names_on_disk, change);
        }
        state.unsynced.clear();
        state.names.clone_from(&state.names_on_disk);
        state.fault = None;
        state.stopped = false;
        state.life += 1;
    }

    /// How many files there ever were.
    pub(crate) fn created(&self) -> usize {
        self.state().inodes.len()
    }

    /// The names of the files, as a running program sees them.
    pub(crate) fn sizes(&self) -> Vec<(String, usize)> {
        let state = self.state();
        let size = |(name, inode): (&String, &usize)| (name.clone(), state.inodes[*inode].cache.len());
        state.names.iter().map(size).collect()
    }
}

/// Puts any subset of what was not synced on the disk.
fn keep_some(inode: &mut Inode, random: &mut StdRng) {
    for sector in &inode.dirty {
        if random.random_bool(0.5) {
            put_sector(inode_parts(&inode.cache, &mut inode.disk), *sector);
        }
    }
}

fn inode_parts<'a>(cache: &'a [u8], disk: &'a mut Vec<u8>) -> (&'a [u8], &'a mut Vec<u8>) {
    (cache, disk)
}

fn put_sector((cache, disk): (&[u8], &mut Vec<u8>), sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(cache.len());
    if start >= end {
        return;
    }
    if disk.len() < end {
        disk.resize(end, 0);
    }
    disk[start..end].copy_from_slice(&cache[start..end]);
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Set(name, inode) => {
            names.insert(name, inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    fn used(&self) -> usize {
        let size = |inode: &usize| self.inodes[*inode].cache.len();
        self.names.values().map(size).sum()
    }

    /// How many of the bytes that a file is to have more are too many.
    fn excess(&self, growth: usize) -> usize {
        let room = self.room.unwrap_or(usize::MAX);
        (self.used() + growth).saturating_sub(room).min(growth)
    }

    /// Counts a call; what goes wrong with it.
    fn call(&mut self) -> Option<Fault> {
        if self.stopped {
            return Some(Fault::Crash);
        }
        let (calls, fault) = self.fault?;
        if calls > 0 {
            self.fault = Some((calls - 1, fault));
            return None;
        }
        self.fault = None;
        assert!(fault != Fault::Panic, "a planned panic");
        self.stopped = fault == Fault::Crash;
        Some(fault)
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let had_stopped = self.stopped;
        let fault = self.call();
        if had_stopped {
            return Err(broken(fault));
        }
        if fault.is_some() && (self.random.random_bool(0.5) || fault == Some(Fault::Fail)) {
            return Err(broken(fault));
        }
        apply(&mut self.names, change.clone());
        self.unsynced.push(change);
        match fault {
            None => Ok(()),
            fault => Err(broken(fault)),
        }
    }
}

fn broken(fault: Option<Fault>) -> io::Error {
    match fault {
        Some(Fault::Fail) => ErrorKind::StorageFull.into(),
        _ => io::Error::other("the machine has stopped"),
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u32,
}

impl SimFile {
    fn begin(&self) -> io::Result<(MutexGuard<'_, State>, Option<Fault>)> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(broken(None));
        }
        let fault = state.call();
        Ok((state, fault))
    }
}

impl Disk for SimDisk {
    fn folder(&self) -> &Path {
        Path::new("simulated")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        match state.call() {
            None => Ok(state.names.keys().cloned().collect()),
            fault => Err(broken(fault)),
        }
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let mut state = self.state();
        match state.call() {
            None => {}
            fault => return Err(broken(fault)),
        }
        let inode = state.names.get(name).copied();
        let life = state.life;
        Ok(inode.map(|inode| {
            Arc::new(SimFile {
                disk: self.clone(),
                inode,
                life,
            }) as Arc<dyn DiskFile>
        }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.change_name(NameChange::Set(name.to_owned(), inode))?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
            life: state.life,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state()
            .change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().change_name(NameChange::Remove(name.to_owned()))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        match state.call() {
            None => {}
            fault => return Err(broken(fault)),
        }
        if !state.lies {
            for change in std::mem::take(&mut state.unsynced) {
                apply(&mut state.names_on_disk, change);
            }
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let (state, fault) = self.begin()?;
        match fault {
            None => Ok(state.inodes[self.inode].cache.len() as u64),
            fault => Err(broken(fault)),
        }
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (state, fault) = self.begin()?;
        if fault.is_some() {
            return Err(broken(fault));
        }
        let start = usize::try_from(position).unwrap();
        let content = state.inodes[self.inode].cache.get(start..start + buffer.len());
        buffer.copy_from_slice(content.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, fault) = self.begin()?;
        let state = &mut *state;
        let start = usize::try_from(position).unwrap();
        let growth = (start + bytes.len()).saturating_sub(state.inodes[self.inode].cache.len());
        let excess = state.excess(growth);
        let fault = fault.or((excess > 0).then_some(Fault::Fail));
        let written = match fault {
            None => bytes.len(),
            Some(_) if excess > 0 => bytes.len() - excess,
            Some(_) => state.random.random_range(0..=bytes.len()),
        };
        let inode = &mut state.inodes[self.inode];
        if inode.cache.len() < start + written {
            inode.cache.resize(start + written, 0);
        }
        inode.cache[start..start + written].copy_from_slice(&bytes[..written]);
        if written > 0 {
            inode
                .dirty
                .extend(start / SECTOR..=(start + written - 1) / SECTOR);
        }
        match fault {
            None => Ok(()),
            fault => Err(broken(fault)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, fault) = self.begin()?;
        let state = &mut *state;
        let inode = &mut state.inodes[self.inode];
        match fault {
            None if state.lies => Ok(()),
            None => {
                inode.disk.clone_from(&inode.cache);
                inode.dirty.clear();
                Ok(())
            }
            Some(Fault::Fail) => {
                keep_some(inode, &mut state.random);
                inode.dirty.clear();
                Err(io::Error::other("the disk does not answer"))
            }
            fault => Err(broken(fault)),
        }
    }
}
