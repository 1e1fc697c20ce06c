//! A report of Grype, reduced to what a page shows: each vulnerability of a package once, those that can be acted on first.

use std::cmp::Reverse;
use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::bounded::Bounded;
use super::text::clean;
use super::{BASE_WEIGHT, Unreadable};

/// Matches of one report that are read.
const MAX_MATCHES: usize = 50_000;
/// Versions that a page names as fixed.
const MAX_FIXES: usize = 3;
/// Other names of one vulnerability.
const MAX_ALIASES: usize = 8;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Severity {
    fn of(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" => Self::High,
            "medium" => Self::Medium,
            "low" => Self::Low,
            "negligible" => Self::Negligible,
            _ => Self::Unknown,
        }
    }

    /// In a word.
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

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Update to one of these.
    In(Vec<String>),
    /// Nothing yet.
    NotFixed,
    /// Nothing ever.
    WillNotFix,
    /// Not said.
    Unknown,
}

/// A vulnerability of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// CVE-… or GHSA-….
    pub id: String,
    /// Where to read about it, of ids with a known place.
    pub href: Option<String>,
    /// Other ids.
    pub aliases: Vec<String>,
    /// How bad.
    pub severity: Severity,
    /// The package.
    pub package: String,
    /// Its version in the image.
    pub version: String,
    /// What kind of package.
    pub kind: String,
    /// What can be done.
    pub fix: Fix,
    /// It is known to be used in attacks.
    pub is_exploited: bool,
    /// How likely it is that it will be, in per cent.
    pub likelihood: Option<u8>,
}

/// All findings of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Those that can be acted on first.
    pub all: Vec<Finding>,
    /// When the vulnerability database was built.
    pub database_built: Option<DateTime<Utc>>,
    /// How many there are of each severity that is there, the worst first.
    pub counts: Vec<(Severity, usize)>,
    /// How many an update would end.
    pub fixable: usize,
    /// Matches that were not read: the report is too long.
    pub left_out: usize,
}

#[derive(Deserialize)]
struct Report {
    matches: Bounded<Match, MAX_MATCHES>,
    #[serde(default)]
    descriptor: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Match {
    vulnerability: Vulnerability,
    #[serde(default, rename = "relatedVulnerabilities")]
    related: Bounded<Named, MAX_ALIASES>,
    #[serde(default)]
    artifact: Artifact,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    fix: FixState,
    #[serde(default)]
    epss: Bounded<Epss, 1>,
    #[serde(default, rename = "knownExploited")]
    exploited: Bounded<serde::de::IgnoredAny, 1>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FixState {
    state: String,
    versions: Bounded<String, MAX_FIXES>,
}

#[derive(Deserialize)]
struct Epss {
    #[serde(default)]
    epss: f64,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Artifact {
    name: String,
    version: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Descriptor {
    db: Option<Db>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Db {
    status: Option<DbStatus>,
    built: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DbStatus {
    built: Option<String>,
}

impl Findings {
    /// Reads a report.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let report: Report = super::bounded::object(bytes)?;
        let built = report.descriptor.and_then(|descriptor| descriptor.db);
        // Older versions have the time one level up.
        let built = built.and_then(|db| db.status.and_then(|status| status.built).or(db.built));
        let database_built = built.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        let left_out = report.matches.total - report.matches.items.len();
        let mut seen = HashSet::new();
        let mut all: Vec<Finding> = report
            .matches
            .items
            .into_iter()
            .map(Finding::from)
            .filter(|found| seen.insert((found.id.clone(), found.package.clone(), found.version.clone())))
            .collect();
        all.sort_by_cached_key(|found| {
            (
                Reverse(found.is_exploited),
                !matches!(found.fix, Fix::In(_)),
                Reverse(found.severity),
                Reverse(found.likelihood),
                found.package.clone(),
                found.id.clone(),
            )
        });
        Ok(Self {
            counts: counts(&all),
            fixable: all.iter().filter(|found| matches!(found.fix, Fix::In(_))).count(),
            all,
            database_built: database_built.map(|at| at.to_utc()),
            left_out,
        })
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> u32 {
        let all: usize = self.all.iter().map(Finding::weight).sum();
        u32::try_from(BASE_WEIGHT + all).unwrap_or(u32::MAX)
    }
}

fn counts(all: &[Finding]) -> Vec<(Severity, usize)> {
    let severities = [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
        Severity::Negligible,
        Severity::Unknown,
    ];
    let count = |severity| all.iter().filter(|found| found.severity == severity).count();
    let counts = severities.into_iter().map(|severity| (severity, count(severity)));
    counts.filter(|(_, count)| *count > 0).collect()
}

impl Finding {
    fn weight(&self) -> usize {
        let text = |text: &String| text.len() + size_of::<String>();
        let fixes: usize = match &self.fix {
            Fix::In(versions) => versions.iter().map(text).sum(),
            Fix::NotFixed | Fix::WillNotFix | Fix::Unknown => 0,
        };
        let href = self.href.as_ref().map_or(0, String::len);
        let texts = [&self.id, &self.package, &self.version, &self.kind];
        let texts: usize = texts.into_iter().map(String::len).sum();
        size_of::<Self>() + texts + href + fixes + self.aliases.iter().map(text).sum::<usize>()
    }
}

impl From<Match> for Finding {
    fn from(found: Match) -> Self {
        let Match {
            vulnerability,
            related,
            artifact,
        } = found;
        let id = clean(&vulnerability.id);
        let versions: Vec<String> = vulnerability
            .fix
            .versions
            .items
            .iter()
            .map(|text| clean(text))
            .collect();
        let likelihood = vulnerability.epss.items.first().map(|epss| epss.epss);
        Self {
            href: place_of(&id),
            aliases: related
                .items
                .iter()
                .map(|other| clean(&other.id))
                .filter(|other| !other.is_empty() && *other != id)
                .collect(),
            severity: Severity::of(&vulnerability.severity),
            package: clean(&artifact.name),
            version: clean(&artifact.version),
            kind: clean(&artifact.kind),
            fix: match vulnerability.fix.state.as_str() {
                "fixed" if !versions.is_empty() => Fix::In(versions),
                "not-fixed" => Fix::NotFixed,
                "wont-fix" => Fix::WillNotFix,
                _ => Fix::Unknown,
            },
            is_exploited: vulnerability.exploited.total > 0,
            likelihood: likelihood.and_then(per_cent),
            id,
        }
    }
}

/// Of a number between 0 and 1.
fn per_cent(share: f64) -> Option<u8> {
    (0..=100_u8)
        .rev()
        .find(|per_cent| f64::from(*per_cent) <= share * 100.0 + 0.5 && (0.0..=1.0).contains(&share))
}

/// The page about a vulnerability: made from its id, never taken from a report.
fn place_of(id: &str) -> Option<String> {
    let is_plain = |text: &str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if let Some(rest) = id.strip_prefix("CVE-") {
        return is_plain(rest).then(|| format!("https://nvd.nist.gov/vuln/detail/{id}"));
    }
    let rest = id.strip_prefix("GHSA-")?;
    is_plain(rest).then(|| format!("https://github.com/advisories/{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matched(id: &str, severity: &str, package: &str, fix: &serde_json::Value) -> serde_json::Value {
        json!({
            "vulnerability": { "id": id, "severity": severity, "fix": fix, "dataSource": "javascript:alert(1)" },
            "artifact": { "name": package, "version": "1.0", "type": "deb", "locations": null },
        })
    }

    fn parse(matches: &[serde_json::Value]) -> Findings {
        let report = json!({
            "matches": matches,
            "descriptor": { "db": { "status": { "built": "2026-11-30T04:00:00Z", "valid": true } } },
        });
        Findings::parse(report.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_can_be_acted_on_comes_first_and_a_double_counts_once() {
        let fixed = json!({ "state": "fixed", "versions": ["1.1"] });
        let not = json!({ "state": "not-fixed", "versions": null });
        let mut exploited = matched("CVE-2099-0004", "Low", "d", &not);
        exploited["vulnerability"]["knownExploited"] = json!([{ "cve": "CVE-2099-0004" }]);
        exploited["vulnerability"]["epss"] = json!([{ "epss": 0.42 }]);
        let findings = parse(&[
            matched("CVE-2099-0001", "Critical", "a", &not),
            matched("GHSA-aaaa-bbbb-0002", "Medium", "b", &fixed),
            matched("CVE-2099-0003", "High", "c", &fixed),
            matched("CVE-2099-0003", "High", "c", &fixed),
            exploited,
        ]);
        let ids: Vec<_> = findings.all.iter().map(|found| found.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "CVE-2099-0004",
                "CVE-2099-0003",
                "GHSA-aaaa-bbbb-0002",
                "CVE-2099-0001"
            ]
        );
        assert_eq!(findings.all[0].likelihood, Some(42));
        assert_eq!(findings.fixable, 2);
        assert_eq!(findings.counts.len(), 4);
        assert_eq!(findings.counts[0], (Severity::Critical, 1));
        assert!(findings.database_built.is_some());
        let href = findings.all[2].href.as_deref();
        assert_eq!(href, Some("https://github.com/advisories/GHSA-aaaa-bbbb-0002"));
    }

    #[test]
    fn a_link_is_made_of_an_id_that_is_one_and_of_nothing_else() {
        for id in [
            "CVE-2026-1\"><script>",
            "CVE-",
            "javascript:alert(1)",
            "CVE-../../x",
            "ELSA-2026-1",
            "",
        ] {
            assert_eq!(place_of(id), None, "{id}");
        }
    }

    #[test]
    fn what_is_no_report_is_not_read_as_a_clean_one() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "{\"matches\":{}}",
            "{\"matches\":[{}]}",
            "<html>",
            "{\"matches\":[[]]}",
        ] {
            assert_eq!(Findings::parse(text.as_bytes()), Err(Unreadable), "{text}");
        }
        // An empty report is one.
        assert!(Findings::parse(br#"{"matches":null}"#).unwrap().all.is_empty());
        let deep = format!(r#"{{"matches":{}"#, "[".repeat(100_000));
        assert_eq!(Findings::parse(deep.as_bytes()), Err(Unreadable));
    }

    #[test]
    fn an_endless_report_is_read_to_a_bound() {
        let one = matched("CVE-1", "Low", "p", &json!({})).to_string();
        let many = format!(r#"{{"matches":[{}]}}"#, vec![one; MAX_MATCHES + 7].join(","));
        assert_eq!(Findings::parse(many.as_bytes()).unwrap().left_out, 7);
    }
}
