//! What changes between two images: packages that come, go or change their version, and vulnerabilities that an update ends or brings.

use std::collections::{BTreeMap, HashSet};

use super::{Finding, Findings, Packages};

/// A package whose versions are not the same in both images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its versions in the first image; none if it is not there.
    pub from: Vec<String>,
    /// Its versions in the second one.
    pub to: Vec<String>,
}

/// What changes in packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageChanges {
    /// By name.
    pub changes: Vec<PackageChange>,
    /// Packages that are in both in the same versions.
    pub same: usize,
    /// Packages of each that were not read: a document is too long.
    pub left_out: [usize; 2],
}

impl PackageChanges {
    /// Compares `from` with `to`. A package is the same if it has the same name and kind; an image may have several versions of it.
    #[must_use]
    pub fn between(from: &Packages, to: &Packages) -> Self {
        let mut all: BTreeMap<(&str, &str), [Vec<&str>; 2]> = BTreeMap::new();
        for (side, packages) in [from, to].into_iter().enumerate() {
            for package in &packages.all {
                let versions = all.entry((&package.name, &package.kind)).or_default();
                versions[side].push(&package.version);
            }
        }
        let mut compared = Self {
            left_out: [from.left_out, to.left_out],
            ..Self::default()
        };
        for ((name, kind), [mut from, mut to]) in all {
            for versions in [&mut from, &mut to] {
                versions.sort_unstable();
                versions.dedup();
            }
            if from == to {
                compared.same += 1;
                continue;
            }
            let owned = |versions: Vec<&str>| versions.into_iter().map(str::to_owned).collect();
            compared.changes.push(PackageChange {
                name: name.to_owned(),
                kind: kind.to_owned(),
                from: owned(from),
                to: owned(to),
            });
        }
        compared
    }
}

/// What changes in vulnerabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingChanges {
    /// Those that the first image has and the second has not.
    pub gone: Vec<Finding>,
    /// Those that the second image has and the first has not.
    pub new: Vec<Finding>,
    /// How many both have.
    pub same: usize,
    /// Findings of each that were not read: a report is too long.
    pub left_out: [usize; 2],
}

impl FindingChanges {
    /// Compares `from` with `to`: a finding is the same if it is the same vulnerability of the same package, in whatever version.
    #[must_use]
    pub fn between(from: &Findings, to: &Findings) -> Self {
        fn key(found: &Finding) -> (&str, &str) {
            (&found.id, &found.package)
        }
        let keys = |findings: &'_ Findings| -> HashSet<(String, String)> {
            let keys = findings.all.iter().map(key);
            keys.map(|(id, package)| (id.to_owned(), package.to_owned()))
                .collect()
        };
        let (before, after) = (keys(from), keys(to));
        let without = |findings: &Findings, others: &HashSet<(String, String)>| -> Vec<Finding> {
            let mut seen = HashSet::new();
            let all = findings.all.iter();
            all.filter(|found| {
                let (id, package) = key(found);
                let key = (id.to_owned(), package.to_owned());
                !others.contains(&key) && seen.insert(key)
            })
            .cloned()
            .collect()
        };
        Self {
            gone: without(from, &after),
            new: without(to, &before),
            same: before.intersection(&after).count(),
            left_out: [from.left_out, to.left_out],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn packages(all: &[(&str, &str)]) -> Packages {
        let listed = all.iter().map(|(name, version)| {
            json!({ "name": name, "versionInfo": version, "externalRefs": [
                { "referenceType": "purl", "referenceLocator": format!("pkg:deb/debian/{name}@{version}") } ] })
        });
        let document = json!({ "spdxVersion": "SPDX-2.3", "packages": listed.collect::<Vec<Value>>() });
        Packages::parse(document.to_string().as_bytes()).unwrap()
    }

    fn findings(all: &[(&str, &str, &str)]) -> Findings {
        let matches = all.iter().map(|(id, package, version)| {
            json!({
                "vulnerability": { "id": id, "severity": "High", "fix": { "state": "fixed", "versions": ["9"] } },
                "artifact": { "name": package, "version": version, "type": "deb" },
            })
        });
        let report = json!({ "matches": matches.collect::<Vec<Value>>() });
        Findings::parse(report.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn packages_come_go_and_change_and_each_version_counts() {
        let from = packages(&[
            ("gone", "1"),
            ("same", "1"),
            ("twice", "1"),
            ("twice", "2"),
            ("up", "1"),
        ]);
        let to = packages(&[("new", "1"), ("same", "1"), ("twice", "2"), ("up", "2")]);
        let compared = PackageChanges::between(&from, &to);
        let rows: Vec<_> = compared
            .changes
            .iter()
            .map(|change| (change.name.as_str(), change.from.join(" "), change.to.join(" ")))
            .collect();
        let row = |name, from: &str, to: &str| (name, from.to_owned(), to.to_owned());
        assert_eq!(
            rows,
            [
                row("gone", "1", ""),
                row("new", "", "1"),
                row("twice", "1 2", "2"),
                row("up", "1", "2"),
            ]
        );
        assert_eq!(compared.same, 1);
    }

    #[test]
    fn what_an_update_does_not_end_is_neither_gone_nor_new() {
        let from = findings(&[
            ("CVE-2099-1", "openssl", "1"),
            ("CVE-2099-2", "zlib", "1"),
            ("CVE-2099-2", "zlib", "2"),
        ]);
        let to = findings(&[("CVE-2099-1", "openssl", "2"), ("CVE-2099-1", "curl", "1")]);
        let compared = FindingChanges::between(&from, &to);
        let ids = |findings: &[Finding]| -> Vec<(String, String)> {
            let ids = findings.iter();
            ids.map(|found| (found.id.clone(), found.package.clone()))
                .collect()
        };
        assert_eq!(
            ids(&compared.gone),
            [("CVE-2099-2".to_owned(), "zlib".to_owned())]
        );
        assert_eq!(ids(&compared.new), [("CVE-2099-1".to_owned(), "curl".to_owned())]);
        assert_eq!(compared.same, 1);
    }
}
