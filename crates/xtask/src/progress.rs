//! One line for each step, live on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A step that is under way.
pub(crate) struct Step {
    bar: ProgressBar,
    text: String,
    started: Instant,
}

impl Step {
    /// Shows that `text` has begun.
    pub(crate) fn begin(text: impl Into<String>) -> Self {
        let text = text.into();
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(text.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            bar,
            text,
            started: Instant::now(),
        }
    }

    /// Leaves a line that the step is done.
    pub(crate) fn done(self) {
        self.done_with("");
    }

    /// Leaves a line that the step is done, and what came of it.
    pub(crate) fn done_with(self, note: &str) {
        self.bar.finish_and_clear();
        let note = if note.is_empty() {
            String::new()
        } else {
            format!(": {note}")
        };
        println!(
            "✓ {}{note} ({:.1} s)",
            self.text,
            self.started.elapsed().as_secs_f64()
        );
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Prints what is being installed.
pub(crate) fn say(line: &str) {
    println!("• {line}");
}
