//! What a test logged: each test runs on a thread of its own, and so does its runtime.
//!
//! The subscriber is the process's. One per thread would miss lines: what `tracing` remembers of a line's place in the code is shared
//! by all threads, and a test without a subscriber may have been there first.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use tracing_subscriber::fmt::MakeWriter;

static SUBSCRIBER: Once = Once::new();

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log of the current thread.
pub(crate) struct CapturedLog;

impl CapturedLog {
    pub(crate) fn start() -> Self {
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_ansi(false)
                .with_writer(ThreadLines)
                .init();
        });
        LINES.with_borrow_mut(Vec::clear);
        Self
    }

    #[expect(clippy::unused_self, reason = "there is a log only once it was started")]
    pub(crate) fn text(&self) -> String {
        LINES.with_borrow(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The lines that have `part` in them.
    pub(crate) fn lines_with(&self, part: &str) -> Vec<String> {
        self.text()
            .lines()
            .filter(|line| line.contains(part))
            .map(str::to_owned)
            .collect()
    }
}

struct ThreadLines;

impl Write for ThreadLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for ThreadLines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
