//! The same about a scan for programs that ask for JSON: the state in a word, and findings in portions.

use std::sync::Arc;
use std::time::Duration;

use atcr_auth::principal::Principal;
use atcr_server::rate_limit::Limited;
use axum::body::Body;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::scan_subject::{Subject, principal};
use super::scan_words::{ScanWords, Verdict};
use crate::edge::credentials::Credentials;
use crate::edge::dialect::json::refused;
use crate::edge::dialect::page::PageError;
use crate::edge::pages::visit::Visit;
use crate::edge::registry::principal::TokenLife;
use crate::edge::response::json;
use crate::scans::{Finding, Findings, Fix, HoldWord, Silence};
use crate::state::AppState;

/// Findings of one answer, and about how many bytes of JSON.
const PORTION: usize = 5_000;
const PORTION_BYTES: usize = 2 * 1024 * 1024;

/// Memory for an answer with findings: they are there twice until the JSON is written.
const ANSWER_BYTES: usize = 4 * PORTION_BYTES;

/// When a client whose answers take up its memory is to try again.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Whether a request asks for JSON.
pub(super) fn is_wanted(visit: &Visit) -> bool {
    let accepted = visit.headers().get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|text| text.contains("application/json"))
}

/// Who asks: the account of a registry token, else of the browser's session.
///
/// # Errors
/// [`PageError::SignInFirst`] for a token that does not count.
pub(super) async fn asker(visit: &Visit, state: &AppState) -> Result<Principal, PageError> {
    match Credentials::read(visit.headers()) {
        Ok(Credentials::None) => Ok(principal(visit)),
        // A password is for the token endpoint, which counts wrong ones.
        Ok(Credentials::Basic { .. }) | Err(_) => Err(PageError::SignInFirst),
        Ok(Credentials::Bearer(_)) => {
            let authenticator = &state.registry.authenticator;
            let caller = authenticator.authenticate(visit.headers(), TokenLife::Strict, visit.client);
            let caller = caller.await.map_err(|_| PageError::SignInFirst)?;
            Ok(caller.principal)
        }
    }
}

/// The answer, or why there is none.
pub(super) fn answer(outcome: Result<ScanJson, PageError>) -> Response {
    marked(outcome.map_or_else(|error| refused(&error), |body| json(StatusCode::OK, &body)))
}

/// The same of an answer that is one already.
pub(super) fn sent(outcome: Result<Response, PageError>) -> Response {
    outcome.unwrap_or_else(|error| marked(refused(&error)))
}

fn marked(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// The answer with `findings`, from the one with the number `after` on, in memory that is counted until the client has it.
///
/// # Errors
/// [`PageError::Limited`] while the client's other answers take up its memory.
pub(super) async fn with_findings(
    mut body: ScanJson,
    findings: Result<Arc<Findings>, String>,
    after: usize,
    visit: &Visit,
    state: &AppState,
) -> Result<Response, PageError> {
    let sending = state.scans.room_to_send(&visit.client, ANSWER_BYTES).await;
    let sending = sending.map_err(|_| Limited {
        retry_after: AGAIN_AFTER,
    })?;
    body.findings = Some(match findings {
        Ok(found) => {
            let built = found.database_built.map(time);
            body.database_built = body.database_built.or(built);
            FindingsJson::portion(&found, after)
        }
        Err(no_findings) => FindingsJson::None { no_findings },
    });
    // Structs with string keys always serialise.
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    drop(body);
    let download = sending.start(bytes.into());
    let length = HeaderValue::from(download.length);
    let mut response = Response::new(Body::from_stream(download.into_stream()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    Ok(marked(response))
}

/// What is known of a scan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScanJson {
    /// The owner's DID.
    pub(super) owner: String,
    pub(super) repository: String,
    pub(super) digest: String,
    /// The hold whose result it is; none without a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<HoldJson>,
    /// `clean`, `found` or `packages-only` of a result; else why there is none: `pending`, `failed`, `not-applicable`, `not-scanned`,
    /// `push-unknown`, `no-answer`, `members-only`, `unreadable`.
    pub(super) state: &'static str,
    /// The same in a sentence, where there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// Some kinds of packages were left out.
    pub(super) partial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scanner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scanned_at: Option<String>,
    /// When the vulnerability database was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database_built: Option<String>,
    /// What is to be said besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// A portion of the findings, of `/api/vuln-details`.
    #[serde(flatten)]
    pub(super) findings: Option<FindingsJson>,
}

#[derive(Debug, Serialize)]
pub(super) struct HoldJson {
    pub(super) did: String,
    pub(super) name: String,
}

/// As the scanner counts: by place, so that one in two places counts twice.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    critical: u64,
    high: u64,
    medium: u64,
    low: u64,
    /// Negligible ones, and those of which no severity is known.
    other: u64,
    total: u64,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum FindingsJson {
    #[serde(rename_all = "camelCase")]
    Some {
        /// Each vulnerability of a package once; those that can be acted on first.
        findings: Vec<FindingJson>,
        findings_total: usize,
        /// How many of them an update ends.
        fixable: usize,
        /// Matches that were not read: the report is too long.
        left_out: usize,
        /// The `after` of the next portion.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<usize>,
    },
    #[serde(rename_all = "camelCase")]
    None {
        /// Why there is no list.
        no_findings: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FindingJson {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    href: Option<String>,
    aliases: Vec<String>,
    severity: &'static str,
    package: String,
    installed: String,
    kind: String,
    fixed_in: Vec<String>,
    /// `fixed`, `not-fixed`, `wont-fix`, `unknown`.
    fix_state: &'static str,
    known_exploited: bool,
    /// How likely it is used in attacks, in per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    likelihood: Option<u8>,
}

impl From<&Finding> for FindingJson {
    fn from(found: &Finding) -> Self {
        let (fix_state, fixed_in) = match &found.fix {
            Fix::In(versions) => ("fixed", versions.clone()),
            Fix::NotFixed => ("not-fixed", Vec::new()),
            Fix::WillNotFix => ("wont-fix", Vec::new()),
            Fix::Unknown => ("unknown", Vec::new()),
        };
        Self {
            id: found.id.clone(),
            href: found.href.clone(),
            aliases: found.aliases.clone(),
            severity: found.severity.name(),
            package: found.package.clone(),
            installed: found.version.clone(),
            kind: found.kind.clone(),
            fixed_in,
            fix_state,
            known_exploited: found.is_exploited,
            likelihood: found.likelihood,
        }
    }
}

impl FindingsJson {
    /// The portion of `found` that begins at `after`.
    pub(super) fn portion(found: &Findings, after: usize) -> Self {
        let start = after.min(found.all.len());
        let mut bytes = 0;
        let mut findings = Vec::new();
        for finding in found.all[start..].iter().take(PORTION) {
            let finding = FindingJson::from(finding);
            bytes += serde_json::to_string(&finding).map_or(0, |json| json.len());
            // One at least: a list that stands still has no end.
            if bytes > PORTION_BYTES && !findings.is_empty() {
                break;
            }
            findings.push(finding);
        }
        let end = start + findings.len();
        Self::Some {
            findings,
            findings_total: found.all.len(),
            fixable: found.fixable,
            left_out: found.left_out,
            next: (end < found.all.len()).then_some(end),
        }
    }
}

/// What programs are told of `subject`; no findings yet.
pub(super) fn of(subject: &Subject) -> ScanJson {
    let words = &subject.words;
    let (state, message) = state(words, &subject.word);
    ScanJson {
        owner: subject.owner.identity.did.to_string(),
        repository: subject.repository.clone(),
        digest: subject.digest.to_string(),
        hold: subject.scanned_by().map(|hold| HoldJson {
            did: hold.did.clone(),
            name: hold.name.clone(),
        }),
        state,
        message,
        partial: words.is_partial,
        counts: counts(words),
        scanner: words.scanner.clone(),
        scanned_at: words.at.as_ref().map(|at| at.iso.clone()),
        database_built: words.database.as_ref().map(|built| built.iso.clone()),
        note: words.note.clone(),
        findings: None,
    }
}

/// The word for what is known, and the sentence where there is no result.
fn state(words: &ScanWords, word: &HoldWord) -> (&'static str, Option<String>) {
    let said = |name, text: &String| (name, Some(text.clone()));
    match &words.verdict {
        Verdict::Clean => ("clean", None),
        Verdict::Found(_) => ("found", None),
        Verdict::PackagesOnly => ("packages-only", None),
        Verdict::Pending(text) => said("pending", text),
        Verdict::Failed(text) => said("failed", text),
        Verdict::NotApplicable(text) => said("not-applicable", text),
        // Its own word: a push that is on its way is heard of a little later.
        Verdict::NotScanned(text) => match word {
            HoldWord::Said(view) if view.job.is_none() && view.scanners.enabled => said("push-unknown", text),
            _ => said("not-scanned", text),
        },
        Verdict::Silent(text) => match word {
            HoldWord::Silent(Silence::MembersOnly) => said("members-only", text),
            HoldWord::Silent(Silence::Nonsense) => said("unreadable", text),
            _ => said("no-answer", text),
        },
    }
}

/// The counts of a result; none of one that has not looked for vulnerabilities.
fn counts(words: &ScanWords) -> Option<Counts> {
    let found = match &words.verdict {
        Verdict::Clean => return Some(Counts::default()),
        Verdict::Found(found) => found,
        _ => return None,
    };
    let of = |name: &str| {
        let mut all = found.iter();
        all.find(|(severity, _)| *severity == name)
            .map_or(0, |(_, count)| *count)
    };
    Some(Counts {
        critical: of("critical"),
        high: of("high"),
        medium: of("medium"),
        low: of("low"),
        other: of("unknown"),
        total: found.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count)),
    })
}

/// A time for programs.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_bounded_by_its_bytes_and_no_finding_is_lost() {
        let long = "x".repeat(250);
        let related: Vec<_> = (0..8)
            .map(|number| serde_json::json!({ "id": format!("CVE-{number}-{long}") }))
            .collect();
        let matches: Vec<_> = (0..3_000)
            .map(|number| {
                serde_json::json!({
                    "vulnerability": { "id": format!("GHSA-{number}"), "severity": "Low" },
                    "relatedVulnerabilities": related, "artifact": { "name": long, "version": "1", "type": "deb" },
                })
            })
            .collect();
        let report = serde_json::json!({ "matches": matches }).to_string();
        let found = Findings::parse(report.as_bytes()).unwrap();
        let (mut after, mut read, mut portions) = (Some(0), 0, 0);
        while let Some(start) = after {
            let portion = FindingsJson::portion(&found, start);
            let bytes = serde_json::to_vec(&portion).unwrap().len();
            assert!(bytes < PORTION_BYTES + 64 * 1024, "{bytes}");
            let FindingsJson::Some { findings, next, .. } = portion else {
                panic!("no findings");
            };
            (after, read, portions) = (next, read + findings.len(), portions + 1);
        }
        assert_eq!(read, 3_000);
        assert!(portions > 2, "{portions}");
    }
}
