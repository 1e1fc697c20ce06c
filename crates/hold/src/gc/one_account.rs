//! Reading one account: its manifests at one revision, and what they name.
//!
//! Its server is the member's, and may be malicious: what is read of it, and how long that takes, is bounded. An account beyond that counts
//! as not read.

use std::collections::{HashMap, HashSet};

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::Inner;
use super::names::{MAX_NAMES, digests_in_text};
use super::ports::{Account, KnownManifest, ListedManifest, Unreadable};
use super::reading::{Failure, Outcome};

/// Times that an account is listed because it changed meanwhile.
const TRIES: u32 = 3;
/// Pages of one account; a manifest each, if its server makes fun of us.
const MAX_PAGES: u32 = 100_000;
/// So many times the manifests that an account may have are remembered, with those that are not proven gone.
const MANIFESTS_KEPT: usize = 4;
/// Manifests of one account whose bytes are read at once.
const BYTES_AT_ONCE: usize = 4;
/// An account that lacks so many manifests, and more than half of them, may have been reset.
const MANY_GONE: usize = 20;

impl Inner {
    /// Reads one account whole, with the uptime when the reading began.
    pub(super) async fn read_account(&self, account: &Account) -> (u64, Result<Outcome, Failure>) {
        let mut since = self.uptime.now();
        let reading = async {
            for _ in 0..TRIES {
                since = self.uptime.now();
                match self.read_at_one_rev(account).await {
                    Ok(None) => {}
                    Ok(Some(outcome)) => return Ok(outcome),
                    Err(error) => return Err(error),
                }
            }
            Err(unreadable("the account changed each time it was read"))
        };
        let within = self.options.read_within;
        let outcome = tokio::time::timeout(within, reading).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(unreadable(format!(
                "it was not read within {} s",
                within.as_secs()
            )))
        });
        (since, outcome)
    }

    /// `None` if the account moved on while it was read.
    async fn read_at_one_rev(&self, account: &Account) -> Result<Option<Outcome>, Failure> {
        let did = &account.did;
        let rev = self.reader.rev(did).await?;
        let last = account.rev.as_ref();
        if last == Some(&rev) {
            return Ok(Some(Outcome::Unchanged(rev)));
        }
        if !account.accepted && last.is_some_and(|last| rev < *last) {
            return Ok(Some(Outcome::Frozen(format!(
                "its server has an older revision than before: {rev}"
            ))));
        }
        let known = self.table.manifests(account.id).await?;
        let (most_manifests, most_names) = (self.options.most_manifests, self.options.most_names);
        if known.len() > most_manifests.saturating_mul(MANIFESTS_KEPT) {
            return Err(unreadable("it has too many manifests that are not proven gone"));
        }
        let mut room = most_names.saturating_sub(self.table.count_names(account.id).await?);
        let mut listed = HashSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.reader.page(did, cursor.as_deref()).await?;
            let before = listed.len();
            listed.extend(page.manifests.iter().map(|manifest| manifest.rkey.clone()));
            let brings_nothing = !page.manifests.is_empty() && listed.len() == before;
            if listed.len() > most_manifests {
                return Err(unreadable(format!("it has more than {most_manifests} manifests")));
            }
            self.note_page(account, &known, &page.manifests, &mut room)
                .await?;
            match page.cursor {
                Some(next) if cursor.as_ref() != Some(&next) && !brings_nothing => cursor = Some(next),
                Some(_) => return Err(unreadable("its list goes round in circles")),
                None => {
                    cursor = None;
                    break;
                }
            }
        }
        if cursor.is_some() {
            return Err(unreadable("its list has too many pages"));
        }
        if self.reader.rev(did).await? != rev {
            return Ok(None);
        }
        let missing: Vec<&String> = known.keys().filter(|rkey| !listed.contains(*rkey)).collect();
        if !account.accepted && missing.len() >= MANY_GONE && missing.len() * 2 > known.len() {
            let reason = format!("{} of {} manifests are gone at once", missing.len(), known.len());
            return Ok(Some(Outcome::Doubted(reason)));
        }
        for rkey in missing {
            // A server that does not answer now is asked again, with the whole account: it would not be at this revision.
            if self.reader.is_absent(did, rkey, &rev).await? {
                self.table.drop_manifest(account.id, did, rkey).await?;
            } else {
                tracing::warn!(%did, rkey, "a manifest is not listed, and is not proven gone either; it stays");
            }
        }
        Ok(Some(Outcome::Whole(rev)))
    }

    /// Adds what the manifests name, for which there is `room`. Their bytes are read once for each record: it says which they are, and
    /// records leave things out.
    async fn note_page(
        &self,
        account: &Account,
        known: &HashMap<String, KnownManifest>,
        manifests: &[ListedManifest],
        room: &mut u64,
    ) -> Result<(), Failure> {
        let is_known = |manifest: &&ListedManifest| {
            let known = known.get(&manifest.rkey);
            known.is_some_and(|known| known.record.as_ref() == Some(&manifest.record))
        };
        let unknown: Vec<ListedManifest> = manifests
            .iter()
            .filter(|manifest| !is_known(manifest))
            .cloned()
            .collect();
        let mut read = stream::iter(unknown)
            .map(|manifest| self.names_of(&account.did, manifest).boxed())
            .buffer_unordered(BYTES_AT_ONCE);
        while let Some(outcome) = read.next().await {
            let (manifest, names) = outcome?;
            let rest = room.checked_sub(names.len() as u64);
            let Some(rest) = rest.filter(|_| names.len() < MAX_NAMES) else {
                let rkey = &manifest.rkey;
                return Err(unreadable(format!(
                    "its manifests name too many blobs: at {rkey} there is room for {room} more"
                )));
            };
            *room = rest;
            let (rkey, repository, record) = (&manifest.rkey, &manifest.repository, &manifest.record);
            self.table
                .add_names(account.id, rkey, repository, &names, Some(record))
                .await?;
        }
        // The same record may be written for another repository.
        let moved: Vec<(String, String)> = manifests
            .iter()
            .filter(|manifest| {
                known
                    .get(&manifest.rkey)
                    .is_some_and(|known| known.repository != manifest.repository)
            })
            .map(|manifest| (manifest.rkey.clone(), manifest.repository.clone()))
            .collect();
        if !moved.is_empty() {
            self.table.set_repositories(account.id, &moved).await?;
        }
        Ok(())
    }

    async fn names_of(
        &self,
        did: &Did,
        manifest: ListedManifest,
    ) -> Result<(ListedManifest, Vec<Digest>), Unreadable> {
        let mut names = manifest.digests.clone();
        if let Some(cid) = &manifest.bytes {
            let bytes = self.reader.bytes(did, cid).await?;
            digests_in_text(&bytes, &mut names);
        }
        Ok((manifest, names))
    }
}

fn unreadable(reason: impl Into<String>) -> Failure {
    Unreadable::Failed(reason.into()).into()
}
