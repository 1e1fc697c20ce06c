//! A small validator of data against lexicon documents, itself tested with the vectors of `lexicon/`.
//!
//! The crates that do this bring a second copy of the AT Protocol types with them; the official JavaScript validator sees
//! the same records in the end-to-end test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use atcr_atproto::data_model::json_to_ipld;
use atcr_atproto::syntax::{
    AtIdentifier, AtUri, Cid, CidString, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, Uri,
};
use serde_json::{Map, Value};

/// Lexicon documents by NSID.
#[derive(Default)]
pub(crate) struct Lexicons(BTreeMap<String, Value>);

/// Where, and what is wrong.
pub(crate) type Verdict = Result<(), String>;

impl Lexicons {
    /// All documents below `folder`.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut all = Self::default();
        all.read_into(folder);
        all
    }

    fn read_into(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.read_into(&path);
            } else {
                self.add(serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap());
            }
        }
    }

    pub(crate) fn add(&mut self, document: Value) {
        self.0
            .insert(document["id"].as_str().unwrap().to_owned(), document);
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(nsid, document)| (nsid.as_str(), document))
    }

    /// Checks a record, its `$type` included.
    pub(crate) fn record(&self, value: &Value) -> Verdict {
        let nsid = value["$type"].as_str().ok_or("no $type")?;
        let main = self.resolve(nsid, nsid)?;
        if main["type"] != "record" {
            return Err(format!("{nsid} is not a record"));
        }
        json_to_ipld(value).map_err(|error| error.to_string())?;
        self.check(nsid, &main["record"], value, nsid)
    }

    /// Checks the input or output of a method.
    pub(crate) fn body(&self, nsid: &str, which: &str, value: &Value) -> Verdict {
        let schema = &self.resolve(nsid, nsid)?[which]["schema"];
        self.check(nsid, schema, value, &format!("{nsid} {which}"))
    }

    /// The definition that `reference` names from inside the document `nsid`.
    fn resolve(&self, nsid: &str, reference: &str) -> Result<&Value, String> {
        let (document, def) = reference.split_once('#').unwrap_or((reference, "main"));
        let document = if document.is_empty() { nsid } else { document };
        let found = self
            .0
            .get(document)
            .and_then(|document| document["defs"].get(def));
        found.ok_or_else(|| format!("{reference} is not defined"))
    }

    fn check(&self, nsid: &str, schema: &Value, value: &Value, at: &str) -> Verdict {
        let fail = |what: &str| Err(format!("{at}: {what}"));
        match schema["type"].as_str().unwrap_or_default() {
            "boolean" => {
                if !value.is_boolean() || differs(schema, "const", value) {
                    return fail("not the boolean it should be");
                }
            }
            "integer" => check_integer(schema, value).map_err(|what| format!("{at}: {what}"))?,
            "string" => check_string(schema, value).map_err(|what| format!("{at}: {what}"))?,
            "bytes" => {
                let Some(text) = value["$bytes"].as_str() else {
                    return fail("not bytes");
                };
                within(
                    schema,
                    "minLength",
                    "maxLength",
                    text.trim_end_matches('=').len() * 3 / 4,
                )
                .map_err(|what| format!("{at}: {what}"))?;
            }
            "cid-link" => {
                if value["$link"]
                    .as_str()
                    .is_none_or(|text| text.parse::<Cid>().is_err())
                {
                    return fail("not a link");
                }
            }
            "blob" => check_blob(schema, value).map_err(|what| format!("{at}: {what}"))?,
            "unknown" => {
                let special = ["$bytes", "$link"].iter().any(|key| value.get(key).is_some());
                if !value.is_object() || special || value["$type"] == "blob" {
                    return fail("not an object");
                }
            }
            "array" => {
                let Some(items) = value.as_array() else {
                    return fail("not an array");
                };
                within(schema, "minLength", "maxLength", items.len())
                    .map_err(|what| format!("{at}: {what}"))?;
                for (index, item) in items.iter().enumerate() {
                    self.check(nsid, &schema["items"], item, &format!("{at}[{index}]"))?;
                }
            }
            "object" => self.check_object(nsid, schema, value, at)?,
            "ref" => {
                let reference = schema["ref"].as_str().unwrap_or_default();
                let document = reference
                    .split('#')
                    .next()
                    .filter(|text| !text.is_empty())
                    .unwrap_or(nsid);
                self.check(document, self.resolve(nsid, reference)?, value, at)?;
            }
            "union" => {
                let Some(name) = value["$type"].as_str() else {
                    return fail("no $type in a union");
                };
                let named = schema["refs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|known| known == name);
                if named {
                    self.check(nsid, self.resolve(nsid, name)?, value, at)?;
                } else if schema["closed"] == true {
                    return fail("not of the closed union");
                }
            }
            other => return fail(&format!("unknown schema type {other:?}")),
        }
        Ok(())
    }

    fn check_object(&self, nsid: &str, schema: &Value, value: &Value, at: &str) -> Verdict {
        let Some(fields) = value.as_object() else {
            return Err(format!("{at}: not an object"));
        };
        let list = |name: &str| schema[name].as_array().cloned().unwrap_or_default();
        for name in list("required") {
            if fields.get(name.as_str().unwrap()).is_none() {
                return Err(format!("{at}: {name} is missing"));
            }
        }
        let nullable = list("nullable");
        let empty = Map::new();
        for (name, property) in schema["properties"].as_object().unwrap_or(&empty) {
            match fields.get(name) {
                None => {}
                Some(Value::Null) if nullable.iter().any(|known| known == name) => {}
                Some(field) => self.check(nsid, property, field, &format!("{at}.{name}"))?,
            }
        }
        Ok(())
    }

    /// Checks a document: known types, required fields that exist, references that resolve.
    pub(crate) fn document(&self, document: &Value) -> Verdict {
        if document["lexicon"] != 1 {
            return Err("not of lexicon version 1".to_owned());
        }
        let nsid = document["id"].as_str().ok_or("no id")?;
        nsid.parse::<Nsid>().map_err(|error| error.to_string())?;
        for (name, def) in document["defs"].as_object().ok_or("no defs")? {
            let kind = def["type"].as_str().unwrap_or_default();
            match kind {
                "record" | "query" | "procedure" | "subscription" | "permission-set" if name != "main" => {
                    return Err(format!("{name}: {kind} must be main"));
                }
                "record" if def["record"]["type"] != "object" => {
                    return Err(format!("{name}: not an object"));
                }
                "record" => self.schema(nsid, &def["record"])?,
                "query" | "procedure" => {
                    for body in ["input", "output"]
                        .iter()
                        .filter_map(|which| def.get(which)?.get("schema"))
                    {
                        self.schema(nsid, body)?;
                    }
                }
                "permission-set" | "token" | "subscription" => {}
                "unknown" | "ref" | "" => return Err(format!("{name}: {kind:?} cannot be a definition")),
                _ => self.schema(nsid, def)?,
            }
        }
        Ok(())
    }

    fn schema(&self, nsid: &str, schema: &Value) -> Verdict {
        const KNOWN: [&str; 11] = [
            "boolean", "integer", "string", "bytes", "cid-link", "blob", "unknown", "array", "object", "ref",
            "union",
        ];
        let kind = schema["type"].as_str().unwrap_or_default();
        if !KNOWN.contains(&kind) {
            return Err(format!("{nsid}: unknown type {kind:?}"));
        }
        if let Some(items) = schema.get("items") {
            self.schema(nsid, items)?;
        }
        if let Some(reference) = schema["ref"]
            .as_str()
            .filter(|reference| reference.starts_with('#'))
        {
            self.resolve(nsid, reference)?;
        }
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        for property in properties.values() {
            self.schema(nsid, property)?;
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if !properties.contains_key(name.as_str().unwrap_or_default()) {
                return Err(format!("{nsid}: {name} is required but not defined"));
            }
        }
        Ok(())
    }
}

fn differs(schema: &Value, key: &str, value: &Value) -> bool {
    schema.get(key).is_some_and(|wanted| wanted != value)
}

fn outside_enum(schema: &Value, value: &Value) -> bool {
    schema["enum"]
        .as_array()
        .is_some_and(|known| !known.contains(value))
}

fn within(schema: &Value, min: &str, max: &str, len: usize) -> Verdict {
    let len = u64::try_from(len).unwrap();
    if schema[min].as_u64().is_some_and(|min| len < min) || schema[max].as_u64().is_some_and(|max| len > max)
    {
        return Err(format!("length {len} is outside {min}..{max}"));
    }
    Ok(())
}

fn check_integer(schema: &Value, value: &Value) -> Verdict {
    let number = value.as_i64().ok_or("not an integer")?;
    let outside = schema["minimum"].as_i64().is_some_and(|min| number < min)
        || schema["maximum"].as_i64().is_some_and(|max| number > max);
    if outside || differs(schema, "const", value) || outside_enum(schema, value) {
        return Err(format!("{number} is not allowed"));
    }
    Ok(())
}

fn check_string(schema: &Value, value: &Value) -> Verdict {
    let text = value.as_str().ok_or("not a string")?;
    within(schema, "minLength", "maxLength", text.len())?;
    within(schema, "minGraphemes", "maxGraphemes", graphemes(text))?;
    if differs(schema, "const", value) || outside_enum(schema, value) {
        return Err(format!("{text:?} is not allowed"));
    }
    let valid = match schema["format"].as_str() {
        None => true,
        Some("did") => text.parse::<Did>().is_ok(),
        Some("handle") => text.parse::<Handle>().is_ok(),
        Some("at-identifier") => text.parse::<AtIdentifier>().is_ok(),
        Some("nsid") => text.parse::<Nsid>().is_ok(),
        Some("at-uri") => text.parse::<AtUri>().is_ok(),
        Some("cid") => text.parse::<CidString>().is_ok(),
        Some("datetime") => text.parse::<Datetime>().is_ok(),
        Some("language") => text.parse::<Language>().is_ok(),
        Some("uri") => text.parse::<Uri>().is_ok(),
        Some("tid") => text.parse::<Tid>().is_ok(),
        Some("record-key") => text.parse::<RecordKey>().is_ok(),
        Some(other) => return Err(format!("unknown format {other}")),
    };
    if valid {
        Ok(())
    } else {
        Err(format!("{text:?} is not a {}", schema["format"]))
    }
}

fn check_blob(schema: &Value, value: &Value) -> Verdict {
    let link = value["ref"]["$link"]
        .as_str()
        .is_some_and(|text| text.parse::<Cid>().is_ok());
    let (Some(mime_type), Some(size)) = (value["mimeType"].as_str(), value["size"].as_u64()) else {
        return Err("not a blob".to_owned());
    };
    if value["$type"] != "blob" || !link {
        return Err("not a blob".to_owned());
    }
    let accepted = schema["accept"].as_array().is_none_or(|patterns| {
        patterns
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => mime_type.starts_with(prefix),
                None => mime_type == pattern,
            })
    });
    if !accepted || schema["maxSize"].as_u64().is_some_and(|max| size > max) {
        return Err("the blob's type or size is not allowed".to_owned());
    }
    Ok(())
}

/// Grapheme clusters, as far as emoji and flags go.
fn graphemes(text: &str) -> usize {
    let (mut count, mut joined, mut flag) = (0, false, false);
    for c in text.chars() {
        let extends =
            matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{300}'..='\u{36f}' | '\u{1f3fb}'..='\u{1f3ff}');
        let regional = ('\u{1f1e6}'..='\u{1f1ff}').contains(&c);
        let continues = extends || joined || (regional && flag);
        count += usize::from(!continues);
        flag = regional && !flag;
        joined = c == '\u{200d}';
    }
    count
}

mod vectors {
    use serde::Deserialize;

    use super::{Lexicons, Value};
    use crate::suites;

    #[derive(Deserialize)]
    struct RecordCase {
        name: String,
        data: Value,
    }

    #[derive(Deserialize)]
    struct DocumentCase {
        name: String,
        lexicon: Value,
    }

    #[test]
    fn records() {
        let Some(document) = suites::json("lexicon/catalog/record.json") else {
            return;
        };
        let mut lexicons = Lexicons::default();
        lexicons.add(document);
        for (file, valid) in [
            ("lexicon/record-data-valid.json", true),
            ("lexicon/record-data-invalid.json", false),
        ] {
            for case in suites::json::<Vec<RecordCase>>(file).unwrap() {
                let verdict = lexicons.record(&case.data);
                assert_eq!(verdict.is_ok(), valid, "{}: {verdict:?}", case.name);
            }
        }
    }

    #[test]
    fn documents() {
        for (file, valid) in [
            ("lexicon/lexicon-valid.json", true),
            ("lexicon/lexicon-invalid.json", false),
        ] {
            for case in suites::json::<Vec<DocumentCase>>(file).unwrap_or_default() {
                let verdict = Lexicons::default().document(&case.lexicon);
                assert_eq!(verdict.is_ok(), valid, "{}: {verdict:?}", case.name);
            }
        }
    }
}
