//! What the commands print: a line for each step, live on a terminal and from time to time in a log.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const FRAMES: [&str; 8] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"];
const FRAME_TIME: Duration = Duration::from_millis(120);

/// How often a log gets a line about a step under way, unless `$ATCR_PROGRESS_SECONDS` says otherwise.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// Clears the line that is being drawn, with the `^C` that a terminal may have put there.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// The width of a terminal that does not tell.
const DEFAULT_WIDTH: usize = 80;

/// The steps under way, the oldest first.
static ACTIVE: Mutex<Vec<Arc<State>>> = Mutex::new(Vec::new());

fn active() -> MutexGuard<'static, Vec<Arc<State>>> {
    ACTIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a step does, and how far it is.
struct State {
    text: String,
    started: Instant,
    note: Mutex<String>,
}

impl State {
    /// `text: note (12 s)`
    fn describe(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        if note.is_empty() {
            format!("{} ({seconds} s)", self.text)
        } else {
            format!("{}: {note} ({seconds} s)", self.text)
        }
    }
}

/// A step that is under way.
pub(crate) struct Step {
    state: Arc<State>,
    telling: Telling,
}

impl Step {
    /// Shows that `text` has begun.
    pub(crate) fn begin(text: impl Into<String>) -> Self {
        let state = Arc::new(State {
            text: text.into(),
            started: Instant::now(),
            note: Mutex::default(),
        });
        active().push(Arc::clone(&state));
        let telling = Telling::start(Arc::clone(&state));
        Self { state, telling }
    }

    /// Takes down how far the step is.
    pub(crate) fn noter(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |note: &str| {
            note.clone_into(&mut state.note.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Leaves a line that the step is done.
    pub(crate) fn done(self) {
        let Self { state, telling } = self;
        drop(telling);
        let seconds = state.started.elapsed().as_secs_f64();
        print(format_args!("✓ {} ({seconds:.1} s)", state.text));
    }
}

/// A thread that tells of a step; dropping it ends that.
struct Telling {
    state: Arc<State>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Telling {
    fn start(state: Arc<State>) -> Self {
        let (end, ended) = mpsc::channel();
        let is_live = std::io::stderr().is_terminal();
        let told = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let interval = if is_live { FRAME_TIME } else { log_interval() };
            let mut frames = FRAMES.iter().cycle();
            loop {
                if is_live {
                    draw(frames.next().unwrap_or(&FRAMES[0]));
                }
                if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if !is_live {
                    print(format_args!("• {}", told.describe()));
                }
            }
        });
        Self {
            state,
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut steps = active();
        steps.retain(|step| !Arc::ptr_eq(step, &self.state));
        if std::io::stderr().is_terminal() {
            show(CLEAR_LINE);
        }
    }
}

fn log_interval() -> Duration {
    std::env::var("ATCR_PROGRESS_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(LOG_INTERVAL)
}

/// Draws all steps under way on the terminal's last line, cut to its width.
fn draw(frame: &str) {
    let steps = active();
    let line: Vec<String> = steps.iter().map(|step| step.describe()).collect();
    let text = format!("{frame} {}", line.join(" · "));
    let cut: String = text.chars().take(width().saturating_sub(1)).collect();
    show(&format!("{CLEAR_LINE}{cut}"));
}

/// The number of columns of the terminal.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(DEFAULT_WIDTH)
}

/// Writes to the terminal; one that is gone shows nothing, and that is no reason to stop.
fn show(text: &str) {
    let mut terminal = std::io::stderr().lock();
    let _ = terminal
        .write_all(text.as_bytes())
        .and_then(|()| terminal.flush());
}

/// Prints a line. If the reader is gone, as in `cargo xtask up | head`, the line is lost and the work goes on.
pub(crate) fn print(line: impl Display) {
    let steps = active();
    if !steps.is_empty() && std::io::stderr().is_terminal() {
        show(CLEAR_LINE);
    }
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Prints an error; where no one reads it, it is lost.
pub(crate) fn print_error(line: impl Display) {
    let _steps = active();
    show(&format!("error: {line}\n"));
}

/// Prints what is being done.
pub(crate) fn say(line: &str) {
    print(format_args!("• {line}"));
}
