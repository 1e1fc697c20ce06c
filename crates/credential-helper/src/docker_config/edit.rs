//! Setting and removing one entry of `credHelpers`, leaving every other byte alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::spans::{Object, skip_space};

const CRED_HELPERS: &str = "credHelpers";

/// A configuration that is not edited, since the outcome could not be answered for.
#[derive(Debug, Error)]
pub enum EditError {
    /// Docker could not read it either.
    #[error("it is not valid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Valid JSON, but not an object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// `credHelpers` or its entry has a type that Docker does not know.
    #[error("its `{0}` is not of the type that Docker expects")]
    Type(String),
    /// The same name twice, or in another spelling that Docker takes for the same.
    #[error("it has `{0}` more than once, or spelled differently")]
    Ambiguous(String),
    /// There is no entry of ours to remove.
    #[error("it has no entry of docker-credential-atcr for {0}")]
    NoEntry(String),
}

/// What had to be made for the first entry; undone with the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// `credHelpers` had entries.
    #[default]
    Nothing,
    /// `credHelpers` was there, with only this white space in it.
    EntriesIn(String),
    /// `credHelpers` itself.
    CredHelpers,
    /// `credHelpers`, in an object with only this white space in it.
    CredHelpersIn(String),
    /// The file.
    File,
}

/// An edited text.
#[derive(Debug)]
pub struct Edited {
    /// The new text.
    pub text: String,
    /// The text of the value that was replaced.
    pub previous: Option<String>,
    /// What was made besides the entry.
    pub made: Made,
}

/// Sets `credHelpers[host]` to `helper`. `None`: there is no file, or an empty one.
///
/// # Errors
/// [`EditError`]
pub fn set(text: Option<&str>, host: &str, helper: &str) -> Result<Edited, EditError> {
    let value = Value::from(helper).to_string();
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        let entry = member("\t\t", host, ": ", &value);
        return Ok(Edited {
            text: format!("{{\n\t\"{CRED_HELPERS}\": {{\n{entry}\n\t}}\n}}\n"),
            previous: None,
            made: Made::File,
        });
    };
    let top = read_top(text)?;
    let style = Style::of(text, &top);
    let edited = |text, previous, made| Ok(Edited { text, previous, made });
    let Some(helpers) = top.position(CRED_HELPERS) else {
        let name = Value::from(CRED_HELPERS).to_string();
        let host = Value::from(host).to_string();
        let Style {
            newline,
            indent,
            colon,
        } = &style;
        let close = if newline.is_empty() {
            String::new()
        } else {
            format!("{newline}{indent}")
        };
        let added = format!("{name}{colon}{{{close}{indent}{host}{colon}{value}{close}}}");
        return match top.members.last() {
            Some(last) => edited(
                splice(
                    text,
                    last.value.end..last.value.end,
                    &format!(",{newline}{indent}{added}"),
                ),
                None,
                Made::CredHelpers,
            ),
            None => edited(
                splice(
                    text,
                    top.inside.clone(),
                    &format!("{newline}{indent}{added}{newline}"),
                ),
                None,
                Made::CredHelpersIn(text[top.inside.clone()].to_owned()),
            ),
        };
    };
    let helpers = read_helpers(text, &top, helpers)?;
    if let Some(position) = entry(&helpers, host)? {
        let span = helpers.members[position].value.clone();
        let previous = text[span.clone()].to_owned();
        return edited(splice(text, span, &value), Some(previous), Made::Nothing);
    }
    let host = Value::from(host).to_string();
    let Style {
        newline,
        indent,
        colon,
    } = &style;
    match helpers.members.last() {
        Some(last) => {
            // The way the entry before it is set, which may differ from the rest of the file.
            let start = last.name_span.start;
            let before = match helpers.members.len() {
                1 => &text[helpers.inside.start..start],
                count => {
                    let end = helpers.members[count - 2].value.end;
                    let comma = text[end..start].find(',').map_or(end, |comma| end + comma + 1);
                    &text[comma..start]
                }
            };
            let colon = &text[last.name_span.end..last.value.start];
            let added = format!(",{before}{host}{colon}{value}");
            edited(
                splice(text, last.value.end..last.value.end, &added),
                None,
                Made::Nothing,
            )
        }
        None => {
            let inside = text[helpers.inside.clone()].to_owned();
            let added = if newline.is_empty() {
                format!("{host}{colon}{value}")
            } else {
                format!("{newline}{indent}{indent}{host}{colon}{value}{newline}{indent}")
            };
            edited(
                splice(text, helpers.inside, &added),
                None,
                Made::EntriesIn(inside),
            )
        }
    }
}

/// Takes `credHelpers[host]` out again, or puts `previous` back. `made` is undone if no entry is left. `None`: the file
/// was ours alone and can go.
///
/// # Errors
/// [`EditError`]; [`EditError::NoEntry`] if the entry does not name `helper`: another program's entry is not touched.
pub fn unset(
    text: &str,
    host: &str,
    helper: &str,
    previous: Option<&str>,
    made: &Made,
) -> Result<Option<String>, EditError> {
    let no_entry = || EditError::NoEntry(host.to_owned());
    let top = read_top(text)?;
    let helpers_at = top.position(CRED_HELPERS).ok_or_else(no_entry)?;
    let helpers = read_helpers(text, &top, helpers_at)?;
    let position = entry(&helpers, host)?.ok_or_else(no_entry)?;
    let value = helpers.members[position].value.clone();
    if serde_json::from_str::<Value>(&text[value.clone()])? != helper {
        return Err(no_entry());
    }
    if let Some(previous) = previous {
        return Ok(Some(splice(text, value, previous)));
    }
    if helpers.members.len() > 1 {
        return Ok(Some(remove(text, &helpers, position)));
    }
    Ok(match made {
        Made::Nothing => Some(remove(text, &helpers, position)),
        Made::EntriesIn(inside) => Some(splice(text, helpers.inside, inside)),
        Made::File if top.members.len() == 1 => None,
        Made::CredHelpersIn(inside) if top.members.len() == 1 => Some(splice(text, top.inside, inside)),
        Made::CredHelpers | Made::CredHelpersIn(_) | Made::File => Some(remove(text, &top, helpers_at)),
    })
}

/// The value of `credHelpers[host]`, if there is one and it is text.
#[must_use]
pub fn get(text: &str, host: &str) -> Option<String> {
    let value: Value = serde_json::from_str(without_mark(text)).ok()?;
    Some(value.get(CRED_HELPERS)?.get(host)?.as_str()?.to_owned())
}

/// How the file is set.
struct Style {
    /// Empty when everything stands on one line.
    newline: &'static str,
    /// One step; empty when everything stands on one line.
    indent: String,
    colon: &'static str,
}

impl Style {
    fn of(text: &str, top: &Object) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let Some(first) = top.members.first() else {
            return Self {
                newline,
                indent: "\t".to_owned(),
                colon: ": ",
            };
        };
        let colon = if text[first.name_span.end..first.value.start].ends_with(' ') {
            ": "
        } else {
            ":"
        };
        let before = &text[top.inside.start..first.name_span.start];
        match before.rsplit_once('\n') {
            Some((_, indent)) => Self {
                newline,
                indent: indent.to_owned(),
                colon,
            },
            None => Self {
                newline: "",
                indent: String::new(),
                colon,
            },
        }
    }
}

fn member(indent: &str, name: &str, colon: &str, value: &str) -> String {
    format!("{indent}{}{colon}{value}", Value::from(name))
}

/// A byte order mark, which some Windows editors write, is kept and not parsed.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn read_top(text: &str) -> Result<Object, EditError> {
    let parsed: Value = serde_json::from_str(without_mark(text))?;
    if !parsed.is_object() {
        return Err(EditError::NotAnObject);
    }
    let mark = text.len() - without_mark(text).len();
    let start = skip_space(text.as_bytes(), mark);
    let top = Object::read(text, start).ok_or(EditError::NotAnObject)?;
    check_single(&top, CRED_HELPERS)?;
    Ok(top)
}

fn read_helpers(text: &str, top: &Object, position: usize) -> Result<Object, EditError> {
    Object::read(text, top.members[position].value.start)
        .ok_or_else(|| EditError::Type(CRED_HELPERS.to_owned()))
}

fn entry(helpers: &Object, host: &str) -> Result<Option<usize>, EditError> {
    if helpers
        .members
        .iter()
        .filter(|member| member.name == host)
        .count()
        > 1
    {
        return Err(EditError::Ambiguous(format!("{CRED_HELPERS}[{host}]")));
    }
    Ok(helpers.position(host))
}

/// Docker reads names without regard to case and lets the last one win.
fn check_single(object: &Object, name: &str) -> Result<(), EditError> {
    let mut same = object
        .members
        .iter()
        .filter(|member| member.name.eq_ignore_ascii_case(name));
    match (same.next(), same.next()) {
        (Some(member), None) if member.name == name => Ok(()),
        (None, _) => Ok(()),
        _ => Err(EditError::Ambiguous(name.to_owned())),
    }
}

/// Removes a member with the comma that made room for it.
fn remove(text: &str, object: &Object, position: usize) -> String {
    let member = &object.members[position];
    let span = if position > 0 {
        object.members[position - 1].value.end..member.value.end
    } else if let Some(next) = object.members.get(1) {
        member.name_span.start..next.name_span.start
    } else {
        object.inside.clone()
    };
    splice(text, span, "")
}

fn splice(text: &str, span: std::ops::Range<usize>, replacement: &str) -> String {
    let mut edited = String::with_capacity(text.len() + replacement.len());
    edited.push_str(&text[..span.start]);
    edited.push_str(replacement);
    edited.push_str(&text[span.end..]);
    edited
}
