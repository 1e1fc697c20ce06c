//! Manifests and tags, and what is known of them.

use std::collections::BTreeMap;

use atcr_atproto::syntax::Did;
use atcr_index::view::{
    ChildView, ListedManifest, ManifestSummary, ManifestView, ScanView, TagMove, TagView,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{What, text};

/// An image of an index.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Child {
    /// Its digest.
    pub(in crate::edge::api) digest: String,
    /// `os/architecture/variant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) platform: Option<String>,
    /// Bytes of its configuration and layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) content_size: Option<u64>,
    /// It says how another one was made, and is no image.
    pub(in crate::edge::api) is_attestation: bool,
}

impl Child {
    fn of(child: &ChildView) -> Self {
        Self {
            digest: child.digest.to_string(),
            platform: child.platform.as_ref().map(atcr_index::fact::PlatformFact::name),
            content_size: child.content_size,
            is_attestation: child.is_attestation,
        }
    }
}

/// A manifest.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Manifest {
    /// Its digest.
    pub(in crate::edge::api) digest: String,
    /// Its media type.
    pub(in crate::edge::api) media_type: String,
    /// Its artifact type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) artifact_type: Option<String>,
    /// What it is.
    pub(in crate::edge::api) kind: What,
    /// Bytes of its configuration and layers; of an index see `children`.
    pub(in crate::edge::api) content_size: u64,
    /// Number of layers.
    pub(in crate::edge::api) layers: u32,
    /// When its record was written.
    pub(in crate::edge::api) pushed_at: String,
    /// The children of an index.
    pub(in crate::edge::api) children: Vec<Child>,
    /// Tags that point at it, at most 50; at most 8 in a list.
    pub(in crate::edge::api) tags: Vec<String>,
    /// The manifest that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) subject: Option<String>,
    /// Indexes that name it, the newest first, at most 20.
    pub(in crate::edge::api) parents: Vec<String>,
}

impl Manifest {
    fn of(summary: &ManifestSummary) -> Self {
        Self {
            digest: summary.digest.to_string(),
            media_type: summary.media_type.clone(),
            artifact_type: summary.artifact_type.clone(),
            kind: What::of(summary.kind),
            content_size: summary.content_size,
            layers: summary.layers,
            pushed_at: text(summary.pushed_at),
            children: summary.children.iter().map(Child::of).collect(),
            tags: Vec::new(),
            subject: None,
            parents: Vec::new(),
        }
    }

    pub(in crate::edge::api) fn listed(listed: &ListedManifest) -> Self {
        Self {
            tags: listed.tags.clone(),
            subject: listed.subject.as_ref().map(ToString::to_string),
            parents: listed.parents.iter().map(ToString::to_string).collect(),
            ..Self::of(&listed.summary)
        }
    }
}

/// What a scan found.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Scan {
    /// The hold that scanned.
    pub(in crate::edge::api) hold: String,
    /// The scanner.
    pub(in crate::edge::api) scanner: String,
    /// When.
    pub(in crate::edge::api) scanned_at: String,
    /// Critical vulnerabilities.
    pub(in crate::edge::api) critical: u64,
    /// High ones.
    pub(in crate::edge::api) high: u64,
    /// Medium ones.
    pub(in crate::edge::api) medium: u64,
    /// Low ones.
    pub(in crate::edge::api) low: u64,
}

/// The record by which a manifest is its owner's.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Record {
    /// Its address.
    pub(in crate::edge::api) uri: String,
    /// The hash of its value.
    pub(in crate::edge::api) cid: String,
    /// The revision of the account that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) rev: Option<String>,
    /// This registry checked the account's signature. If not, the record was read from the account's own server.
    pub(in crate::edge::api) is_signature_checked: bool,
}

/// One tag or manifest.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Image {
    /// The manifest.
    #[serde(flatten)]
    pub(in crate::edge::api) manifest: Manifest,
    /// Its annotations.
    pub(in crate::edge::api) annotations: BTreeMap<String, String>,
    /// Manifests that are about it.
    pub(in crate::edge::api) referrers: u64,
    /// The hold that has its layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) hold: Option<String>,
    /// Its record.
    pub(in crate::edge::api) record: Record,
    /// The last scan; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) scan: Option<Scan>,
}

impl Image {
    pub(in crate::edge::api) fn of(
        owner: &Did,
        view: &ManifestView,
        is_signature_checked: bool,
        scan: Option<&ScanView>,
    ) -> Self {
        Self {
            manifest: Manifest {
                tags: view.tags.clone(),
                subject: view.subject.as_ref().map(ToString::to_string),
                parents: view.parents.iter().map(ToString::to_string).collect(),
                ..Manifest::of(&view.summary)
            },
            annotations: view.annotations.clone(),
            referrers: view.referrers,
            hold: view.hold.as_ref().map(ToString::to_string),
            record: Record {
                uri: format!("at://{owner}/io.atcr.manifest/{}", view.rkey),
                cid: view.cid.to_string(),
                rev: view.rev.as_ref().map(ToString::to_string),
                is_signature_checked,
            },
            scan: scan.map(|scan| Scan {
                hold: scan.hold.to_string(),
                scanner: scan.scanner.clone(),
                scanned_at: text(scan.scanned_at),
                critical: scan.severities.critical.into(),
                high: scan.severities.high.into(),
                medium: scan.severities.medium.into(),
                low: scan.severities.low.into(),
            }),
        }
    }
}

/// A tag.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Tag {
    /// The tag.
    pub(in crate::edge::api) name: String,
    /// What it points at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) digest: Option<String>,
    /// When it was last moved.
    pub(in crate::edge::api) moved_at: String,
    /// Other tags that point there, at most 8.
    pub(in crate::edge::api) aliases: Vec<String>,
    /// The manifest, where the account has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) manifest: Option<Manifest>,
}

impl Tag {
    pub(in crate::edge::api) fn of(tag: &TagView) -> Self {
        Self {
            name: tag.name.clone(),
            digest: tag.digest.as_ref().map(ToString::to_string),
            moved_at: text(tag.moved_at),
            aliases: tag.aliases.clone(),
            manifest: tag.manifest.as_ref().map(Manifest::of),
        }
    }
}

/// A move of a tag, as this registry saw it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::edge::api) struct Move {
    /// The tag.
    pub(in crate::edge::api) tag: String,
    /// What it pointed at before; absent: it was new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) from: Option<String>,
    /// What it points at since; absent: it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge::api) to: Option<String>,
    /// When this registry saw it.
    pub(in crate::edge::api) seen_at: String,
}

impl Move {
    pub(in crate::edge::api) fn of(moved: &TagMove) -> Self {
        Self {
            tag: moved.tag.clone(),
            from: moved.from.as_ref().map(ToString::to_string),
            to: moved.to.as_ref().map(ToString::to_string),
            seen_at: text(moved.at),
        }
    }
}
