//! What is said about a scan: to people as a table, to programs as one object.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::judgement::{Demand, Judgement};
use crate::appview::scans::{Finding, ScanResult, Severity, State};
use crate::printer::Printer;

/// Widest column of a table, in characters.
const WIDEST: usize = 40;

/// What is known of an image's vulnerabilities.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The image as it was named.
    pub image: String,
    /// The platform that was chosen, of an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Who was asked.
    pub registry: String,
    /// Whether it passes.
    pub judgement: Judgement,
    /// Findings that it fails on.
    pub failing: u64,
    /// What makes it fail.
    pub fail_on: Option<Severity>,
    /// Whether only findings count and are listed that an update ends.
    pub only_fixed: bool,
    /// What the registry says.
    #[serde(flatten)]
    pub result: ScanResult,
}

impl Report {
    /// Leaves out the findings that `demand` does not count.
    pub fn narrow(&mut self, demand: Demand) {
        if let Some(findings) = &mut self.result.findings {
            findings.retain(|found| demand.counts(found));
        }
    }

    /// Writes it to standard output.
    pub fn write(&self, printer: &Printer, now: DateTime<Utc>) {
        let result = &self.result;
        let platform = self
            .platform
            .as_ref()
            .map_or_else(String::new, |name| format!(" ({name})"));
        printer.product(printer.bold_product(&format!("{}{platform}", self.image)));
        let say = |name: &str, text: &str| printer.product(format_args!("  {name:<9}{text}"));
        say("digest", &result.digest);
        if let Some(hold) = &result.hold {
            say("hold", &hold.name);
        }
        if let (Some(scanner), Some(at)) = (&result.scanner, &result.scanned_at) {
            say("scanned", &format!("{} by {scanner}", moment(at)));
        }
        if let Some(built) = &result.database_built {
            say("database", &format!("{}, {}", moment(built), age(built, now)));
        }
        say("found", &self.sentence());
        if result.partial {
            say("partial", "archives in archives (Java) were left out");
        }
        if let Some(note) = &result.note {
            say("note", note);
        }
        if result.state.has_counts() && result.findings.is_none() {
            let why = result
                .no_findings
                .as_deref()
                .unwrap_or("The registry gives no list.");
            say("no list", why);
        }
        if result.left_out > 0 {
            say(
                "left out",
                &format!("{} findings: the report is too long", result.left_out),
            );
        }
        if let Some(findings) = result.findings.as_deref().filter(|all| !all.is_empty()) {
            printer.product("");
            write_rows(printer, findings);
        }
    }

    /// What was found, or why that is not known.
    fn sentence(&self) -> String {
        let result = &self.result;
        let no_word = |text: &str| result.message.clone().unwrap_or_else(|| text.to_owned());
        match result.state {
            State::Clean => "no known vulnerabilities".to_owned(),
            State::Found => self.counted(),
            State::PackagesOnly if result.database_built.is_some() => {
                "nothing recognised to check: no package was found in the image".to_owned()
            }
            State::PackagesOnly => {
                "packages only: vulnerabilities were not looked for, as the scanner had no database of them"
                    .to_owned()
            }
            State::Pending => no_word("not scanned yet"),
            State::Failed => no_word("the scan failed"),
            State::NotApplicable => no_word("not an image"),
            State::NotScanned => no_word("not scanned"),
            State::PushUnknown => no_word("the hold has not heard of a push of it"),
            State::NoAnswer => no_word("the hold does not answer"),
            State::MembersOnly => no_word("the hold tells its members only"),
            State::Unreadable => no_word("the answer about the scan makes no sense"),
        }
    }

    fn counted(&self) -> String {
        let counts = self.result.counts.unwrap_or_default();
        let parts: Vec<String> = [
            (counts.critical, "critical"),
            (counts.high, "high"),
            (counts.medium, "medium"),
            (counts.low, "low"),
            (counts.other, "of other or unknown severity"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
        let listed = self.result.findings.as_deref().unwrap_or_default();
        let fixable = listed.iter().filter(|found| found.is_fixable()).count();
        let acted = match (fixable, self.only_fixed) {
            (0, false) => String::new(),
            (count, true) => format!("; {count} that an update fixes"),
            (count, false) => format!("; an update fixes {count}, listed first"),
        };
        format!("{}{acted}", parts.join(", "))
    }
}

fn write_rows(printer: &Printer, findings: &[Finding]) {
    let heads = ["SEVERITY", "VULNERABILITY", "PACKAGE", "INSTALLED", "FIXED IN"].map(str::to_owned);
    let rows: Vec<[String; 5]> = findings.iter().map(row).collect();
    let mut widths = heads.clone().map(|head| head.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 5]| {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    printer.product(printer.dim_product(&line(&heads)));
    for (found, row) in findings.iter().zip(&rows) {
        let line = line(row);
        if found.severity >= Severity::High || found.known_exploited {
            printer.product(printer.bold_product(&line));
        } else {
            printer.product(line);
        }
    }
}

fn row(found: &Finding) -> [String; 5] {
    let severity = found.severity.name();
    let fixed = match (found.fixed_in.as_slice(), found.fix_state.as_str()) {
        ([], "not-fixed") => "no fix yet".to_owned(),
        ([], "wont-fix") => "will not be fixed".to_owned(),
        ([], _) => "not known".to_owned(),
        (versions, _) => versions.join(", "),
    };
    [
        if found.known_exploited {
            format!("{severity} (exploited)")
        } else {
            severity.to_owned()
        },
        cut(&found.id),
        cut(&found.package),
        cut(&found.installed),
        cut(&fixed),
    ]
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(WIDEST - 1).collect();
    short.push('…');
    short
}

/// A time for people, as it was given if it is none.
fn moment(at: &str) -> String {
    DateTime::parse_from_rfc3339(at).map_or_else(
        |_| at.to_owned(),
        |at| at.to_utc().format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn age(built: &str, now: DateTime<Utc>) -> String {
    let Ok(built) = DateTime::parse_from_rfc3339(built) else {
        return "of unknown age".to_owned();
    };
    match (now - built.to_utc()).num_days() {
        ..1 => "less than a day old".to_owned(),
        1 => "1 day old".to_owned(),
        days => format!("{days} days old"),
    }
}
