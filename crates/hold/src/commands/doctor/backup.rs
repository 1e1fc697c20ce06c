//! The copy of the repository: whether there is one, whether it is whole, and how far it is behind.

use std::path::Path;

use atcr_atproto::syntax::Did;
use chrono::{DateTime, TimeDelta, Utc};

use super::Patient;
use super::finding::Findings;
use crate::backup::{BackupError, Head, check, download};
use crate::compose;
use crate::settings::BackupSettings;

const CHECK: &str = "backup";
/// How far a copy may be behind what is in the folder.
const MOST_BEHIND: TimeDelta = TimeDelta::minutes(10);

pub(super) async fn look(patient: &Patient<'_>, findings: &mut Findings) {
    let settings = patient.settings;
    let Some(store) = compose::backup_store(settings) else {
        let text = match settings.backup {
            BackupSettings::Off => "there is no backup: backup.enabled is false",
            _ => "there is no backup",
        };
        findings.warning(
            CHECK,
            text,
            "name a folder on another disk in backup.path, or a bucket in backup.bucket: a lost disk is a lost hold otherwise",
        );
        return;
    };
    let repo = compose::repo_dir(settings);
    let did: Did = match crate::commands::found_did(&repo) {
        Ok(Some(did)) => did,
        Ok(None) => return findings.ok(CHECK, format!("{}: nothing to copy yet", store.place())),
        Err(error) => {
            return findings.problem(
                CHECK,
                format!("{error:#}"),
                "see \"What to keep\" in docs/hold.md",
            );
        }
    };
    let config = &patient.config;
    let head = match download::newest_head(&*store, &did).await {
        Ok(head) => head,
        Err(error) => {
            let remedy = match error {
                BackupError::None { .. } => {
                    format!("start the hold, which makes it, or: atcr-hold repo backup{config}")
                }
                _ => format!(
                    "see that the hold may read and write there: atcr-hold repo backup --status{config}"
                ),
            };
            let text = format!("{}: {:#}", store.place(), anyhow::Error::new(error));
            return findings.problem(CHECK, text, remedy);
        }
    };
    match check::incomplete(&*store, &head).await {
        Ok(incomplete) if incomplete.is_empty() => age(&head, &store.place(), &repo, config, findings),
        Ok(incomplete) => findings.problem(
            CHECK,
            format!("{}: {} of {} files are not whole", store.place(), incomplete.len(), head.files.len()),
            format!(
                "restart the hold, or: atcr-hold repo backup{config}; then find out what removes objects there (rules of the bucket?)"
            ),
        ),
        Err(error) => findings.problem(
            CHECK,
            format!("{}: {:#}", store.place(), anyhow::Error::new(error)),
            "see that the hold may list objects there",
        ),
    }
}

fn age(head: &Head, place: &str, repo: &Path, config: &str, findings: &mut Findings) {
    let written = head.at.to_utc();
    let newest = newest_change(repo);
    let behind = newest.map_or(TimeDelta::zero(), |newest| newest - written);
    if behind > MOST_BEHIND {
        findings.problem(
            CHECK,
            format!(
                "{place}: written {}, and {} minutes behind the repository",
                head.at,
                behind.num_minutes()
            ),
            format!("look into the hold's log for why it does not copy; if it does not run: atcr-hold repo backup{config}"),
        );
    } else {
        findings.ok(
            CHECK,
            format!("{place}: has everything up to {}, written {}", head.rev, head.at),
        );
    }
}

/// When the repository's log was written last.
fn newest_change(repo: &Path) -> Option<DateTime<Utc>> {
    let entries = std::fs::read_dir(repo).ok()?.flatten();
    entries
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "seg")
        })
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max()
        .map(DateTime::<Utc>::from)
}
