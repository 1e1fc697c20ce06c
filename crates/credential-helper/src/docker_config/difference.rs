//! The lines that an edit changes, fit to be shown: secrets of other registries are masked.

use crate::printer::{Printer, plain};

/// Lines shown around a change.
const CONTEXT: usize = 2;
/// Members whose value is a secret.
const SECRETS: &[&str] = &["auth", "identitytoken", "registrytoken", "password"];

/// Shows the change from `before` to `after`.
pub fn show(printer: &Printer, before: &str, after: &str) {
    for line in lines(before, after) {
        let text = plain(&mask(line.text).replace('\t', "  "));
        match line.sign {
            ' ' => printer.say(format_args!("    {text}")),
            '-' => printer.say(printer.removed(&format!("  - {text}"))),
            _ => printer.say(printer.added(&format!("  + {text}"))),
        }
    }
}

struct Line<'a> {
    sign: char,
    text: &'a str,
}

/// An edit is one stretch, so what is not common to both ends is the change. Where only a comma is new on the line
/// before, that line is part of it: closing braces alike would otherwise be taken for each other.
fn lines<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(old, new)| old == new).count();
    let head = same(&mut old.iter().zip(&new));
    let tail = same(&mut old.iter().rev().zip(new.iter().rev())).min(old.len().min(new.len()) - head);
    let is_comma = |short: Option<&&str>, long: Option<&&str>| matches!((short, long), (Some(short), Some(long)) if long.strip_suffix(',') == Some(short));
    let tail = if is_comma(old.get(head), new.get(head)) || is_comma(new.get(head), old.get(head)) {
        tail.min(old.len().min(new.len()) - head - 1)
    } else {
        tail
    };
    let signed = |sign| move |text: &&'a str| Line { sign, text };
    let mut shown: Vec<Line<'a>> = Vec::new();
    shown.extend(old[head.saturating_sub(CONTEXT)..head].iter().map(signed(' ')));
    shown.extend(old[head..old.len() - tail].iter().map(signed('-')));
    shown.extend(new[head..new.len() - tail].iter().map(signed('+')));
    shown.extend(new[new.len() - tail..].iter().take(CONTEXT).map(signed(' ')));
    shown
}

/// Hides the values of [`SECRETS`].
fn mask(line: &str) -> String {
    let mut masked = line.to_owned();
    for name in SECRETS {
        let quoted = format!("\"{name}\"");
        let mut from = 0;
        while let Some(found) = masked[from..].find(&quoted) {
            let after_name = from + found + quoted.len();
            let rest = &masked[after_name..];
            let value = rest.trim_start_matches([' ', '\t', ':']);
            let start = after_name + rest.len() - value.len();
            from = after_name;
            if let Some(inner) = value.strip_prefix('"') {
                let end = inner.find('"').unwrap_or(inner.len());
                masked.replace_range(start + 1..start + 1 + end, "…");
            }
        }
    }
    masked
}
