//! Questions. Asked on standard error, and only where [`Printer::is_interactive`].

use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use dialoguer::{Confirm, Input, Select};

use crate::error::HelperError;
use crate::printer::Printer;

fn theme(printer: &Printer) -> Box<dyn Theme> {
    if printer.has_colors() {
        Box::new(ColorfulTheme::default())
    } else {
        Box::new(SimpleTheme)
    }
}

/// The user went away or the terminal did.
fn failed(dialoguer::Error::IO(error): dialoguer::Error) -> HelperError {
    match error.kind() {
        std::io::ErrorKind::Interrupted => HelperError::Declined,
        _ => HelperError::Prompt(error),
    }
}

/// Yes or no.
pub(crate) fn confirm(printer: &Printer, question: &str, default: bool) -> Result<bool, HelperError> {
    let answer = Confirm::with_theme(theme(printer).as_ref())
        .with_prompt(question)
        .default(default)
        .interact_opt()
        .map_err(failed)?;
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
        .map_err(failed)?
        .ok_or(HelperError::Declined)
}

/// A line of text.
pub(crate) fn input(printer: &Printer, question: &str, default: &str) -> Result<String, HelperError> {
    Input::with_theme(theme(printer).as_ref())
        .with_prompt(question)
        .default(default.to_owned())
        .interact_text()
        .map_err(failed)
}
