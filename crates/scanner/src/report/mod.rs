//! What the tools found, and their documents without what is not to be kept.

pub mod strip;
pub mod table;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use atcr_atproto::lexicon::scan::SeverityCounts;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::ScanError;

/// One vulnerability of one package.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `CVE-…` or `GHSA-…`.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// The package. Any characters: it is what the image says.
    pub package: String,
    /// Its version in the image.
    pub installed: String,
    /// Its kind: `deb`, `python`.
    pub kind: String,
    /// The versions in which it is fixed.
    pub fixed_in: Vec<String>,
    /// `fixed`, `not-fixed`, `wont-fix`, `unknown`.
    pub fix_state: String,
    /// Whether it is known to be exploited.
    pub known_exploited: bool,
}

/// How bad a vulnerability is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Critical.
    Critical,
    /// High.
    High,
    /// Medium.
    Medium,
    /// Low.
    Low,
    /// Counted in the total only.
    Negligible,
    /// Counted in the total only.
    Unknown,
}

impl Severity {
    /// The severity with this name, in any case; a name that is not known is `Unknown`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" => Self::High,
            "medium" => Self::Medium,
            "low" => Self::Low,
            "negligible" => Self::Negligible,
            _ => Self::Unknown,
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Negligible => "negligible",
            Self::Unknown => "unknown",
        }
    }
}

/// Reads the findings of a report, the worst first.
///
/// # Errors
/// `Tool` if it cannot be read.
pub fn findings(report: &[u8]) -> Result<Vec<Finding>, ScanError> {
    let document: WireReport = serde_json::from_slice(report).map_err(|error| ScanError::Tool {
        tool: "grype",
        detail: format!("its report cannot be read: {error}"),
    })?;
    let mut findings: Vec<Finding> = document.matches.into_iter().map(Finding::from).collect();
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| (finding.severity, finding.fixed_in.is_empty());
        key(one)
            .cmp(&key(other))
            .then_with(|| one.package.cmp(&other.package))
            .then_with(|| one.id.cmp(&other.id))
    });
    Ok(findings)
}

/// Counts findings. One at two places of an image counts twice, as in the tool's own summary.
#[must_use]
pub fn counts(findings: &[Finding]) -> SeverityCounts {
    let mut counts = SeverityCounts::default();
    for finding in findings {
        counts.total += 1;
        match finding.severity {
            Severity::Critical => counts.critical += 1,
            Severity::High => counts.high += 1,
            Severity::Medium => counts.medium += 1,
            Severity::Low => counts.low += 1,
            Severity::Negligible | Severity::Unknown => {}
        }
    }
    counts
}

/// How many packages Syft's list in `list` has.
///
/// # Errors
/// `Tool` if it cannot be read.
pub fn count_packages(list: &[u8]) -> Result<usize, ScanError> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        artifacts: Vec<serde::de::IgnoredAny>,
    }
    let list: List = serde_json::from_slice(list).map_err(|error| ScanError::Tool {
        tool: "syft",
        detail: format!("its list cannot be read: {error}"),
    })?;
    Ok(list.artifacts.len())
}

/// The version of Syft that made the list in `list`.
///
/// # Errors
/// `Tool` if it cannot be read.
pub fn lister_version(list: &[u8]) -> Result<String, ScanError> {
    #[derive(Deserialize)]
    struct List {
        descriptor: Descriptor,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        version: Option<String>,
    }
    let list: List = serde_json::from_slice(list).map_err(|error| ScanError::Tool {
        tool: "syft",
        detail: format!("its list cannot be read: {error}"),
    })?;
    Ok(crate::tools::known_version(list.descriptor.version))
}

/// Opens a document that a tool wrote: a regular file under one name, of at most `limit` bytes. A tool that an image has taken over
/// may leave anything in its place.
///
/// # Errors
/// `ResultTooLarge`, `Workspace`; `Tool` if it is no such file.
pub fn open_document(path: &Path, what: &'static str, limit: usize) -> Result<File, ScanError> {
    let failed = || ScanError::workspace(format!("cannot read {what}"));
    let no_document = |why: &str| ScanError::Tool {
        tool: "a tool",
        detail: format!("{what} {why}"),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(no_document("is a link")),
        Err(Errno::NOENT) => return Err(no_document("is missing")),
        Err(error) => return Err(failed()(error.into())),
    };
    let metadata = file.metadata().map_err(failed())?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(no_document("is no file of its own"));
    }
    if metadata.len() > limit as u64 {
        return Err(ScanError::ResultTooLarge { what, limit });
    }
    Ok(file)
}

/// Reads a document that a tool wrote.
///
/// # Errors
/// As [`open_document`].
pub fn read_document(path: &Path, what: &'static str, limit: usize) -> Result<Vec<u8>, ScanError> {
    let file = open_document(path, what, limit)?;
    let mut document = Vec::new();
    let read = file.take(limit as u64 + 1).read_to_end(&mut document);
    read.map_err(ScanError::workspace(format!("cannot read {what}")))?;
    if document.len() > limit {
        return Err(ScanError::ResultTooLarge { what, limit });
    }
    Ok(document)
}

/// Moves a document that a tool wrote to where no tool comes.
///
/// # Errors
/// As [`open_document`].
pub fn keep_document(path: &Path, what: &'static str, limit: usize, to: &Path) -> Result<(), ScanError> {
    open_document(path, what, limit)?;
    std::fs::rename(path, to).map_err(ScanError::workspace(format!("cannot keep {what}")))
}

#[derive(Deserialize)]
struct WireReport {
    #[serde(default)]
    matches: Vec<WireMatch>,
}

#[derive(Deserialize)]
struct WireMatch {
    vulnerability: WireVulnerability,
    artifact: WireArtifact,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireVulnerability {
    id: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    fix: WireFix,
    known_exploited: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Default, Deserialize)]
struct WireFix {
    versions: Option<Vec<String>>,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
struct WireArtifact {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default, rename = "type")]
    kind: String,
}

impl From<WireMatch> for Finding {
    fn from(found: WireMatch) -> Self {
        let WireMatch {
            vulnerability,
            artifact,
        } = found;
        Self {
            id: vulnerability.id,
            severity: Severity::of(&vulnerability.severity),
            package: artifact.name,
            installed: artifact.version,
            kind: artifact.kind,
            fixed_in: vulnerability.fix.versions.unwrap_or_default(),
            fix_state: vulnerability.fix.state,
            known_exploited: vulnerability
                .known_exploited
                .is_some_and(|entries| !entries.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_by_severity_and_the_rest_only_in_the_total() {
        let severities = [
            "Critical",
            "HIGH",
            "medium",
            "Medium",
            "Low",
            "Negligible",
            "Unknown",
            "?",
        ];
        let matches: Vec<_> = severities
            .iter()
            .map(|severity| {
                serde_json::json!({
                    "vulnerability": {"id": "CVE-1", "severity": severity, "fix": {"versions": null, "state": "unknown"}},
                    "artifact": {"name": "a", "version": "1", "type": "deb"},
                })
            })
            .collect();
        let report = serde_json::json!({"matches": matches}).to_string();
        let found = findings(report.as_bytes()).unwrap();
        assert_eq!(found[0].severity, Severity::Critical);
        let SeverityCounts {
            critical,
            high,
            medium,
            low,
            total,
        } = counts(&found);
        assert_eq!((critical, high, medium, low, total), (1, 1, 2, 1, 8));
    }

    #[test]
    fn what_a_tool_leaves_in_the_place_of_a_document_is_not_followed_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("document"), b"{}").unwrap();
        assert_eq!(read_document(&path("document"), "it", 2).unwrap(), b"{}");
        assert_eq!(
            read_document(&path("document"), "it", 1).unwrap_err().class(),
            "result-too-large"
        );
        std::os::unix::fs::symlink(path("document"), path("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        for name in ["link", "pipe", "folder", "missing"] {
            let error = read_document(&path(name), "it", 100).unwrap_err();
            assert_eq!(error.class(), "tool", "{name}");
        }
        std::fs::hard_link(path("document"), path("again")).unwrap();
        assert_eq!(
            read_document(&path("document"), "it", 100).unwrap_err().class(),
            "tool"
        );
    }
}
