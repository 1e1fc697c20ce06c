//! What a comparison shows: tables of values, layers, and all of it in a sentence.

use atcr_web::figures::{Bytes, Count};

use super::targets::Side;
use crate::browse::diff::{Fate, LayerRow, ValueRow};

/// A table of values.
pub(super) struct ValueTable {
    pub(super) name: &'static str,
    pub(super) rows: Vec<ValueView>,
    pub(super) same: Vec<ValueView>,
}

pub(super) struct ValueView {
    pub(super) row: ValueRow,
    pub(super) mark: Mark,
}

/// A fate in a sign and a word.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
    pub(super) class: &'static str,
}

impl Mark {
    pub(super) fn of(fate: Fate) -> Self {
        let (sign, word, class) = match fate {
            Fate::Same => ("=", "same", "same"),
            Fate::Changed => ("~", "changed", "changed"),
            Fate::Added => ("+", "added", "added"),
            Fate::Removed => ("−", "removed", "removed"),
        };
        Self { sign, word, class }
    }
}

pub(super) struct LayerView {
    pub(super) mark: Mark,
    pub(super) size: Bytes,
    pub(super) short: String,
    pub(super) whole: String,
    pub(super) command: Option<String>,
}

pub(super) fn table(name: &'static str, rows: Vec<ValueRow>) -> ValueTable {
    let views = rows.into_iter().map(|row| ValueView {
        mark: Mark::of(row.fate()),
        row,
    });
    let (same, rows) = views.partition(|view| view.row.fate() == Fate::Same);
    ValueTable { name, rows, same }
}

pub(super) fn layer_view(layer: LayerRow) -> LayerView {
    LayerView {
        mark: Mark::of(layer.fate),
        size: Bytes(layer.size),
        short: layer.digest.hex().chars().take(12).collect(),
        whole: layer.digest.to_string(),
        command: layer.command,
    }
}

/// The names of the tables in which nothing differs, as the beginning of a sentence.
pub(super) fn unchanged(tables: &[ValueTable]) -> String {
    let names: Vec<String> = tables
        .iter()
        .filter(|table| table.rows.is_empty())
        .enumerate()
        .map(|(number, table)| match number {
            0 => table.name.to_owned(),
            _ => table.name.to_lowercase(),
        })
        .collect();
    names.join(", ")
}

/// `33.0 MB to 33.1 MB, 7 of 9 layers shared, 2 settings changed.`
pub(super) fn summary(
    from: &Side,
    to: &Side,
    layers: &[LayerRow],
    tables: &[ValueTable],
    is_same: bool,
) -> String {
    if is_same {
        return "Both are the same image.".to_owned();
    }
    let size = if from.size == to.size {
        format!("Same size ({})", to.size)
    } else {
        format!("{} to {}", from.size, to.size)
    };
    let mut parts = vec![size];
    let of_second = layers.iter().filter(|layer| layer.fate != Fate::Removed).count();
    let shared = layers.iter().filter(|layer| layer.fate == Fate::Same).count();
    if of_second > 0 {
        parts.push(format!("{shared} of {} layers shared", Count(of_second as u64)));
    }
    let words = [
        ("Configuration", "setting", "settings"),
        ("Environment", "variable", "variables"),
        ("Labels", "label", "labels"),
        ("Annotations", "annotation", "annotations"),
    ];
    for (name, one, many) in words {
        let found = tables.iter().find(|table| table.name == name);
        let changed = found.map_or(0, |table| table.rows.len());
        if changed > 0 {
            parts.push(format!("{} changed", Count(changed as u64).of(one, many)));
        }
    }
    parts.join(". ") + "."
}
