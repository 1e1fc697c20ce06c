//! A bill of materials in SPDX, reduced to what a page shows: the packages by name.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::bounded::Bounded;
use super::text::clean;
use super::{BASE_WEIGHT, Unreadable};

/// Packages of one document that are read.
const MAX_PACKAGES: usize = 100_000;
/// What SPDX writes where nothing is known.
const NOTHING: [&str; 2] = ["NOASSERTION", "NONE"];

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `deb`, `pypi`, `golang`: the type of its purl.
    pub kind: String,
    /// Its licence.
    pub licence: Option<String>,
    /// Name and licence in lower case, for searches.
    key: String,
}

/// The packages of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// By name.
    pub all: Vec<Package>,
    /// Packages that were not read: the document is too long.
    pub left_out: usize,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "spdxVersion")]
    version: String,
    packages: Bounded<Listed, MAX_PACKAGES>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "versionInfo")]
    version: Option<String>,
    #[serde(default, rename = "licenseDeclared")]
    declared: Option<String>,
    #[serde(default, rename = "licenseConcluded")]
    concluded: Option<String>,
    #[serde(default, rename = "primaryPackagePurpose")]
    purpose: Option<String>,
    #[serde(default, rename = "externalRefs")]
    purl: Purl,
}

/// The package URL among a package's references. Syft lists dozens of CPEs before it, which are passed over as they are read.
#[derive(Default)]
struct Purl(Option<String>);

#[derive(Deserialize)]
struct Reference {
    #[serde(default, rename = "referenceType")]
    kind: String,
    #[serde(default, rename = "referenceLocator")]
    locator: String,
}

impl<'de> Deserialize<'de> for Purl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Purl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of references")
            }

            fn visit_unit<E>(self) -> Result<Purl, E> {
                Ok(Purl::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut references: A) -> Result<Purl, A::Error> {
                let mut purl = Purl::default();
                while let Some(reference) = references.next_element::<Reference>()? {
                    if purl.0.is_none() && reference.kind == "purl" {
                        purl.0 = Some(reference.locator);
                    }
                }
                Ok(purl)
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

impl Packages {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let document: Document = super::bounded::object(bytes)?;
        if !document.version.starts_with("SPDX-") {
            return Err(Unreadable);
        }
        let left_out = document.packages.total - document.packages.items.len();
        let mut all: Vec<Package> = document
            .packages
            .items
            .into_iter()
            // The image itself is listed among its packages.
            .filter(|listed| listed.purpose.as_deref() != Some("CONTAINER"))
            .map(Package::from)
            .collect();
        all.sort_by_cached_key(|package| {
            (package.key.clone(), package.version.clone(), package.kind.clone())
        });
        Ok(Self { all, left_out })
    }

    /// Those whose name or licence contains `text`, in any case; all for no text.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<&Package> {
        let text = text.trim().to_lowercase();
        self.all
            .iter()
            .filter(|package| package.key.contains(&text))
            .collect()
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> u32 {
        let text = |package: &Package| {
            let licence = package.licence.as_ref().map_or(0, String::len);
            package.name.len()
                + package.version.len()
                + package.kind.len()
                + licence
                + package.key.len()
                + 160
        };
        let all: usize = self.all.iter().map(text).sum();
        u32::try_from(BASE_WEIGHT + all).unwrap_or(u32::MAX)
    }
}

impl From<Listed> for Package {
    fn from(listed: Listed) -> Self {
        let kind = listed
            .purl
            .0
            .as_deref()
            .and_then(|purl| purl.strip_prefix("pkg:"))
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_default();
        let licences = [listed.declared, listed.concluded];
        let licence = licences
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty() && !NOTHING.contains(&text.as_str()));
        let name = clean(&listed.name);
        let licence = licence.map(|text| clean(&text));
        // No text that is searched for has a line's end: cleaned texts have none.
        let key = format!("{}\n{}", name, licence.as_deref().unwrap_or_default()).to_lowercase();
        Self {
            name,
            version: clean(&listed.version.unwrap_or_default()),
            kind: clean(kind),
            licence,
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn packages_are_by_name_and_the_image_is_none() {
        let document = json!({
            "spdxVersion": "SPDX-2.3",
            "packages": [
                { "name": "zlib", "versionInfo": "1.3", "licenseDeclared": "Zlib", "licenseConcluded": "NOASSERTION",
                  "externalRefs": [
                    { "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:zlib:zlib:1.3" },
                    { "referenceType": "purl", "referenceLocator": "pkg:deb/debian/zlib@1.3" } ] },
                { "name": "<img onerror=alert(1)>\u{202e}", "licenseDeclared": "NOASSERTION", "externalRefs": null },
                { "name": "registry/app", "primaryPackagePurpose": "CONTAINER" },
            ],
        });
        let packages = Packages::parse(document.to_string().as_bytes()).unwrap();
        let names: Vec<_> = packages.all.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["<img onerror=alert(1)>", "zlib"]);
        let zlib = &packages.all[1];
        assert_eq!(
            (zlib.kind.as_str(), zlib.licence.as_deref()),
            ("deb", Some("Zlib"))
        );
        assert_eq!(packages.all[0].licence, None);
        assert_eq!(packages.find("ZLI").len(), 1);
        assert_eq!(packages.find(" ").len(), 2);
        assert_eq!(packages.find("nothing").len(), 0);
    }

    #[test]
    fn the_package_url_is_found_behind_any_number_of_other_references() {
        let cpe = json!({ "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:b:c:1" });
        let mut references = vec![cpe; 60];
        references.push(json!({ "referenceType": "purl", "referenceLocator": "pkg:pypi/planted-py@1.0.0" }));
        let document = json!({
            "spdxVersion": "SPDX-2.3",
            "packages": [{ "name": "planted-py", "externalRefs": references }],
        });
        let packages = Packages::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!(packages.all[0].kind, "pypi");
    }

    #[test]
    fn what_is_no_document_is_not_read_as_an_empty_one() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"spdxVersion":"CycloneDX","packages":[]}"#,
            r#"{"spdxVersion":"SPDX-2.3","packages":[1]}"#,
            r#"["SPDX-2.3"]"#,
            r#"{"spdxVersion":"SPDX-2.3"}"#,
        ] {
            assert_eq!(Packages::parse(text.as_bytes()), Err(Unreadable), "{text}");
        }
    }
}
