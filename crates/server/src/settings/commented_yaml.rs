//! The example file: every default, with the doc comments of the structs as its comments.

use std::fmt::Write as _;

use serde_json::Value;
use serde_norway::Value as Yaml;

use super::{Settings, env_name::env_name, schema};

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
    section(&mut out, 0, "", &defaults, &schema, T::ENV_PREFIX)?;
    Ok(out)
}

fn section(
    out: &mut String,
    depth: usize,
    prefix: &str,
    values: &Yaml,
    schema: &Value,
    env_prefix: &str,
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
            comment(out, depth, &format!("[{}]", env_name(env_prefix, &key)));
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
