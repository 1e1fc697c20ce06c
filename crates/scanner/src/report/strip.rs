//! Leaves fields out of a JSON document without building it up: the rest stays as it was written.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize as _};
use serde_json::value::RawValue;

/// What Syft's list has beside packages: its own settings, and config and manifest in base64, with the image's environment.
pub const SYFT: &[&[&str]] = &[
    &["descriptor", "configuration"],
    &["source", "metadata", "config"],
    &["source", "metadata", "manifest"],
];

/// The same of Grype's report.
pub const GRYPE: &[&[&str]] = &[
    &["descriptor", "configuration"],
    &["source", "target", "config"],
    &["source", "target", "manifest"],
];

/// An object's fields as they are written.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Writes `document` without the fields at `paths` into `out`.
///
/// # Errors
/// If it is no JSON object, and those of `out`.
pub fn without(document: &[u8], paths: &[&[&str]], out: &mut impl Write) -> io::Result<()> {
    let fields: Fields<'_> = serde_json::from_slice(document)?;
    write_fields(&fields, paths, out)
}

fn write_fields(fields: &Fields<'_>, paths: &[&[&str]], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{")?;
    let mut comma = false;
    for (name, value) in &fields.0 {
        let below: Vec<&[&str]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| *first == name)
            .map(|(_, rest)| rest)
            .collect();
        if below.iter().any(|path| path.is_empty()) {
            continue;
        }
        if comma {
            out.write_all(b",")?;
        }
        comma = true;
        name.serialize(&mut serde_json::Serializer::new(&mut *out))?;
        out.write_all(b":")?;
        let value = value.get();
        if !below.is_empty() && value.starts_with('{') {
            write_fields(&serde_json::from_str(value)?, &below, out)?;
        } else {
            out.write_all(value.as_bytes())?;
        }
    }
    out.write_all(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_fields_are_gone_and_the_order_stays() {
        let document = br#"{"b":[1, 2.50],"descriptor":{"name":"x","configuration":{"a":1}},"source":{"metadata":{"config":"AAAA","manifest":"BBBB","tags":[]},"config":1},"a":"\u0000"}"#;
        let mut out = Vec::new();
        without(document, SYFT, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"b":[1, 2.50],"descriptor":{"name":"x"},"source":{"metadata":{"tags":[]},"config":1},"a":"\u0000"}"#
        );
    }

    #[test]
    fn a_field_of_another_form_is_left_alone() {
        let mut out = Vec::new();
        without(br#"{"source":null,"descriptor":[]}"#, GRYPE, &mut out).unwrap();
        assert_eq!(out, br#"{"source":null,"descriptor":[]}"#);
        assert!(without(b"[]", GRYPE, &mut Vec::new()).is_err());
    }
}
