//! The one error of decoding.

/// A message that is not valid. The text names the part, and repeats nothing of the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not valid: {what}")]
pub struct InvalidMessage {
    what: String,
}

impl InvalidMessage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// Checks that the text is a JSON object: a struct is read out of a list as well.
pub(crate) fn require_object(what: &str, text: &str) -> Result<(), InvalidMessage> {
    if text.trim_start().starts_with('{') {
        return Ok(());
    }
    Err(InvalidMessage::new(format!("{what} is no object")))
}

/// The text of a parser may repeat its input: only the place is kept.
impl From<serde_json::Error> for InvalidMessage {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => Self::new(format!(
                "a field has another type, at line {line} column {column}"
            )),
            _ => Self::new(format!("not JSON, at line {line} column {column}")),
        }
    }
}
