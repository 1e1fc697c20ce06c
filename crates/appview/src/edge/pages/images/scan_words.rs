//! What is said of a scan, in one sentence: clean, not scanned, failed, waiting and silent are different things.

use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_index::view::ScanView as IndexedScan;
use atcr_scan_protocol::{JobState, JobView, ScanState, ScanView};
use atcr_web::moment::Moment;
use chrono::{DateTime, Utc};

use crate::scans::{HoldWord, NoDocument, Silence, clean};

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is known against it.
    Clean,
    /// Vulnerabilities by severity, only those that are there.
    Found(Vec<(&'static str, u64)>),
    /// Packages were listed without looking for vulnerabilities.
    PackagesOnly,
    /// It waits, or is being scanned.
    Pending(String),
    /// It failed.
    Failed(String),
    /// It is nothing that is scanned.
    NotApplicable(String),
    /// It was not scanned.
    NotScanned(String),
    /// It is not known whether it was scanned.
    Silent(String),
}

impl Verdict {
    /// Why there is no result; `None` where there is one.
    pub(super) fn sentence(&self) -> Option<&str> {
        match self {
            Self::Clean | Self::Found(_) | Self::PackagesOnly => None,
            Self::Pending(text)
            | Self::Failed(text)
            | Self::NotApplicable(text)
            | Self::NotScanned(text)
            | Self::Silent(text) => Some(text),
        }
    }
}

/// What is said of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScanWords {
    pub(super) verdict: Verdict,
    /// Some kinds of packages were left out.
    pub(super) is_partial: bool,
    pub(super) scanner: Option<String>,
    pub(super) at: Option<Moment>,
    /// When the vulnerability database was built.
    pub(super) database: Option<Moment>,
    /// What is to be said besides.
    pub(super) note: Option<String>,
}

impl ScanWords {
    /// What `word`, of the hold called `hold`, and the index say together. `publisher` is another hold whose record the index has.
    pub(super) fn of(
        word: &HoldWord,
        indexed: Option<&IndexedScan>,
        hold: &str,
        publisher: Option<&str>,
        now: DateTime<Utc>,
    ) -> Self {
        if let HoldWord::Said(view) = word
            && let Some(result) = &view.result
        {
            let words = Self {
                verdict: match (&result.summary, result.state) {
                    (_, ScanState::SbomOnly) | (None, _) => Verdict::PackagesOnly,
                    (Some(counts), _) => counted(counts),
                },
                is_partial: result.state == ScanState::Partial,
                scanner: Some(clean(&result.scanner_version)),
                at: Some(Moment::new(result.scanned_at, now)),
                database: result.database_built.map(|built| Moment::new(built, now)),
                note: view.job.as_ref().and_then(after_result),
            };
            return words;
        }
        if let Some(indexed) = indexed {
            let severities = &indexed.severities;
            return Self {
                verdict: counted(&SeverityCounts {
                    critical: severities.critical.into(),
                    high: severities.high.into(),
                    medium: severities.medium.into(),
                    low: severities.low.into(),
                    total: severities.total.into(),
                }),
                is_partial: false,
                scanner: Some(clean(&indexed.scanner)),
                at: Some(Moment::new(indexed.scanned_at, now)),
                database: None,
                note: match (word, publisher) {
                    (HoldWord::Silent(Silence::NoAnswer), None) => {
                        Some(format!("{hold} does not answer now; this is what it published."))
                    }
                    (HoldWord::Silent(Silence::NoAnswer), Some(publisher)) => Some(format!(
                        "{hold} does not answer now; this is what {publisher} published."
                    )),
                    (_, Some(publisher)) => Some(format!("This is what {publisher} published.")),
                    (_, None) => None,
                },
            };
        }
        Self {
            verdict: without_result(word, hold),
            is_partial: false,
            scanner: None,
            at: None,
            database: None,
            note: None,
        }
    }
}

fn counted(counts: &SeverityCounts) -> Verdict {
    let named = [counts.critical, counts.high, counts.medium, counts.low]
        .into_iter()
        .fold(0, u64::saturating_add);
    let all = [
        ("critical", counts.critical),
        ("high", counts.high),
        ("medium", counts.medium),
        ("low", counts.low),
        ("unknown", counts.total.saturating_sub(named)),
    ];
    let found: Vec<_> = all.into_iter().filter(|(_, count)| *count > 0).collect();
    if found.is_empty() {
        Verdict::Clean
    } else {
        Verdict::Found(found)
    }
}

/// What happened after the result that is shown.
fn after_result(job: &JobView) -> Option<String> {
    match job.state {
        JobState::Failed | JobState::Resting => Some(format!("The last scan failed: {}", reason(job))),
        JobState::Ready => Some("It will be scanned again.".to_owned()),
        JobState::Running => Some("It is being scanned again.".to_owned()),
        JobState::Done | JobState::NotApplicable => None,
    }
}

fn without_result(word: &HoldWord, hold: &str) -> Verdict {
    match word {
        HoldWord::Said(view) => of_job(view, hold),
        HoldWord::HasNone => Verdict::NotScanned(format!("{hold} has published no scan of it.")),
        HoldWord::Silent(Silence::NoAnswer) => Verdict::Silent(format!(
            "{hold} does not answer, so it is not known whether the image was scanned."
        )),
        HoldWord::Silent(Silence::MembersOnly) => Verdict::Silent(format!(
            "{hold} tells its members only. Sign in, or ask the hold's owner."
        )),
        HoldWord::Silent(Silence::NoToken) => Verdict::Silent(format!(
            "{hold} asks who you are, and your account's server does not say it now. Try again later."
        )),
        HoldWord::Silent(Silence::Nonsense) => {
            Verdict::Silent(format!("The answer of {hold} about the scan makes no sense."))
        }
    }
}

fn of_job(view: &ScanView, hold: &str) -> Verdict {
    let no_scanner = || Verdict::NotScanned(format!("{hold} has no scanner."));
    let Some(job) = &view.job else {
        return if view.scanners.enabled {
            Verdict::NotScanned(format!("{hold} has not heard of a push of it."))
        } else {
            no_scanner()
        };
    };
    match job.state {
        JobState::Ready if !view.scanners.enabled => no_scanner(),
        JobState::Ready if view.scanners.connected == 0 => {
            Verdict::Pending(format!("Waiting: no scanner is connected to {hold}."))
        }
        JobState::Ready => Verdict::Pending(match job.ahead {
            Some(ahead @ 0..1000) => format!("Waiting, number {} in line.", ahead + 1),
            _ => "Waiting, with many before it.".to_owned(),
        }),
        JobState::Running => Verdict::Pending(match job.stage.as_deref() {
            Some(stage) => format!("Being scanned: {}.", clean(stage)),
            None => "Being scanned.".to_owned(),
        }),
        JobState::Resting => Verdict::Failed(format!("The scan failed and is tried again: {}", reason(job))),
        JobState::Failed => Verdict::Failed(format!("The scan failed: {}", reason(job))),
        JobState::NotApplicable => Verdict::NotApplicable(match job.reason.as_deref() {
            Some("index") => "The images of its platforms are scanned, each by itself.".to_owned(),
            Some("attestation") => "Attestations are not scanned.".to_owned(),
            _ => "Only container images are scanned.".to_owned(),
        }),
        JobState::Done => Verdict::NotScanned(format!("{hold} has no result.")),
    }
}

fn reason(job: &JobView) -> String {
    let failure = job.failure.as_ref();
    let text = failure.and_then(|failure| failure.message.as_deref().or(failure.class.as_deref()));
    text.map_or_else(|| "no reason was given".to_owned(), clean)
}

/// Why a document is not shown, in a sentence.
pub(super) fn why_not(error: &NoDocument, hold: &str) -> String {
    match error {
        NoDocument::None => format!("{hold} does not have the document any more."),
        NoDocument::Silent(Silence::NoAnswer) => format!("{hold} does not answer. Try again later."),
        NoDocument::Silent(Silence::MembersOnly) => format!("{hold} gives it to members only."),
        NoDocument::Silent(Silence::NoToken) => {
            format!(
                "{hold} asks who you are, and your account's server does not say it now. Try again later."
            )
        }
        NoDocument::Silent(Silence::Nonsense) | NoDocument::Unreadable => {
            format!("What {hold} has is no document of this kind, so it is not shown.")
        }
        NoDocument::TooLong => "It is too long for a page.".to_owned(),
        NoDocument::Busy => "This server reads too many documents at the moment. Try again later.".to_owned(),
        NoDocument::BeingRead => {
            format!("The document is being read from {hold} for another visitor. Try again in a minute.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(job: &serde_json::Value, enabled: bool, connected: u32) -> HoldWord {
        let view = json!({
            "digest": format!("sha256:{:064}", 0), "job": job,
            "scanners": { "enabled": enabled, "connected": connected },
        });
        HoldWord::Said(Box::new(serde_json::from_value(view).unwrap()))
    }

    fn verdict(word: &HoldWord) -> Verdict {
        ScanWords::of(word, None, "HOLD", None, DateTime::UNIX_EPOCH).verdict
    }

    #[test]
    fn what_is_not_known_is_never_clean() {
        let job = |state: &str| {
            json!({
                "state": state, "queuedAt": "2026-11-01T00:00:00Z", "tries": 0, "ahead": 2,
                "failure": { "message": "no space" },
            })
        };
        let null = serde_json::Value::Null;
        for (word, expected) in [
            (said(&null, false, 0), "NotScanned(\"HOLD has no scanner.\")"),
            (
                said(&null, true, 1),
                "NotScanned(\"HOLD has not heard of a push of it.\")",
            ),
            (
                said(&job("ready"), false, 0),
                "NotScanned(\"HOLD has no scanner.\")",
            ),
            (
                said(&job("ready"), true, 0),
                "Pending(\"Waiting: no scanner is connected to HOLD.\")",
            ),
            (
                said(&job("ready"), true, 1),
                "Pending(\"Waiting, number 3 in line.\")",
            ),
            (said(&job("running"), true, 1), "Pending(\"Being scanned.\")"),
            (
                said(&job("failed"), true, 1),
                "Failed(\"The scan failed: no space\")",
            ),
            (said(&job("done"), true, 1), "NotScanned(\"HOLD has no result.\")"),
            (
                HoldWord::HasNone,
                "NotScanned(\"HOLD has published no scan of it.\")",
            ),
        ] {
            assert_eq!(format!("{:?}", verdict(&word)), expected);
        }
        for silence in [
            Silence::NoAnswer,
            Silence::MembersOnly,
            Silence::NoToken,
            Silence::Nonsense,
        ] {
            assert!(matches!(verdict(&HoldWord::Silent(silence)), Verdict::Silent(_)));
        }
    }

    #[test]
    fn what_has_no_severity_is_not_clean_either() {
        let counts = SeverityCounts {
            total: 3,
            ..SeverityCounts::default()
        };
        assert_eq!(counted(&counts), Verdict::Found(vec![("unknown", 3)]));
        assert_eq!(counted(&SeverityCounts::default()), Verdict::Clean);
        // More than a number holds is no reason to fall over.
        let counts = SeverityCounts {
            critical: u64::MAX,
            high: 1,
            ..counts
        };
        assert_eq!(
            counted(&counts),
            Verdict::Found(vec![("critical", u64::MAX), ("high", 1)])
        );
    }
}
