//! Opening: manifest, snapshot, log; the first events of a new repository, and those of a new key.

use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_repo::Commit;
use rand::Rng as _;

use super::commit_builder::{CommitBuilder, Content};
use super::{Engine, EngineOptions, SharedDisk, no_blocks};
use crate::blocks::{NodeCache, View};
use crate::disk;
use crate::error::RepoError;
use crate::head::{Head, rev_of};
use crate::legacy;
use crate::log::{Log, LogId, LogLimits, Manifest, SnapshotInfo, recovery, segment};
use crate::snapshot::Snapshot;

/// Other files in the folder.
const LOCK: &str = "lock";

/// Why the first commit of this opening is made.
enum Occasion {
    /// The repository is new.
    New,
    /// Another key signs from now on.
    NewKey,
    /// The log is new, the repository is not.
    NewLog,
}

impl Engine {
    /// Opens the repository in a folder, or makes one in an empty folder.
    pub(crate) fn open(disk: SharedDisk, options: EngineOptions) -> Result<Self, RepoError> {
        let EngineOptions {
            did,
            handle,
            signing_key,
            accept_new_key,
            node_cache_bytes,
            limits,
            clock,
            tids,
        } = options;
        let (manifest, is_converted) = match Manifest::read(&*disk)? {
            // The old log keeps its name until the conversion was announced.
            Some(manifest) => (manifest, legacy::is_present(&*disk)?),
            None => create(&disk, &did, &limits)?,
        };
        if manifest.did != did.as_str() {
            return Err(RepoError::OtherDid {
                expected: did,
                found: manifest.did,
            });
        }
        let log_id = manifest.log_id;
        let snapshot = match &manifest.snapshot {
            None => None,
            Some(info) => Some(Arc::new(Snapshot::open(&*disk, &log_id, info)?)),
        };
        let mut head = snapshot.as_ref().map(|snapshot| snapshot.head()).transpose()?;
        let blocks = no_blocks(snapshot);
        let parts = recovery::recover(&disk, manifest, &limits, |frame, seq, aux| {
            blocks.recent.apply(frame, &aux);
            head = Some(Head {
                seq,
                commit: aux.commit,
                rev: rev_of(aux.rev),
                data: aux.data,
            });
            Ok(())
        })?;
        let log = Log::new(Arc::clone(&disk), limits, parts)?;
        if let Some(head) = &head {
            tids.advance_past(&head.rev);
        }
        let builder = CommitBuilder {
            did,
            handle,
            signing_key,
            tids,
            clock,
        };
        let occasion = if head.is_some() {
            is_converted.then_some(Occasion::NewLog)
        } else {
            Some(Occasion::New)
        };
        let empty = Content::empty()?;
        let view = View {
            // Replaced below if the repository is new.
            head: head.clone().unwrap_or(Head {
                seq: 0,
                commit: empty.data(),
                rev: rev_of(0),
                data: empty.data(),
            }),
            log_id,
            segments: Arc::clone(log.segments()),
            end: log.end(),
            last: log.last(),
            dropped_seq: log.manifest().dropped_seq,
            blocks: Arc::new(blocks),
            nodes: Arc::new(NodeCache::new(node_cache_bytes)),
        };
        let mut engine = Self {
            log,
            builder,
            view,
            perhaps_named: Vec::new(),
        };
        let is_signed = match &head {
            None => true,
            Some(head) => {
                let commit = Commit::decode(&engine.view.block(&head.commit)?)?;
                if commit.did != engine.builder.did.as_str() || commit.data != head.data {
                    return Err(RepoError::corrupt(
                        "the newest commit does not say what the log says of it",
                    ));
                }
                commit.is_signed_by(&engine.builder.signing_key.public_key())
            }
        };
        if !is_signed && !accept_new_key {
            return Err(RepoError::OtherKey);
        }
        let occasion = occasion.or((!is_signed).then_some(Occasion::NewKey));
        if let Some(occasion) = occasion {
            engine.announce(&occasion, head.as_ref(), &empty)?;
        }
        legacy::set_aside(&*disk)?;
        Ok(engine)
    }

    /// The events that subscribers need in this case. The commit between them continues the chain of commits.
    fn announce(
        &mut self,
        occasion: &Occasion,
        head: Option<&Head>,
        empty: &Content,
    ) -> Result<(), RepoError> {
        if head.is_some() {
            self.check_clock()?;
        }
        let builder = &self.builder;
        let mut entries = Vec::new();
        let mut last = self.view.last.0;
        if matches!(occasion, Occasion::New | Occasion::NewKey) {
            entries.push(builder.identity(&mut last)?);
        }
        if matches!(occasion, Occasion::New) {
            entries.push(builder.account(&mut last)?);
        }
        let built = match head {
            None => builder.build(None, empty, &mut last)?,
            Some(head) => {
                let root = self.view.block(&head.data)?;
                builder.build(Some(head), &Content::unchanged(head, root), &mut last)?
            }
        };
        let (head, commit) =
            built.ok_or_else(|| RepoError::corrupt("a commit without records is too large"))?;
        entries.push(commit.entry);
        entries.push(builder.sync(&head, &commit.block, &mut last)?);
        self.store(&entries, head)
    }
}

/// A manifest for a folder that has none, and whether an older version's repository was found there.
fn create(disk: &SharedDisk, did: &Did, limits: &LogLimits) -> Result<(Manifest, bool), RepoError> {
    let names = disk
        .names()
        .map_err(|error| disk::failed(&**disk, "list", "", error))?;
    let log_id: LogId = rand::rng().random();
    let converted = if names.iter().any(|name| name == legacy::FILE) {
        Some(legacy::convert(disk, did, &log_id)?)
    } else {
        check_empty(disk, &names)?;
        None
    };
    let is_converted = converted.is_some();
    let after_seq = converted
        .as_ref()
        .map_or(0, |snapshot: &SnapshotInfo| snapshot.seq);
    let manifest = Manifest::new(did.as_str(), log_id, after_seq, converted);
    segment::create(&**disk, 1, &log_id, &[], limits.prefill_bytes as usize)?;
    manifest.publish(&**disk)?;
    Ok((manifest, is_converted))
}

/// A folder that has files but no manifest does not become a new repository.
fn check_empty(disk: &SharedDisk, names: &[String]) -> Result<(), RepoError> {
    for name in names {
        let is_harmless = name == LOCK || name.ends_with(".tmp") || {
            // A crash during the creation leaves the first segment without an event.
            *name == segment::name(1) && segment::is_unused(&**disk, 1)?
        };
        if !is_harmless {
            return Err(RepoError::Incomplete {
                folder: disk.folder().to_owned(),
                missing: "manifest".to_owned(),
            });
        }
    }
    Ok(())
}
