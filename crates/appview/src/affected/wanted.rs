//! What a search is for: a vulnerability by its id, or a package by its name.

use crate::scans::{Finding, Package, clean};

/// Longest text that is looked for, in bytes.
const MAX_LEN: usize = 200;

/// What ids of vulnerabilities begin with, before a number; GHSA ids go on with letters too.
const ID_PREFIXES: [&str; 14] = [
    "alas", "alas-", "alpine-", "bit-", "cgr-", "cve-", "dsa-", "elsa-", "go-", "malware-", "pysec-",
    "rhsa-", "rustsec-", "usn-",
];

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A vulnerability with this id or alias, in lower case.
    Vulnerability(String),
    /// Packages.
    Package {
        /// A part of the name, in lower case.
        name: String,
        /// The whole version.
        version: Option<String>,
    },
}

/// A text that nothing can be looked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type the id of a vulnerability or a part of a package's name")]
pub struct WantedError;

impl Wanted {
    /// Reads what was typed: `CVE-2021-44228`, `log4j`, `log4j-core@2.14.1`.
    ///
    /// # Errors
    /// [`WantedError`] for a text that is empty, shorter than two characters or longer than 200 bytes.
    pub fn parse(typed: &str) -> Result<Self, WantedError> {
        let text = clean(typed.trim()).to_lowercase();
        if text.chars().count() < 2 || text.len() > MAX_LEN {
            return Err(WantedError);
        }
        let is_numbered = |prefix: &str| {
            let rest = text.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        let is_advisory = text.starts_with("ghsa-") && text.split('-').count() == 4;
        if is_advisory || ID_PREFIXES.iter().any(|prefix| is_numbered(prefix)) {
            return Ok(Self::Vulnerability(text));
        }
        // Names of Node's packages begin with the sign.
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) if !name.is_empty() && !version.is_empty() && !version.contains('/') => {
                (name.to_owned(), Some(version.to_owned()))
            }
            _ => (text, None),
        };
        Ok(Self::Package { name, version })
    }

    /// Whether `finding` is the vulnerability.
    pub(super) fn is_finding(&self, finding: &Finding) -> bool {
        match self {
            Self::Vulnerability(id) => std::iter::once(&finding.id)
                .chain(&finding.aliases)
                .any(|known| known.eq_ignore_ascii_case(id)),
            Self::Package { .. } => false,
        }
    }

    /// Whether `package` is one of the packages.
    pub(super) fn is_package(&self, package: &Package) -> bool {
        match self {
            Self::Vulnerability(_) => false,
            Self::Package { name, version } => {
                package.name.to_lowercase().contains(name)
                    && version
                        .as_ref()
                        .is_none_or(|version| package.version.to_lowercase() == *version)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_an_id_or_a_package() {
        for id in [
            "CVE-2021-44228",
            " cve-2021-1 ",
            "GHSA-jfh8-c2jp-5v3q",
            "RHSA-2021:5134",
            "ALAS2-2021-1",
            "ALAS-2021-1",
            "GO-2022-0969",
        ] {
            let expected = Wanted::Vulnerability(id.trim().to_lowercase());
            assert_eq!(Wanted::parse(id), Ok(expected), "{id}");
        }
        let package = |name: &str, version: Option<&str>| {
            Ok(Wanted::Package {
                name: name.to_owned(),
                version: version.map(str::to_owned),
            })
        };
        for (typed, expected) in [
            ("Log4j", package("log4j", None)),
            ("log4j-core@2.14.1", package("log4j-core", Some("2.14.1"))),
            ("@types/node", package("@types/node", None)),
            ("@types/node@20.1.0", package("@types/node", Some("20.1.0"))),
            ("go-md2man", package("go-md2man", None)),
            ("cve-bin-tool", package("cve-bin-tool", None)),
            ("ghsa-tool", package("ghsa-tool", None)),
        ] {
            assert_eq!(Wanted::parse(typed), expected, "{typed}");
        }
        for typed in ["", " ", "a", &"a".repeat(201)] {
            assert_eq!(Wanted::parse(typed), Err(WantedError), "{typed}");
        }
    }
}
