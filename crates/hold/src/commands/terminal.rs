//! Progress on a terminal, and the result: a sentence, or one line of JSON.

use std::io::Write as _;
use std::time::Duration;

use atcr_hold_pds::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// How often a bar moves while nothing is reported.
const TICK: Duration = Duration::from_millis(200);

/// What a command says.
#[derive(Debug)]
pub(super) struct Terminal {
    bar: ProgressBar,
    json: bool,
    /// Standard output carries data, so that the result goes to standard error.
    is_output_taken: bool,
}

impl Terminal {
    pub(super) fn new(json: bool, is_output_taken: bool) -> Self {
        // Draws on standard error, and only if that is a terminal.
        let bar = if json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self {
            bar,
            json,
            is_output_taken,
        }
    }

    pub(super) fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    pub(super) fn progress(&self) -> Progress {
        let bar = self.bar.clone();
        Progress::new(move |what, count| {
            bar.set_message(if count > 0 {
                format!("{what}: {count}")
            } else {
                what.to_owned()
            });
        })
    }

    /// Says what came of the command.
    pub(super) fn done(&self, sentence: &str, result: &Value) -> std::io::Result<()> {
        self.bar.finish_and_clear();
        let line = if self.json {
            result.to_string()
        } else {
            sentence.to_owned()
        };
        if self.is_output_taken {
            writeln!(std::io::stderr(), "{line}")
        } else {
            writeln!(std::io::stdout(), "{line}")
        }
    }
}
