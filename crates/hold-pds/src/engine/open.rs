//! Opening: manifest, snapshot, log; the first events of a new repository, and those of a new key.

use std::collections::VecDeque;
use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_repo::Commit;
use rand::Rng as _;

use super::commit_builder::{CommitBuilder, Content};
use super::{Engine, EngineOptions, SharedDisk, Signers, check_ahead, no_blocks};
use crate::blocks::{NodeCache, View};
use crate::disk;
use crate::error::RepoError;
use crate::head::{Head, rev_of};
use crate::legacy;
use crate::log::{Announced, Log, LogId, LogLimits, Manifest, SnapshotInfo, recovery, segment};
use crate::repo::Seen;
use crate::repo::events::lacks;
use crate::snapshot::Snapshot;

/// Other files in the folder.
pub(super) const LOCK: &str = "lock";

/// Why followers are told something that is no write.
pub(super) enum Occasion {
    /// The repository is new, perhaps in the place of another account's.
    New { replaces: Option<Did> },
    /// Another key signs from now on.
    NewKey,
    /// The handle or the URL is another.
    NewName,
    /// The log is new, the repository is not.
    NewLog,
    /// A follower has come that may know nothing of the repository.
    NewFollower,
}

impl Engine {
    /// Opens the repository in a folder, or makes one in an empty folder.
    pub(crate) fn open(disk: SharedDisk, options: EngineOptions) -> Result<Self, RepoError> {
        let EngineOptions {
            did,
            handle,
            endpoint,
            replaces,
            signing_key,
            signers,
            seen,
            known,
            must_exist,
            node_cache_bytes,
            limits,
            clock,
            tids,
        } = options;
        let announced = Announced {
            handle: handle.clone(),
            endpoint,
        };
        let (manifest, is_converted) = match Manifest::read(&*disk)? {
            // The old log keeps its name until the conversion was announced.
            Some(manifest) => (manifest, legacy::is_present(&*disk)?),
            None if must_exist => {
                return Err(RepoError::NoRepository {
                    folder: disk.folder().to_owned(),
                });
            }
            None => create(&disk, &did, &limits, &announced)?,
        };
        if manifest.restoring {
            return Err(RepoError::HalfRestored {
                folder: disk.folder().to_owned(),
            });
        }
        let is_renamed = announced.endpoint.is_some() && manifest.announced.as_ref() != Some(&announced);
        if manifest.did != did.as_str() {
            return Err(RepoError::OtherDid {
                expected: did,
                found: manifest.did,
            });
        }
        let log_id = manifest.log_id;
        let snapshot = match &manifest.snapshot {
            None => None,
            Some(info) => Some(Arc::new(Snapshot::open(&disk, &log_id, info)?)),
        };
        let mut head = snapshot.as_ref().map(|snapshot| snapshot.head()).transpose()?;
        let blocks = no_blocks(snapshot);
        let parts = recovery::recover(&disk, manifest, &limits, |frame, seq, aux| {
            let over = blocks.recent.apply(frame, &aux);
            blocks.recent.forget(&over);
            head = Some(Head {
                seq,
                commit: aux.commit,
                rev: rev_of(aux.rev),
                data: aux.data,
            });
            Ok(())
        })?;
        let mut log = Log::new(Arc::clone(&disk), limits, parts)?;
        let found_seq = log.last().0;
        match &head {
            Some(head) => tids.advance_past(&head.rev),
            None => log.skip_numbers_to(seen.skips_to()),
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
            Some(Occasion::New { replaces })
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
            pin: Arc::default(),
        };
        let mut engine = Self {
            is_unknown: head.is_none() || (is_renamed && log.manifest().announced.is_some()),
            log,
            builder,
            announced,
            view,
            found_seq,
            is_older_copy: false,
            perhaps_named: Vec::new(),
            over: VecDeque::new(),
        };
        if let Some(known) = &known {
            engine.is_older_copy = lacks(&engine.view, known, found_seq)?;
            if engine.is_older_copy && head.is_none() {
                // Nothing of it could be read, and nothing may be written.
                return Err(RepoError::NotRestored {
                    folder: engine.log.disk().folder().to_owned(),
                    known: known.seq,
                });
            }
        }
        let is_new_key = match &head {
            None => {
                engine.advance_past(&seen)?;
                false
            }
            Some(head) => {
                let commit = Commit::decode(&engine.view.block(&head.commit)?)?;
                if commit.did != engine.builder.did.as_str() || commit.data != head.data {
                    return Err(RepoError::corrupt(
                        "the newest commit does not say what the log says of it",
                    ));
                }
                let is_own = commit.is_signed_by(&engine.public_key());
                match &signers {
                    Signers::Own if !is_own => return Err(RepoError::OtherKey),
                    Signers::OneOf(keys) if !is_own && !keys.iter().any(|key| commit.is_signed_by(key)) => {
                        return Err(RepoError::OtherKey);
                    }
                    Signers::Any => !is_own,
                    Signers::Own | Signers::OneOf(_) => false,
                }
            }
        };
        if engine.is_older_copy {
            // Followers know what came after it, and must not get anything else in its place.
            return Ok(engine);
        }
        if let Some(occasion) = occasion.or(is_new_key.then_some(Occasion::NewKey)) {
            engine.announce(&occasion)?;
        }
        if is_renamed {
            engine.announce_name()?;
        }
        if engine.log.manifest().owes_sync {
            engine.announce_state()?;
        }
        legacy::set_aside(&*disk)?;
        Ok(engine)
    }

    /// Makes the next revision greater than what followers have seen.
    pub(super) fn advance_past(&self, seen: &Seen) -> Result<(), RepoError> {
        let Some(rev) = &seen.rev else {
            return Ok(());
        };
        check_ahead(rev, self.builder.now_micros())?;
        self.builder.tids.advance_past(rev);
        Ok(())
    }

    /// The events that subscribers need in this case. The commit between them continues the chain of commits.
    pub(super) fn announce(&mut self, occasion: &Occasion) -> Result<(), RepoError> {
        let is_new = matches!(occasion, Occasion::New { .. });
        // These make a revision.
        if matches!(occasion, Occasion::NewKey | Occasion::NewLog) {
            self.check_clock()?;
        }
        if matches!(occasion, Occasion::NewKey) {
            self.forget_older_events()?;
        }
        let builder = &self.builder;
        let mut entries = Vec::new();
        let mut last = self.view.last.0;
        if let Occasion::New { replaces: Some(old) } = occasion {
            entries.push(builder.account_ended(old, &mut last)?);
        }
        if !matches!(occasion, Occasion::NewLog) {
            entries.push(builder.identity(&mut last)?);
        }
        if matches!(occasion, Occasion::NewName | Occasion::NewFollower) {
            let head = self.view.head.clone();
            if matches!(occasion, Occasion::NewFollower) {
                entries.push(builder.sync(&head, &self.newest_commit()?, &mut last)?);
            }
            return self.store(&entries, head);
        }
        let built = if is_new {
            entries.push(builder.account(&mut last)?);
            builder.build(None, &Content::empty()?, &mut last)?
        } else {
            let head = &self.view.head;
            let root = self.view.block(&head.data)?;
            builder.build(Some(head), &Content::unchanged(head, root), &mut last)?
        };
        let (head, commit) =
            built.ok_or_else(|| RepoError::corrupt("a commit without records is too large"))?;
        entries.push(commit.entry);
        entries.push(builder.sync(&head, &commit.block, &mut last)?);
        self.store(&entries, head)
    }

    /// Tells followers that the handle or the URL is another, until the manifest says that they were told. A manifest of an older
    /// version does not say what they know: they have been told.
    fn announce_name(&mut self) -> Result<(), RepoError> {
        if self.log.manifest().announced.is_some() {
            self.announce(&Occasion::NewName)?;
        }
        let announced = self.announced.clone();
        self.log
            .update_manifest(|manifest| manifest.announced = Some(announced))
    }

    /// Moves the oldest event that is served past all there are: subscribers check signatures with the key that the document names
    /// now, and it has signed none of them.
    fn forget_older_events(&mut self) -> Result<(), RepoError> {
        let last = self.view.last.0;
        self.log
            .update_manifest(|manifest| manifest.dropped_seq = manifest.dropped_seq.max(last))?;
        self.view.dropped_seq = last;
        Ok(())
    }
}

/// A manifest for a folder that has none, and whether an older version's repository was found there.
fn create(
    disk: &SharedDisk,
    did: &Did,
    limits: &LogLimits,
    announced: &Announced,
) -> Result<(Manifest, bool), RepoError> {
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
    let mut manifest = Manifest::new(did.as_str(), log_id, after_seq, converted);
    manifest.announced = Some(announced.clone());
    segment::create(&**disk, 1, &log_id, &[], limits.prefill_bytes as usize)?;
    manifest.publish(&**disk)?;
    Ok((manifest, is_converted))
}

/// A folder that has files but no manifest does not become a new repository.
pub(super) fn check_empty(disk: &SharedDisk, names: &[String]) -> Result<(), RepoError> {
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
