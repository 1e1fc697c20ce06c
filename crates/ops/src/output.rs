//! What is printed: the product on standard output, as text or as lines of JSON; how far it is on standard error, on a terminal only.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How often the progress is drawn anew.
const DRAWN_EACH: Duration = Duration::from_millis(120);

/// How a command answers.
#[derive(Clone, Debug)]
pub struct Output {
    is_json: bool,
    progress: ProgressBar,
}

impl Output {
    /// For a script, with JSON, or for people.
    #[must_use]
    pub fn new(is_json: bool) -> Self {
        let progress = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            progress.set_style(style);
        }
        progress.enable_steady_tick(DRAWN_EACH);
        Self { is_json, progress }
    }

    /// A line for people.
    pub fn line(&self, line: impl Display) {
        if !self.is_json {
            self.write(&clean(&line.to_string()));
        }
    }

    /// A line for scripts.
    pub fn json(&self, value: &impl Serialize) {
        if self.is_json
            && let Ok(text) = serde_json::to_string(value)
        {
            self.write(&text);
        }
    }

    /// A line on standard error: something went wrong, and the command goes on.
    pub fn warn(&self, line: impl Display) {
        self.progress.suspend(|| {
            let _ = writeln!(std::io::stderr(), "warning: {}", one_line(&line.to_string()));
        });
    }

    /// How far it is.
    pub fn progress(&self, message: impl Display) {
        self.progress.set_message(one_line(&message.to_string()));
    }

    /// Takes the progress away.
    pub fn done(&self) {
        self.progress.finish_and_clear();
    }

    /// A reader that went away is no reason to stop.
    fn write(&self, line: &str) {
        self.progress.suspend(|| {
            let _ = writeln!(std::io::stdout(), "{line}");
        });
    }
}

/// `text` of several lines, fit for a terminal: what moves the cursor or turns the line around is shown as `�`. Names and records are
/// written by strangers.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|character| {
            if is_hostile(character) {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// The same in one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\u{fffd}")
}

fn is_hostile(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// Rows below their headings, each column as wide as its widest cell. The columns in `right` are aligned on the right.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| one_line(cell)).collect())
        .collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let lines = std::iter::once(&headings).chain(&rows).map(|row| {
        let cells = row.iter().zip(&widths).enumerate().map(|(place, (cell, width))| {
            if right.contains(&place) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{clean, table};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["alice.example".to_owned(), "7".to_owned()],
            vec!["bob".to_owned(), "1,000".to_owned()],
        ];
        assert_eq!(
            table(&["account", "bytes"], &rows, &[1]),
            "account        bytes\nalice.example      7\nbob            1,000"
        );
    }

    #[test]
    fn what_a_stranger_wrote_moves_no_cursor_and_adds_no_line() {
        assert_eq!(
            clean("a\u{1b}[2J\nb\u{202e}c\r\u{9b}"),
            "a\u{fffd}[2J\nb\u{fffd}c\u{fffd}\u{fffd}"
        );
        let rows = [vec!["bob\nalice".to_owned()]];
        assert_eq!(table(&["account"], &rows, &[]), "account\nbob\u{fffd}alice");
    }
}
