//! Layer records of manifests that are gone: they count in quotas, and keep nothing.

use std::collections::HashMap;
use std::time::Duration;

use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::manifest;
use atcr_atproto::syntax::{RecordKey, Tid};
use atcr_hold_pds::writer::limits::MAX_OPS;
use atcr_hold_pds::{RecordWrite, RepoError, Urgency};
use tokio::time::{Instant, timeout_at};

use super::ports::{Account, AccountState, KnownManifest, StoredRun};
use super::reading::PAGE;
use super::{GcError, Inner};

/// How long the proofs of one account may take; the rest is asked for by the next run.
const PROVEN_WITHIN: Duration = Duration::from_mins(30);

/// A layer record of a manifest that its account does not list, and the manifest's key.
struct Stray {
    record: RecordKey,
    manifest: String,
}

impl Inner {
    /// How many layer records the run may delete.
    pub(super) async fn count_strays(&self, run: &mut StoredRun) -> Result<(), GcError> {
        run.report.records_to_delete = 0;
        for account in self.table.accounts().await? {
            self.require_not_stopping()?;
            if rev_of(&account, run).is_none() {
                continue;
            }
            let known = self.table.manifests(account.id).await?;
            let mut after: Option<RecordKey> = None;
            while let Some((strays, next)) = self.strays(&account, &known, after.as_ref()).await? {
                after = Some(next);
                run.report.records_to_delete += strays.len() as u64;
            }
        }
        Ok(())
    }

    /// Deletes layer records of manifests that are proven gone.
    pub(super) async fn reconcile(&self, run: &mut StoredRun) -> Result<(), GcError> {
        for account in self.table.accounts().await? {
            self.require_not_stopping()?;
            let Some(rev) = rev_of(&account, run) else {
                continue;
            };
            let known = self.table.manifests(account.id).await?;
            let give_up_at = Instant::now() + PROVEN_WITHIN;
            let mut proven: HashMap<String, bool> = HashMap::new();
            let mut after: Option<RecordKey> = None;
            while let Some((strays, next)) = self.strays(&account, &known, after.as_ref()).await? {
                after = Some(next);
                let mut gone = Vec::new();
                for stray in strays {
                    // Asked again: it may have been pushed again since it was found gone.
                    let is_gone = match proven.get(&stray.manifest) {
                        Some(is_gone) => *is_gone,
                        None => {
                            let asking = self.reader.is_absent(&account.did, &stray.manifest, rev);
                            let is_gone = matches!(timeout_at(give_up_at, asking).await, Ok(Ok(true)));
                            proven.insert(stray.manifest, is_gone);
                            is_gone
                        }
                    };
                    if is_gone {
                        gone.push(stray.record);
                    }
                }
                run.report.records_deleted += self.delete_layers(gone).await?;
                if Instant::now() >= give_up_at {
                    tracing::warn!(did = %account.did, "not all manifests that are not listed were proven gone in time");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Layer records, on one page, of manifests that the account does not list, and where the next page begins.
    async fn strays(
        &self,
        account: &Account,
        known: &HashMap<String, KnownManifest>,
        after: Option<&RecordKey>,
    ) -> Result<Option<(Vec<Stray>, RecordKey)>, RepoError> {
        let names = self.repo.layer_names(&account.did, PAGE, after).await?;
        let Some(next) = names.last().map(|name| name.rkey.clone()) else {
            return Ok(None);
        };
        let stray = |name: atcr_hold_pds::LayerName| {
            let key = name.manifest.rkey()?.to_string();
            let is_manifest = manifest::digest_from_rkey(&key).is_some();
            (is_manifest && !known.contains_key(&key)).then_some(Stray {
                record: name.rkey,
                manifest: key,
            })
        };
        Ok(Some((names.into_iter().filter_map(stray).collect(), next)))
    }

    async fn delete_layers(&self, records: Vec<RecordKey>) -> Result<u64, RepoError> {
        let count = records.len() as u64;
        for records in records.chunks(MAX_OPS) {
            let writes = records
                .iter()
                .map(|rkey| RecordWrite::delete::<LayerRecord>(rkey.clone()))
                .collect::<Result<Vec<_>, _>>()?;
            self.repo.write_by(writes, Urgency::Background).await?;
        }
        Ok(count)
    }
}

/// The revision at which the account was read whole in this run.
fn rev_of<'a>(account: &'a Account, run: &StoredRun) -> Option<&'a Tid> {
    let is_read =
        account.state == AccountState::Read && account.read_since.is_some_and(|since| since >= run.since);
    account.rev.as_ref().filter(|_| is_read)
}
