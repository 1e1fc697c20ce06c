//! One line for each step, live on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const FRAMES: [&str; 8] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"];
const FRAME_TIME: Duration = Duration::from_millis(120);

/// Clears the line that is being drawn, with the `^C` that a terminal may have put there.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// A step that is under way.
pub(crate) struct Step {
    text: String,
    started: Instant,
    line: Option<LiveLine>,
}

impl Step {
    /// Shows that `text` has begun.
    pub(crate) fn begin(text: impl Into<String>) -> Self {
        let text = text.into();
        let started = Instant::now();
        let line = std::io::stderr()
            .is_terminal()
            .then(|| LiveLine::draw(text.clone(), started));
        Self { text, started, line }
    }

    /// Leaves a line that the step is done.
    pub(crate) fn done(mut self) {
        self.line = None;
        println!("✓ {} ({:.1} s)", self.text, self.started.elapsed().as_secs_f64());
    }
}

/// The line of a step under way, drawn by a thread of its own; dropping it clears the line.
struct LiveLine {
    end: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

impl LiveLine {
    fn draw(text: String, started: Instant) -> Self {
        let (end, ended) = mpsc::channel();
        let drawing = std::thread::spawn(move || {
            for frame in FRAMES.iter().cycle() {
                let seconds = started.elapsed().as_secs();
                show(&format!("{CLEAR_LINE}{frame} {text} ({seconds} s)"));
                if ended.recv_timeout(FRAME_TIME) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            show(CLEAR_LINE);
        });
        Self {
            end: Some(end),
            drawing: Some(drawing),
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.end = None;
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

/// Writes to the terminal; one that is gone shows nothing, and that is no reason to stop.
fn show(text: &str) {
    let mut terminal = std::io::stderr().lock();
    let _ = terminal
        .write_all(text.as_bytes())
        .and_then(|()| terminal.flush());
}

/// Prints what is being installed.
pub(crate) fn say(line: &str) {
    println!("• {line}");
}
