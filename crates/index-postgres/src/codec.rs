//! Values as PostgreSQL takes them.

/// A text as PostgreSQL takes it: none has a NUL there, so a record's is shown as a character that cannot be.
pub(crate) fn text(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}
