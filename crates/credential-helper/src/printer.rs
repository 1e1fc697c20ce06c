//! All output. The product of a command goes to standard output, everything said to people to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::environment::Environment;

const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const CYAN: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// Where output goes, and with how much ornament.
///
/// Writing is allowed to fail: a reader that went away is no reason to undo what was done.
#[derive(Clone, Debug)]
pub struct Printer {
    error_colors: bool,
    output_colors: bool,
    interactive: bool,
}

impl Printer {
    /// Colours on terminals unless the environment forbids them; questions only when a person can read and answer them.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        let error_terminal = io::stderr().is_terminal();
        Self {
            error_colors: error_terminal && !environment.no_color,
            output_colors: io::stdout().is_terminal() && !environment.no_color,
            interactive: error_terminal && io::stdin().is_terminal(),
        }
    }

    /// The same for a script: nothing is asked, terminal or not.
    #[must_use]
    pub fn without_questions(self) -> Self {
        Self {
            interactive: false,
            ..self
        }
    }

    /// Whether questions may be asked: standard input and standard error are terminals, and no script reads the answer.
    #[must_use]
    pub const fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Whether standard error has colours.
    #[must_use]
    pub const fn has_colors(&self) -> bool {
        self.error_colors
    }

    /// The product, one line.
    pub fn product(&self, line: impl Display) {
        let _ = writeln!(io::stdout().lock(), "{line}");
    }

    /// The product, exactly these bytes.
    pub fn product_bytes(&self, bytes: &[u8]) {
        let mut output = io::stdout().lock();
        let _ = output.write_all(bytes).and_then(|()| output.flush());
    }

    /// The product as one line of JSON.
    pub fn json(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            self.product(text);
        }
    }

    /// Something said to people.
    pub fn say(&self, line: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Something that worked.
    pub fn done(&self, line: impl Display) {
        self.say(format_args!("{} {line}", self.paint(GREEN, "✓")));
    }

    /// Something to be careful about.
    pub fn warning(&self, line: impl Display) {
        self.say(format_args!("{} {line}", self.paint(YELLOW, "warning:")));
    }

    /// What went wrong.
    pub fn error(&self, line: impl Display) {
        self.say(format_args!("{} {line}", self.paint(RED, "error:")));
    }

    /// What to do about it.
    pub fn hint(&self, line: impl Display) {
        self.say(format_args!("{} {line}", self.paint(CYAN, "hint:")));
    }

    /// Brings the cursor back that a menu hides.
    pub fn show_cursor(&self) {
        if self.interactive {
            let _ = write!(io::stderr().lock(), "\u{1b}[?25h");
        }
    }

    /// `text` in bold, for standard error.
    #[must_use]
    pub fn bold(&self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    /// `text` as an added line of a difference.
    #[must_use]
    pub fn added(&self, text: &str) -> String {
        self.paint(GREEN, text)
    }

    /// `text` as a removed line of a difference.
    #[must_use]
    pub fn removed(&self, text: &str) -> String {
        self.paint(RED, text)
    }

    /// `text` in the background, for standard output.
    #[must_use]
    pub fn dim_product(&self, text: &str) -> String {
        paint(self.output_colors, DIM, text)
    }

    /// `text` in bold, for standard output.
    #[must_use]
    pub fn bold_product(&self, text: &str) -> String {
        paint(self.output_colors, BOLD, text)
    }

    fn paint(&self, color: &str, text: &str) -> String {
        paint(self.error_colors, color, text)
    }
}

fn paint(colors: bool, color: &str, text: &str) -> String {
    if colors {
        format!("{color}{text}{RESET}")
    } else {
        text.to_owned()
    }
}

/// Text from elsewhere, fit for a terminal: control characters are shown as `�`, and it is cut at 300 characters.
///
/// # Security
/// A registry's answer could otherwise move the cursor and rewrite what stands above it.
#[must_use]
pub fn plain(text: &str) -> String {
    // Bidirectional controls make a host name read as another.
    let is_hostile = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .take(300)
        .map(|character| {
            if is_hostile(character) {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}
