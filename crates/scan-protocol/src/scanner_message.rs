//! What a scanner says: results, progress, jobs given back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_oci::Digest;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bounds::{MAX_ERROR_LEN, MAX_FINDINGS, MAX_TOOLS, MAX_VERSION_LEN, MAX_WORD_LEN, cut};
use crate::error::require_object;
use crate::{InvalidMessage, ScanState, document};

const RESULT: &str = "scan_result";
const PROGRESS: &str = "scan_progress";
const RELEASE: &str = "scan_release";
pub(crate) const DATABASE: &str = "scan_database";

/// How one scan ended.
///
/// # Spec
/// `io.atcr.hold.subscribeScanJobs#scanResult`; `seq`, `uploaded`, `state`, `errorClass`, `databaseBuilt` and `tools` are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanResult {
    /// The job's number; an original scanner does not say it.
    pub seq: Option<u64>,
    /// The manifest's digest.
    pub digest: Digest,
    /// The counts; zeros if there are none, see [`ScanState::has_counts`].
    pub summary: SeverityCounts,
    /// SPDX JSON, at most 100 MiB. `None` when uploaded.
    pub sbom: Option<Bytes>,
    /// Grype JSON, at most 100 MiB. `None` when uploaded.
    pub vuln_report: Option<Bytes>,
    /// Whether the documents were uploaded to the job's `resultsUrl`.
    pub uploaded: bool,
    /// How it ended.
    pub state: ScanState,
    /// Why it failed, for people; at most 1024 bytes.
    pub error: Option<String>,
    /// Why it failed, see [`FailureClass`](crate::FailureClass); at most 64 bytes.
    pub error_class: Option<String>,
    /// Name and version of the scanner; at most 64 bytes.
    pub scanner_version: Option<String>,
    /// When the vulnerability database was built.
    pub database_built: Option<DateTime<Utc>>,
    /// Names and versions of the tools; at most 8.
    pub tools: BTreeMap<String, String>,
}

/// A scan goes on: its lease is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The job's number.
    pub seq: u64,
    /// The manifest's digest.
    pub digest: Digest,
    /// What it does; at most 64 bytes.
    pub stage: String,
}

/// A job is given back; another scanner may have it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The job's number.
    pub seq: u64,
    /// The manifest's digest.
    pub digest: Digest,
}

/// The vulnerability database that the scanner uses from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseInUse {
    /// When it was built.
    pub built: DateTime<Utc>,
}

/// A message of a scanner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScannerMessage {
    /// A result. Boxed: it is much larger than the rest.
    Result(Box<ScanResult>),
    /// Progress.
    Progress(Progress),
    /// A job given back.
    Release(Release),
    /// Another vulnerability database.
    Database(DatabaseInUse),
    /// Anything else, to be passed over.
    Unknown,
}

/// Which job a result ends whose rest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The job's number; an original scanner does not say it.
    pub seq: Option<u64>,
    /// The manifest's digest.
    pub digest: Digest,
}

impl Subject {
    /// The job of the result in one text frame, if it is a result that says so.
    #[must_use]
    pub fn of_result(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            seq: Option<u64>,
            #[serde(alias = "manifestDigest")]
            digest: Digest,
        }
        require_object("the message", text).ok()?;
        let Named { kind, seq, digest } = serde_json::from_str(text).ok()?;
        matches!(&*kind, RESULT | "result").then_some(Self { seq, digest })
    }
}

/// Documents stay as they are in the frame until they are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    seq: Option<u64>,
    #[serde(alias = "manifestDigest")]
    digest: Option<Digest>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    sbom: Option<&'a RawValue>,
    #[serde(borrow)]
    vuln_report: Option<&'a RawValue>,
    uploaded: Option<bool>,
    state: Option<String>,
    error: Option<String>,
    error_class: Option<String>,
    scanner_version: Option<String>,
    database_built: Option<DateTime<Utc>>,
    tools: Option<BTreeMap<String, String>>,
    stage: Option<String>,
}

#[derive(Deserialize)]
struct WireType<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
}

impl ScannerMessage {
    /// Reads one text frame. The caller bounds its length by
    /// [`MAX_RESULT_MESSAGE_BYTES`](crate::bounds::MAX_RESULT_MESSAGE_BYTES).
    ///
    /// # Errors
    /// [`InvalidMessage`] for a message of a known type that is not valid, or a text that is no JSON object.
    pub fn decode(text: &str) -> Result<Self, InvalidMessage> {
        require_object("the message", text)?;
        let WireType { kind } = serde_json::from_str(text)?;
        if kind == DATABASE {
            return DatabaseInUse::decode(text).map(Self::Database);
        }
        if !matches!(&*kind, RESULT | "result" | PROGRESS | RELEASE) {
            return Ok(Self::Unknown);
        }
        let wire: Wire<'_> = serde_json::from_str(text)?;
        let digest = wire.digest.clone();
        let digest = digest.ok_or_else(|| InvalidMessage::new("digest is missing"))?;
        let seq = || wire.seq.ok_or_else(|| InvalidMessage::new("seq is missing"));
        match &*wire.kind {
            PROGRESS => Ok(Self::Progress(Progress {
                seq: seq()?,
                digest,
                stage: word(wire.stage).unwrap_or_default(),
            })),
            RELEASE => Ok(Self::Release(Release { seq: seq()?, digest })),
            _ => ScanResult::read(wire, digest).map(|result| Self::Result(Box::new(result))),
        }
    }
}

impl ScanResult {
    fn read(wire: Wire<'_>, digest: Digest) -> Result<Self, InvalidMessage> {
        let error = text(wire.error, MAX_ERROR_LEN);
        let error_class = word(wire.error_class);
        let state = match wire.state.as_deref() {
            Some(word) => {
                ScanState::from_word(word).ok_or_else(|| InvalidMessage::new("state is not known"))?
            }
            None if error.is_some() || error_class.is_some() => ScanState::Failed,
            None => ScanState::Complete,
        };
        let summary = wire.summary.filter(|raw| raw.get() != "null");
        let summary = match summary {
            Some(raw) => counts(raw)?,
            None if state.has_counts() => return Err(InvalidMessage::new("summary is missing")),
            None => SeverityCounts::default(),
        };
        let tools = wire.tools.unwrap_or_default();
        if tools.len() > MAX_TOOLS {
            return Err(InvalidMessage::new("tools has more than 8 entries"));
        }
        let tools = tools
            .iter()
            .map(|(name, version)| {
                let bounded = |text: &str| cut(text, MAX_WORD_LEN).to_owned();
                (bounded(name), bounded(version))
            })
            .collect();
        let read = |name, raw: Option<&RawValue>| raw.map_or(Ok(None), |raw| document::read(name, raw));
        Ok(Self {
            seq: wire.seq,
            digest,
            summary,
            sbom: read("sbom", wire.sbom)?,
            vuln_report: read("vulnReport", wire.vuln_report)?,
            uploaded: wire.uploaded.unwrap_or_default(),
            state,
            error,
            error_class,
            scanner_version: text(wire.scanner_version, MAX_VERSION_LEN),
            database_built: wire.database_built,
            tools,
        })
    }

    /// The text frame. Documents are padded base64, as an original hold reads them.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            r#type: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq: Option<u64>,
            digest: &'a Digest,
            summary: &'a SeverityCounts,
            #[serde(skip_serializing_if = "Option::is_none")]
            sbom: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            vuln_report: Option<String>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            uploaded: bool,
            state: ScanState,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error_class: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            scanner_version: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            database_built: Option<DateTime<Utc>>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            tools: &'a BTreeMap<String, String>,
        }
        // An original hold takes a result for a failure if it has an error.
        let error = match (self.state, self.error.as_deref()) {
            (ScanState::Failed, None) => Some(self.error_class.as_deref().unwrap_or("failed")),
            (_, error) => error.map(|error| cut(error, MAX_ERROR_LEN)),
        };
        serde_json::to_string(&Frame {
            r#type: RESULT,
            seq: self.seq,
            digest: &self.digest,
            summary: &self.summary,
            sbom: self.sbom.as_deref().map(document::write),
            vuln_report: self.vuln_report.as_deref().map(document::write),
            uploaded: self.uploaded,
            state: self.state,
            error,
            error_class: self.error_class.as_deref().map(|class| cut(class, MAX_WORD_LEN)),
            scanner_version: self
                .scanner_version
                .as_deref()
                .map(|version| cut(version, MAX_VERSION_LEN)),
            database_built: self.database_built,
            tools: &self.tools,
        })
    }
}

impl Progress {
    /// The text frame.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { seq, digest, stage } = self;
        serde_json::json!({"type": PROGRESS, "seq": seq, "digest": digest.as_str(), "stage": cut(stage, MAX_WORD_LEN)})
            .to_string()
    }
}

impl Release {
    /// The text frame.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { seq, digest } = self;
        serde_json::json!({"type": RELEASE, "seq": seq, "digest": digest.as_str()}).to_string()
    }
}

impl DatabaseInUse {
    fn decode(text: &str) -> Result<Self, InvalidMessage> {
        #[derive(Deserialize)]
        struct Wire {
            built: DateTime<Utc>,
        }
        let Wire { built } = serde_json::from_str(text)?;
        Ok(Self { built })
    }

    /// The text frame.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::json!({"type": DATABASE, "built": self.built}).to_string()
    }
}

/// The total is at least the sum of the severities.
fn counts(raw: &RawValue) -> Result<SeverityCounts, InvalidMessage> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Counts {
        critical: u64,
        high: u64,
        medium: u64,
        low: u64,
        total: u64,
    }
    require_object("summary", raw.get())?;
    let Counts {
        critical,
        high,
        medium,
        low,
        total,
    } = serde_json::from_str(raw.get()).map_err(|_| InvalidMessage::new("summary has no counts"))?;
    let all = [critical, high, medium, low, total];
    if all.into_iter().any(|count| count > MAX_FINDINGS) {
        return Err(InvalidMessage::new("summary has a count that is too large"));
    }
    Ok(SeverityCounts {
        critical,
        high,
        medium,
        low,
        total: total.max(critical + high + medium + low),
    })
}

fn text(text: Option<String>, max: usize) -> Option<String> {
    text.filter(|text| !text.is_empty())
        .map(|text| cut(&text, max).to_owned())
}

fn word(word: Option<String>) -> Option<String> {
    text(word, MAX_WORD_LEN)
}
