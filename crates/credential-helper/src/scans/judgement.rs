//! Whether an image passes: never because nothing is known.

use serde::Serialize;

use crate::appview::scans::{Finding, ScanResult, Severity};

/// What makes an image fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Findings as bad as that, or worse.
    pub fail_on: Option<Severity>,
    /// Only those that an update ends.
    pub only_fixed: bool,
}

impl Demand {
    /// Whether `found` counts at all.
    #[must_use]
    pub fn counts(&self, found: &Finding) -> bool {
        !self.only_fixed || found.is_fixable()
    }
}

/// Whether an image passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// It does.
    Pass,
    /// It does not.
    Fail,
    /// Vulnerabilities were not looked for, or what was found is not known.
    Unknown,
}

/// The judgement, and how many findings it fails on.
#[must_use]
pub fn judge(result: &ScanResult, demand: Demand) -> (Judgement, u64) {
    if !result.state.has_counts() {
        return (Judgement::Unknown, 0);
    }
    let Some(severity) = demand.fail_on else {
        return (Judgement::Pass, 0);
    };
    let listed = result.findings.as_deref().map(|findings| {
        let bad = findings
            .iter()
            .filter(|found| found.severity >= severity && demand.counts(found));
        bad.count() as u64
    });
    // Without `--only-fixed` the counts say enough where the list does not reach.
    let counted = match (demand.only_fixed, &result.counts) {
        (false, Some(counts)) => Some(counts.at_least(severity)),
        _ => None,
    };
    let is_whole = listed.is_some() && result.left_out == 0;
    match (listed, counted) {
        (Some(failing @ 1..), _) => (Judgement::Fail, failing),
        (Some(_), _) if is_whole => (Judgement::Pass, 0),
        (_, Some(0)) => (Judgement::Pass, 0),
        (_, Some(failing)) => (Judgement::Fail, failing),
        (_, None) => (Judgement::Unknown, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(state: &str, findings: Option<serde_json::Value>, left_out: u64) -> ScanResult {
        let counts = json!({ "critical": 0, "high": 1, "medium": 2, "low": 0, "other": 3, "total": 6 });
        let value = json!({
            "digest": "sha256:0", "state": state, "findings": findings, "leftOut": left_out,
            "counts": if state == "found" { counts } else { json!(null) },
        });
        serde_json::from_value(value).unwrap()
    }

    fn of(result: &ScanResult, fail_on: Option<Severity>, only_fixed: bool) -> Judgement {
        judge(result, Demand { fail_on, only_fixed }).0
    }

    #[test]
    fn what_is_not_known_passes_nothing() {
        for state in [
            "packages-only",
            "pending",
            "failed",
            "not-applicable",
            "not-scanned",
            "push-unknown",
            "no-answer",
            "members-only",
            "unreadable",
            "a word of a later version",
        ] {
            for fail_on in [None, Some(Severity::Critical)] {
                assert_eq!(
                    of(&result(state, None, 0), fail_on, false),
                    Judgement::Unknown,
                    "{state}"
                );
            }
        }
        // A list that breaks off, or is not there, says nothing of fixes.
        let none = Some(json!([]));
        assert_eq!(
            of(&result("found", none.clone(), 1), Some(Severity::Critical), true),
            Judgement::Unknown
        );
        assert_eq!(
            of(&result("found", None, 0), Some(Severity::Low), true),
            Judgement::Unknown
        );
        // The counts do, of everything else.
        assert_eq!(
            of(&result("found", None, 0), Some(Severity::High), false),
            Judgement::Fail
        );
        assert_eq!(
            of(&result("found", None, 0), Some(Severity::Critical), false),
            Judgement::Pass
        );
        assert_eq!(
            of(&result("found", none, 5), Some(Severity::Unknown), false),
            Judgement::Fail
        );
    }

    #[test]
    fn a_severity_and_all_above_it_fail_and_a_fix_can_be_asked_for() {
        let high = |fixed: serde_json::Value| {
            Some(json!([{ "id": "CVE-1", "severity": "high", "package": "p", "fixedIn": fixed }]))
        };
        let open = result("found", high(json!([])), 0);
        for severity in [Severity::Unknown, Severity::Low, Severity::High] {
            assert_eq!(of(&open, Some(severity), false), Judgement::Fail);
            assert_eq!(of(&open, Some(severity), true), Judgement::Pass);
        }
        assert_eq!(of(&open, Some(Severity::Critical), false), Judgement::Pass);
        assert_eq!(of(&open, None, false), Judgement::Pass);
        let fixed = result("found", high(json!(["1.1"])), 0);
        assert_eq!(
            judge(
                &fixed,
                Demand {
                    fail_on: Some(Severity::High),
                    only_fixed: true
                }
            ),
            (Judgement::Fail, 1)
        );
    }
}
