//! Files of settings, with the doc comments of the structs as their comments: the example file, which has every default, and a
//! file of what differs from the defaults.

use std::fmt::Write as _;

use serde_json::Value;
use serde_norway::Value as Yaml;

use super::{Secret, Settings, env_name::env_name, schema};

/// The column at which a comment wraps.
const WIDTH: usize = 96;

/// The defaults of `T` as YAML; each key is preceded by its doc comment and the variable that overrides it.
///
/// # Errors
/// The serializer's, if the defaults cannot be written as YAML (a programming error, shown by a test).
pub fn commented_yaml<T: Settings>() -> Result<String, serde_norway::Error> {
    let defaults = serde_norway::to_value(T::default())?;
    let schema = schema::of::<T>();
    let mut out = String::new();
    if let Some(text) = schema::description(&schema) {
        comment(&mut out, 0, text);
        out.push('\n');
    }
    section(&mut out, 0, "", &defaults, &schema, Some(T::ENV_PREFIX))?;
    Ok(out)
}

/// What of `config` differs from the defaults of `T` as YAML, below `heading`; each key is preceded by its doc comment. A [`Secret`]
/// shows itself to no serializer: those that the file shall have are in `secrets`, with their dotted keys.
///
/// # Errors
/// The serializer's, if a value cannot be written as YAML.
pub fn changed_yaml<T: Settings>(
    config: &T,
    secrets: &[(&str, &Secret)],
    heading: &str,
) -> Result<String, serde_norway::Error> {
    let mut values = serde_norway::to_value(config)?;
    for (key, secret) in secrets {
        put(&mut values, key, secret.expose());
    }
    retain_changed(&mut values, &serde_norway::to_value(T::default())?);
    let mut out = String::new();
    comment(&mut out, 0, heading);
    out.push('\n');
    section(&mut out, 0, "", &values, &schema::of::<T>(), None)?;
    Ok(out)
}

/// Writes `text` at the dotted key, which is there.
fn put(values: &mut Yaml, key: &str, text: &str) {
    let mut place = Some(values);
    for name in key.split('.') {
        place = place.and_then(|values| values.get_mut(name));
    }
    if let Some(place) = place {
        *place = Yaml::String(text.to_owned());
    }
}

/// Removes from `values` what `defaults` has as well, and the sections that are empty then.
fn retain_changed(values: &mut Yaml, defaults: &Yaml) {
    let (Yaml::Mapping(values), Yaml::Mapping(defaults)) = (values, defaults) else {
        return;
    };
    values.retain(|name, value| {
        let Some(default) = defaults.get(name) else {
            return true;
        };
        if *value == *default {
            return false;
        }
        retain_changed(value, default);
        true
    });
}

/// Writes the keys of a section. `env_prefix` begins the names of the variables, if they are to be told.
fn section(
    out: &mut String,
    depth: usize,
    prefix: &str,
    values: &Yaml,
    schema: &Value,
    env_prefix: Option<&str>,
) -> Result<(), serde_norway::Error> {
    let Yaml::Mapping(map) = values else { return Ok(()) };
    for (index, (name, value)) in map.iter().enumerate() {
        let Some(name) = name.as_str() else { continue };
        let key = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        };
        let node = schema::property(schema, name).unwrap_or(&Value::Null);
        if index > 0 && depth == 0 {
            out.push('\n');
        }
        if let Some(text) = schema::description(node) {
            comment(out, depth, text);
        }
        let pad = "  ".repeat(depth);
        if node.get("properties").is_some() && value.is_mapping() {
            let _ = writeln!(out, "{pad}{name}:");
            section(out, depth + 1, &key, value, node, env_prefix)?;
        } else {
            if let Some(env_prefix) = env_prefix {
                comment(out, depth, &format!("[{}]", env_name(env_prefix, &key)));
            }
            let text = serde_norway::to_string(value)?;
            let text = text.trim_end();
            match value {
                Yaml::Null => {
                    let _ = writeln!(out, "{pad}{name}:");
                }
                Yaml::Sequence(items) if !items.is_empty() => {
                    let _ = writeln!(out, "{pad}{name}:");
                    for line in text.lines() {
                        let _ = writeln!(out, "{pad}  {line}");
                    }
                }
                Yaml::Mapping(items) if !items.is_empty() => {
                    let _ = writeln!(out, "{pad}{name}:");
                    for line in text.lines() {
                        let _ = writeln!(out, "{pad}  {line}");
                    }
                }
                Yaml::String(text) if text.is_empty() => {
                    let _ = writeln!(out, "{pad}{name}: \"\"");
                }
                _ => {
                    let _ = writeln!(out, "{pad}{name}: {text}");
                }
            }
        }
    }
    Ok(())
}

/// Writes `text` as comment lines at `depth`, wrapped at [`WIDTH`]; a blank line in the text stays one.
fn comment(out: &mut String, depth: usize, text: &str) {
    let pad = "  ".repeat(depth);
    for paragraph in text.split("\n\n") {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && pad.len() + 2 + line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(out, "{pad}# {line}");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            let _ = writeln!(out, "{pad}# {line}");
        }
    }
}
