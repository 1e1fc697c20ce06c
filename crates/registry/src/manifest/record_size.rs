//! Commits cut down to what a PDS takes in one request.
//!
//! Manifest records restate their manifests, whose bytes are the truth, so they may leave things out. In this order, and in the
//! largest record first, until all writes of the commit fit:
//!
//! 1. the manifest's own annotations, and the artifact type, so that a reader knows to look for both in the bytes
//! 2. the annotations of what it names
//! 3. other places and platforms of what it names
//! 4. the media types of layers and children, of which only digest and length are left
//! 5. layers and children altogether, which the pusher is told: a reader that goes by records, such as a hold's garbage collection,
//!    no longer sees what the manifest keeps alive
//!
//! The index learns of layers and children all the same: from the manifest at hand, or from the bytes when such a record is read.

use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::manifest::{ManifestRecord, UNTYPED};
use atcr_atproto::pds::{MAX_REQUEST_BYTES, Write};
use atcr_atproto::syntax::RecordKey;

use crate::account::Plan;
use crate::error::RegistryError;
use crate::manifest::pull::internal;

/// Bytes for the writes of one request. What is beside them, the account's DID above all, takes less than the rest.
const WRITES_BYTES: usize = MAX_REQUEST_BYTES - 4 * 1024;

const CUTS: [fn(&mut ManifestRecord); 5] = [
    own_annotations,
    annotations_of_content,
    details_of_content,
    types_of_content,
    content,
];

/// The cuts that a record gets in the index as well. The others are not among them: what a manifest names has to be found there.
const CUTS_IN_INDEX: usize = 3;

/// A manifest record that is to be written.
struct Candidate {
    /// Its place among the writes.
    write: usize,
    /// Its place among the changes.
    change: usize,
    cuts: usize,
}

impl Plan {
    /// Cuts manifest records until the writes fit into one request, or nothing is left to cut: then the PDS has the last word.
    ///
    /// # Errors
    /// Never: the records are ones that can be written.
    pub(super) fn fit(&mut self) -> Result<(), RegistryError> {
        let mut sizes: Vec<usize> = self.writes.iter().map(Write::request_bytes).collect();
        let mut candidates = self.candidates();
        while sizes.iter().sum::<usize>() > WRITES_BYTES {
            let largest = candidates
                .iter_mut()
                .filter(|candidate| candidate.cuts < CUTS.len())
                .max_by_key(|candidate| sizes[candidate.write]);
            let Some(largest) = largest else { break };
            largest.cuts += 1;
            let record = cut(&self.change.manifests[largest.change].record, largest.cuts);
            let write = &mut self.writes[largest.write];
            if let Write::Create { value, .. } | Write::Update { value, .. } = write {
                *value = record.to_value().map_err(internal)?;
            }
            sizes[largest.write] = write.request_bytes();
        }
        self.names_content = candidates.iter().all(|candidate| candidate.cuts < CUTS.len());
        for candidate in candidates.iter().filter(|candidate| candidate.cuts > 0) {
            let indexed = &mut self.change.manifests[candidate.change].record;
            *indexed = cut(indexed, candidate.cuts.min(CUTS_IN_INDEX));
        }
        Ok(())
    }

    fn candidates(&self) -> Vec<Candidate> {
        let place = |rkey: &RecordKey| {
            self.change
                .manifests
                .iter()
                .position(|manifest| manifest.rkey == *rkey)
        };
        let candidates = self
            .writes
            .iter()
            .enumerate()
            .filter_map(|(write, change)| match change {
                Write::Create {
                    collection,
                    rkey: Some(rkey),
                    ..
                }
                | Write::Update { collection, rkey, .. }
                    if collection == ManifestRecord::NSID =>
                {
                    Some(Candidate {
                        write,
                        change: place(rkey)?,
                        cuts: 0,
                    })
                }
                _ => None,
            });
        candidates.collect()
    }
}

/// Whether `stored` is what would be written of `record`, with more or less cut off.
pub(super) fn restates(stored: &ManifestRecord, record: &ManifestRecord) -> bool {
    (0..=CUTS.len()).any(|cuts| *stored == cut(record, cuts))
}

fn cut(record: &ManifestRecord, cuts: usize) -> ManifestRecord {
    let mut record = record.clone();
    for cut in CUTS.iter().take(cuts) {
        cut(&mut record);
    }
    record
}

fn own_annotations(record: &mut ManifestRecord) {
    record.annotations.clear();
    record.artifact_type = None;
}

fn annotations_of_content(record: &mut ManifestRecord) {
    let blobs = record
        .config
        .iter_mut()
        .chain(&mut record.layers)
        .chain(&mut record.subject);
    blobs.for_each(|blob| blob.annotations.clear());
    record
        .manifests
        .iter_mut()
        .for_each(|child| child.annotations.clear());
}

fn details_of_content(record: &mut ManifestRecord) {
    let blobs = record
        .config
        .iter_mut()
        .chain(&mut record.layers)
        .chain(&mut record.subject);
    blobs.for_each(|blob| blob.urls.clear());
    record
        .manifests
        .iter_mut()
        .for_each(|child| child.platform = None);
}

fn types_of_content(record: &mut ManifestRecord) {
    let types = record
        .layers
        .iter_mut()
        .map(|layer| &mut layer.media_type)
        .chain(record.manifests.iter_mut().map(|child| &mut child.media_type));
    for media_type in types.filter(|media_type| media_type.len() > UNTYPED.len()) {
        UNTYPED.clone_into(media_type);
    }
}

fn content(record: &mut ManifestRecord) {
    record.layers.clear();
    record.manifests.clear();
}
