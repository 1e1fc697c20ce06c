//! What was found, and what to do about it.

use std::fmt::Write as _;

use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Ok,
    /// It works, and something may be missed or come later.
    Warning,
    /// Something does not work, or will be lost.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What was looked at, in one word or two.
    pub(super) check: &'static str,
    pub(super) grade: Grade,
    /// What was seen, in one line.
    pub(super) text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(check, Grade::Ok, text.into(), None);
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Grade::Warning, text.into(), Some(remedy.into()));
    }

    pub(super) fn problem(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Grade::Problem, text.into(), Some(remedy.into()));
    }

    fn add(&mut self, check: &'static str, grade: Grade, text: String, remedy: Option<String>) {
        // What a peer says may have lines.
        let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding {
            check,
            grade,
            text: one_line(text),
            remedy: remedy.map(one_line),
        });
    }

    pub(super) fn all(&self) -> &[Finding] {
        &self.0
    }

    /// The worst of it.
    pub(super) fn worst(&self) -> Grade {
        self.0
            .iter()
            .map(|finding| finding.grade)
            .max()
            .unwrap_or(Grade::Ok)
    }

    /// For people: one line each, and an indented remedy.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            let grade = match finding.grade {
                Grade::Ok => "ok",
                Grade::Warning => "warning",
                Grade::Problem => "PROBLEM",
            };
            let _ = writeln!(text, "{grade:<8} {:<14} {}", finding.check, finding.text);
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "         → {remedy}");
            }
        }
        let count = |grade| self.0.iter().filter(|finding| finding.grade == grade).count();
        let _ = writeln!(
            text,
            "looked at: {}, problems: {}, warnings: {}",
            self.0.len(),
            count(Grade::Problem),
            count(Grade::Warning)
        );
        text
    }
}
