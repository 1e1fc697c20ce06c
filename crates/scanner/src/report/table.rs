//! A result for people: a table that is as wide as it has to be, with nothing in it that a terminal obeys.

use std::fmt::Write as _;

use super::Finding;
use crate::scan::Scanned;

/// Widest column of a name or version, in characters.
const WIDEST: usize = 40;

/// The result as lines of text.
#[must_use]
pub fn render(name: &str, scanned: &Scanned) -> String {
    let mut text = String::new();
    let counts = &scanned.counts;
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}", shown(name, usize::MAX));
    let _ = writeln!(
        text,
        "{} packages, {}",
        scanned.packages,
        if scanned.state.has_counts() {
            format!(
                "{} {}: {} critical, {} high, {} medium, {} low",
                counts.total,
                if counts.total == 1 { "finding" } else { "findings" },
                counts.critical,
                counts.high,
                counts.medium,
                counts.low
            )
        } else {
            "not looked up: there is no vulnerability database".to_owned()
        }
    );
    if scanned.state == atcr_scan_protocol::ScanState::Partial {
        text.push_str("partial: archives in archives (Java) were left out, since they took too much\n");
    }
    if let Some(built) = scanned.database_built {
        let _ = writeln!(
            text,
            "vulnerability database of {}",
            built.format("%Y-%m-%d %H:%M UTC")
        );
    }
    if !scanned.findings.is_empty() {
        text.push('\n');
        write_rows(&mut text, &scanned.findings);
    }
    text
}

fn write_rows(text: &mut String, findings: &[Finding]) {
    let heads = ["SEVERITY", "ID", "PACKAGE", "INSTALLED", "FIXED IN"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(heads).chain(findings.iter().map(row)).collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn row(finding: &Finding) -> [String; 5] {
    let severity = finding.severity.name();
    let fixed = match finding.fixed_in.as_slice() {
        [] => finding.fix_state.clone(),
        versions => versions.join(", "),
    };
    [
        if finding.known_exploited {
            format!("{severity} (exploited)")
        } else {
            severity.to_owned()
        },
        shown(&finding.id, WIDEST),
        shown(&finding.package, WIDEST),
        shown(&finding.installed, WIDEST),
        shown(&fixed, WIDEST),
    ]
}

/// `text` without what a terminal obeys or what turns its order around, cut to `widest` characters.
fn shown(text: &str, widest: usize) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at >= widest {
            shown.push('…');
            break;
        }
        let is_plain = !character.is_control()
            && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        shown.push(if is_plain { character } else { '\u{fffd}' });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(
            shown("a\u{1b}[2Jb\nc\u{202e}d", 40),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
