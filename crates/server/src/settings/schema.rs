//! The settings of a struct as a flat list of keys, read off its JSON schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// What kind of value a key takes, as far as an environment variable has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    List,
}

/// One key that holds a value rather than a section.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) key: String,
    pub(crate) kind: Kind,
}

/// The schema of `T` with every definition in place.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::default().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Every leaf below `schema`, with dotted keys.
pub(crate) fn leaves(schema: &Value) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(schema, "", &mut found);
    found
}

/// The description of a schema node: the doc comment of the field or type.
pub(crate) fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// The schema of property `name`, if `schema` describes a section that has it.
pub(crate) fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn collect(schema: &Value, prefix: &str, found: &mut Vec<Leaf>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, child) in properties {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        if child.get("properties").is_some() {
            collect(child, &key, found);
        } else {
            found.push(Leaf {
                key,
                kind: kind(child),
            });
        }
    }
}

fn kind(schema: &Value) -> Kind {
    let names = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(many)) => many.iter().any(|one| one == name),
        _ => false,
    };
    if names("array") {
        Kind::List
    } else if names("boolean") {
        Kind::Boolean
    } else if names("integer") {
        Kind::Integer
    } else {
        Kind::Text
    }
}
