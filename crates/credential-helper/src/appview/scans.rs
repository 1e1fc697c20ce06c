//! What a registry says of the scan of an image. Its texts are a hold's and a scanner's: all are made fit for a terminal.

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::StatusCode;

use super::{AppView, AppViewError};
use crate::printer::plain;

/// Longest answer with findings, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;
/// Most findings that are read of one image.
const MAX_FINDINGS: usize = 50_000;

/// An image as the registry lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct ListedImage {
    /// What the tag points at.
    pub digest: String,
    /// The images of an index.
    #[serde(default)]
    pub children: Vec<Child>,
}

/// An image of an index.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// `os/architecture/variant`.
    #[serde(default)]
    pub platform: Option<String>,
    /// It is no image.
    #[serde(default)]
    pub is_attestation: bool,
}

/// How a scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing was found.
    Clean,
    /// Something was found.
    Found,
    /// Packages were listed, and not looked up.
    PackagesOnly,
    /// It waits, or is being scanned.
    Pending,
    /// The scan failed.
    Failed,
    /// It is nothing that is scanned.
    NotApplicable,
    /// It was not scanned.
    NotScanned,
    /// The hold has not heard of a push of it.
    PushUnknown,
    /// The hold does not answer.
    NoAnswer,
    /// The hold tells its members only.
    MembersOnly,
    /// Anything else that is not known.
    #[serde(other)]
    Unreadable,
}

impl State {
    /// Whether vulnerabilities were looked for.
    #[must_use]
    pub const fn has_counts(self) -> bool {
        matches!(self, Self::Clean | Self::Found)
    }

    /// Whether waiting may help: the image waits, the hold has not heard of the push yet, or does not answer now.
    #[must_use]
    pub const fn may_change(self) -> bool {
        matches!(self, Self::Pending | Self::PushUnknown | Self::NoAnswer)
    }
}

/// How bad, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase", from = "String")]
pub enum Severity {
    /// Not said.
    Unknown,
    /// Hardly.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl From<String> for Severity {
    fn from(word: String) -> Self {
        let all = [
            Self::Critical,
            Self::High,
            Self::Medium,
            Self::Low,
            Self::Negligible,
        ];
        let mut all = all.into_iter();
        all.find(|severity| severity.name() == word)
            .unwrap_or(Self::Unknown)
    }
}

impl Severity {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Findings by severity, as the scanner counts: by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Critical ones.
    pub critical: u64,
    /// High ones.
    pub high: u64,
    /// Medium ones.
    pub medium: u64,
    /// Low ones.
    pub low: u64,
    /// Negligible ones, and those of which no severity is known.
    pub other: u64,
    /// All.
    pub total: u64,
}

impl Counts {
    /// How many are as bad as `severity`, or worse.
    #[must_use]
    pub const fn at_least(&self, severity: Severity) -> u64 {
        let high = self.critical.saturating_add(self.high);
        let medium = high.saturating_add(self.medium);
        match severity {
            Severity::Critical => self.critical,
            Severity::High => high,
            Severity::Medium => medium,
            Severity::Low => medium.saturating_add(self.low),
            // Which of the others are negligible is not counted.
            Severity::Negligible | Severity::Unknown => self.total,
        }
    }
}

/// Who scanned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Its DID.
    pub did: String,
    /// Its host.
    pub name: String,
}

/// A vulnerability of a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// CVE-… or GHSA-….
    pub id: String,
    /// Other ids.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// How bad.
    pub severity: Severity,
    /// The package.
    pub package: String,
    /// Its version in the image.
    #[serde(default)]
    pub installed: String,
    /// What kind of package.
    #[serde(default)]
    pub kind: String,
    /// Versions without it.
    #[serde(default)]
    pub fixed_in: Vec<String>,
    /// `fixed`, `not-fixed`, `wont-fix`, `unknown`.
    #[serde(default)]
    pub fix_state: String,
    /// It is used in attacks.
    #[serde(default)]
    pub known_exploited: bool,
    /// How likely it is used in attacks, in per cent.
    #[serde(default)]
    pub likelihood: Option<u8>,
}

impl Finding {
    /// Whether an update ends it.
    #[must_use]
    pub fn is_fixable(&self) -> bool {
        !self.fixed_in.is_empty()
    }
}

/// What the registry says of a scan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanResult {
    /// The image.
    pub digest: String,
    /// Who scanned.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// How it stands.
    pub state: State,
    /// The same in a sentence, where there is no result.
    #[serde(default)]
    pub message: Option<String>,
    /// Some kinds of packages were left out.
    #[serde(default)]
    pub partial: bool,
    /// The counts, if vulnerabilities were looked for.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// Name and version of the scanner.
    #[serde(default)]
    pub scanner: Option<String>,
    /// When, RFC 3339.
    #[serde(default)]
    pub scanned_at: Option<String>,
    /// When the vulnerability database was built, RFC 3339.
    #[serde(default)]
    pub database_built: Option<String>,
    /// What is to be said besides.
    #[serde(default)]
    pub note: Option<String>,
    /// The findings; `None` without a list of them.
    #[serde(default)]
    pub findings: Option<Vec<Finding>>,
    /// Why there is no list.
    #[serde(default)]
    pub no_findings: Option<String>,
    /// Findings that the registry did not read: the report is too long.
    #[serde(default)]
    pub left_out: u64,
    #[serde(default, skip_serializing)]
    next: Option<usize>,
}

/// An image of a repository, in the words of the registry's API.
#[derive(Clone, Copy, Debug)]
pub struct ImagePlace<'a> {
    /// Handle or DID.
    pub owner: &'a str,
    /// Without the owner.
    pub repository: &'a str,
}

impl AppView {
    /// A token to read `name` with, for an account; `None` if the registry does not take its secret.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn pull_token(
        &self,
        name: &str,
        username: &str,
        secret: &SecretString,
    ) -> Result<Option<SecretString>, AppViewError> {
        #[derive(Deserialize)]
        struct Token {
            token: String,
        }
        let pair = format!("{username}:{}", secret.expose_secret());
        let credentials = base64::engine::general_purpose::STANDARD.encode(pair);
        let url = format!(
            "/auth/token?service={}&scope=repository:{name}:pull",
            self.registry.host()
        );
        let mut response = self
            .agent
            .get(self.registry.join(&url))
            .header("Authorization", format!("Basic {credentials}"))
            .call()
            .map_err(|source| self.unreachable(source))?;
        match response.status() {
            StatusCode::OK => {
                let token: Token = self.read_json(&mut response)?;
                Ok(Some(SecretString::from(token.token)))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            _ => Err(self.refusal(&mut response)),
        }
    }

    /// The image that `reference`, a tag or digest with its separator, means; `None` if the registry knows none.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn listed_image(
        &self,
        image: ImagePlace<'_>,
        reference: &str,
    ) -> Result<Option<ListedImage>, AppViewError> {
        let path = format!("/api/v1/r/{}/{}{reference}", image.owner, image.repository);
        self.ask(&path, None)
    }

    /// How the scan of an image stands; `None` if the registry knows no such image.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn scan_result(
        &self,
        image: ImagePlace<'_>,
        digest: &str,
        token: Option<&SecretString>,
    ) -> Result<Option<ScanResult>, AppViewError> {
        self.ask(&address("/api/scan-result", image, digest), token)
    }

    /// The same with all findings.
    ///
    /// # Errors
    /// [`AppViewError`]; also for a report that changes while it is read, or is longer than is read.
    pub fn scan_findings(
        &self,
        image: ImagePlace<'_>,
        digest: &str,
        token: Option<&SecretString>,
    ) -> Result<Option<ScanResult>, AppViewError> {
        let path = address("/api/vuln-details", image, digest);
        let Some(mut whole) = self.ask::<ScanResult>(&path, token)? else {
            return Ok(None);
        };
        while let Some(next) = whole.next {
            let read = whole.findings.as_ref().map_or(0, Vec::len);
            if next != read || read > MAX_FINDINGS {
                return Err(self.garbage("its list of findings has no end"));
            }
            let portion = self.ask::<ScanResult>(&format!("{path}&after={next}"), token)?;
            let Some(portion) = portion.filter(|portion| portion.scanned_at == whole.scanned_at) else {
                return Err(self.garbage("the image was scanned again meanwhile; run the command again"));
            };
            let more = portion.findings.unwrap_or_default();
            if more.is_empty() {
                return Err(self.garbage("its list of findings breaks off"));
            }
            whole.findings.get_or_insert_default().extend(more);
            whole.next = portion.next;
        }
        Ok(Some(whole))
    }

    fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&SecretString>,
    ) -> Result<Option<T>, AppViewError> {
        let mut request = self
            .agent
            .get(self.registry.join(path))
            .header("Accept", "application/json");
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {}", token.expose_secret()));
        }
        let mut response = request.call().map_err(|source| self.unreachable(source))?;
        let is_json = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| text.starts_with("application/json"));
        match response.status() {
            StatusCode::OK if is_json => {
                let bytes = response.body_mut().with_config().limit(MAX_ANSWER);
                let bytes = bytes.read_to_vec().map_err(|source| self.unreachable(source))?;
                let value: Value = serde_json::from_slice(&bytes).map_err(|error| self.not_json(&error))?;
                let read = serde_json::from_value(tamed(value)).map_err(|error| self.not_json(&error))?;
                Ok(Some(read))
            }
            StatusCode::NOT_FOUND if is_json => Ok(None),
            StatusCode::OK => Err(self.garbage("it says nothing about scans to programs")),
            _ => Err(self.refusal(&mut response)),
        }
    }
}

fn address(path: &str, image: ImagePlace<'_>, digest: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("owner", image.owner)
        .append_pair("repository", image.repository)
        .append_pair("digest", digest);
    format!("{path}?{}", query.finish())
}

/// The same without anything in it that a terminal obeys.
fn tamed(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(&text)),
        Value::Array(items) => items.into_iter().map(tamed).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, tamed(value)))
            .collect(),
        other => other,
    }
}
