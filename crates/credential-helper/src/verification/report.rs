//! What is said about an image that is proven, or is not.

use atcr_atproto::syntax::Datetime;
use atcr_repo::provenance::{Statement, Verdict};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::blobs::Hashed;
use super::coverage::Coverage;
use super::image_name::ImageName;
use super::proof_file::Anchor;
use crate::printer::{Printer, plain};

/// What is proven, for programs.
#[derive(Debug, Serialize)]
pub struct Report {
    verdict: &'static str,
    image: String,
    /// The handle, confirmed in both directions. A file confirms none.
    handle: Option<String>,
    handle_confirmed: bool,
    did: String,
    key: String,
    key_believed_by: Anchor,
    digest: String,
    media_type: String,
    manifest: StatementReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<StatementReport>,
    /// When the manifest's record was written, as it says.
    claimed_created_at: String,
    /// When the tag's record was written, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_tagged_at: Option<String>,
    hold: Option<String>,
    covers: Coverage,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashed: Option<HashedReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_saved_at: Option<String>,
    /// A tag that was named beside the digest, and not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    unchecked_tag: Option<String>,
    /// The command that pulls what is proven.
    pull: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatementReport {
    uri: String,
    cid: String,
    commit: String,
    rev: String,
    signed_at: String,
}

impl StatementReport {
    fn of(statement: &Statement) -> Self {
        Self {
            uri: statement.uri.clone(),
            cid: statement.cid.to_string(),
            commit: statement.commit.to_string(),
            rev: statement.rev.to_string(),
            signed_at: Datetime::new(statement.signed_at()).to_string(),
        }
    }
}

#[derive(Debug, Serialize)]
struct HashedReport {
    count: usize,
    size_bytes: u64,
}

/// How a report came about.
#[derive(Debug)]
pub struct Circumstances {
    /// The image as it was named; by its DID if the handle is not confirmed.
    pub image: ImageName,
    /// The account's handle, if it was confirmed.
    pub confirmed_handle: Option<String>,
    /// By what the key is believed.
    pub anchor: Anchor,
    /// What the bytes name.
    pub covers: Coverage,
    /// What was read of it.
    pub hashed: Option<Hashed>,
    /// When the proof was saved, if it is from a file.
    pub saved_at: Option<Datetime>,
}

impl Report {
    /// The report on `verdict`.
    #[must_use]
    pub fn new(verdict: &Verdict, circumstances: Circumstances) -> Self {
        let tag = verdict.tag.as_ref();
        Self {
            verdict: "proven",
            unchecked_tag: circumstances
                .image
                .unchecked_tag
                .as_ref()
                .map(ToString::to_string),
            pull: circumstances.image.pull_command(&verdict.digest),
            image: circumstances.image.to_string(),
            handle_confirmed: circumstances.confirmed_handle.is_some(),
            handle: circumstances.confirmed_handle,
            did: verdict.did.to_string(),
            key: verdict.key.to_did_key(),
            key_believed_by: circumstances.anchor,
            digest: verdict.digest.to_string(),
            media_type: verdict.media_type.clone(),
            manifest: StatementReport::of(&verdict.manifest),
            tag: tag.map(|(_, statement, _)| StatementReport::of(statement)),
            claimed_created_at: verdict.created_at.to_string(),
            claimed_tagged_at: tag.and_then(|(_, _, at)| Some(at.as_ref()?.to_string())),
            hold: verdict.hold.as_ref().map(ToString::to_string),
            covers: circumstances.covers,
            hashed: circumstances.hashed.map(|hashed| HashedReport {
                count: hashed.count,
                size_bytes: hashed.size_bytes,
            }),
            proof_saved_at: circumstances.saved_at.map(|at| at.to_string()),
        }
    }

    /// Writes a few lines to standard output. `verdict` is what the report was made of.
    pub fn write(&self, printer: &Printer, verdict: &Verdict) {
        let say = |name: &str, text: &str| printer.product(format_args!("  {name:<9}{}", plain(text)));
        let signer = self.handle.as_deref().unwrap_or(&self.did);
        printer.product(format_args!(
            "{}",
            printer.bold_product(&format!(
                "Proven: {} is signed by {}",
                plain(&self.image),
                plain(signer)
            ))
        ));
        let handle = match self.handle {
            Some(_) => "",
            None => " (no confirmed handle)",
        };
        say("account", &format!("{}{handle}", self.did));
        say("digest", &self.digest);
        if let Some((tag, statement, at)) = &verdict.tag {
            let said = at.as_ref().map_or_else(String::new, |at| {
                format!(", moved {} as its record says", moment(at.to_utc()))
            });
            say("tag", &format!("{tag}{said}"));
            if statement.rev != verdict.manifest.rev {
                say("", &format!("in what the account signed {}", signed(statement)));
            }
        }
        if let Some(tag) = &self.unchecked_tag {
            say("tag", &format!("{tag} was not checked, the digest was"));
        }
        say(
            "record",
            &format!(
                "{}, written {} as it says",
                verdict.manifest.uri,
                moment(verdict.created_at.to_utc())
            ),
        );
        say("signed", &signed(&verdict.manifest));
        let believed = match self.key_believed_by {
            Anchor::Document => "from the account's DID document",
            Anchor::Operations => "one that the DID had at some time, by the operations in the file",
            Anchor::Given => "given by you",
        };
        say("key", &format!("{} ({believed})", self.key));
        if let Some(hold) = &self.hold {
            say("hold", hold);
        }
        say("covers", &self.covers.sentence(self.hashed.is_some()));
        if let Some(at) = &self.proof_saved_at {
            say(
                "as of",
                &format!("{at}, when the proof was saved as it says; later changes do not show"),
            );
        }
        // The tag may be moved before it is pulled.
        if let Some(pull) = &self.pull {
            say("pull", pull);
        }
    }
}

fn signed(statement: &Statement) -> String {
    format!(
        "{}, revision {} (the account's newest commit then)",
        moment(statement.signed_at()),
        statement.rev
    )
}

/// A time for people.
fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What is said to programs of an image that is not proven.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// `refused`, `unchecked`.
    pub verdict: &'static str,
    /// The image as it was named.
    pub image: Option<String>,
    /// Which check, for `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// In words.
    pub reason: String,
}
