//! Questions. Asked on standard error, and only where [`Printer::is_interactive`].

use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use dialoguer::{Confirm, Input, Select};

use crate::error::HelperError;
use crate::printer::Printer;

/// Exit code of a program that Ctrl-C ended, as shells count it.
const INTERRUPTED: i32 = 130;

/// Ends the program as Ctrl-C does. A key press comes as a signal and as an error of the menu, in either order.
fn end_by_interrupt(printer: &Printer) -> ! {
    printer.show_cursor();
    printer.say("");
    std::process::exit(INTERRUPTED);
}

/// A menu hides the cursor; Ctrl-C must not leave it so.
#[cfg(unix)]
fn show_cursor_on_interrupt(printer: &Printer) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT]) else {
            return;
        };
        let printer = printer.clone();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                end_by_interrupt(&printer);
            }
        });
    });
}

#[cfg(not(unix))]
fn show_cursor_on_interrupt(_printer: &Printer) {}

fn theme(printer: &Printer) -> Box<dyn Theme> {
    show_cursor_on_interrupt(printer);
    if printer.has_colors() {
        Box::new(ColorfulTheme::default())
    } else {
        Box::new(SimpleTheme)
    }
}

/// The user went away or the terminal did.
fn failed(printer: &Printer, dialoguer::Error::IO(error): dialoguer::Error) -> HelperError {
    if error.kind() == std::io::ErrorKind::Interrupted {
        end_by_interrupt(printer);
    }
    printer.show_cursor();
    HelperError::Prompt(error)
}

/// Yes or no.
pub(crate) fn confirm(printer: &Printer, question: &str, default: bool) -> Result<bool, HelperError> {
    let answer = Confirm::with_theme(theme(printer).as_ref())
        .with_prompt(question)
        .default(default)
        .interact_opt()
        .map_err(|error| failed(printer, error))?;
    Ok(answer.unwrap_or(false))
}

/// One of several, by its position.
pub(crate) fn select(
    printer: &Printer,
    question: &str,
    items: &[String],
    default: usize,
) -> Result<usize, HelperError> {
    Select::with_theme(theme(printer).as_ref())
        .with_prompt(question)
        .items(items)
        .default(default)
        .interact_opt()
        .map_err(|error| failed(printer, error))?
        .ok_or(HelperError::Declined)
}

/// A line of text.
pub(crate) fn input(printer: &Printer, question: &str, default: &str) -> Result<String, HelperError> {
    Input::with_theme(theme(printer).as_ref())
        .with_prompt(question)
        .default(default.to_owned())
        .interact_text()
        .map_err(|error| failed(printer, error))
}
