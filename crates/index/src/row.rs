//! Rows on their way to a database and from it: plain values, in the order of a statement's columns.

use crate::IndexError;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
    /// A text that may be missing. What a statement answers with NULL is a missing text, whatever the column's type.
    MaybeText(Option<String>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A yes or no.
    Flag(bool),
}

impl From<i64> for Field {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Field {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Field {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Option<String>> for Field {
    fn from(text: &Option<String>) -> Self {
        Self::MaybeText(text.clone())
    }
}

impl From<Vec<u8>> for Field {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&Vec<u8>> for Field {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::Bytes(bytes.clone())
    }
}

impl From<bool> for Field {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// A row: its values, in the order of the statement's columns or parameters.
pub type Row = Vec<Field>;

/// A row of the values.
#[macro_export]
macro_rules! row {
    [$($value:expr),* $(,)?] => { vec![$($crate::row::Field::from($value)),*] };
}

/// A row that a statement answered with, taken value by value from the first column on.
#[derive(Clone, Debug)]
pub struct Answer(std::vec::IntoIter<Field>);

/// What a column does not have that was asked of it.
const OTHER: IndexError = IndexError::Corrupt("a column of another type");

impl Answer {
    /// The answer with the values of `row`.
    pub fn of(row: Row) -> Self {
        Self(row.into_iter())
    }

    /// A number.
    pub fn integer(&mut self) -> Result<i64, IndexError> {
        self.maybe_integer()?.ok_or(OTHER)
    }

    /// A number; `None` for NULL.
    pub fn maybe_integer(&mut self) -> Result<Option<i64>, IndexError> {
        match self.0.next() {
            Some(Field::Integer(number)) => Ok(Some(number)),
            Some(Field::MaybeText(None)) => Ok(None),
            _ => Err(OTHER),
        }
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, IndexError> {
        self.maybe_text()?.ok_or(OTHER)
    }

    /// A text; `None` for NULL.
    pub fn maybe_text(&mut self) -> Result<Option<String>, IndexError> {
        match self.0.next() {
            Some(Field::Text(text)) => Ok(Some(text)),
            Some(Field::MaybeText(text)) => Ok(text),
            _ => Err(OTHER),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Result<Vec<u8>, IndexError> {
        self.maybe_bytes()?.ok_or(OTHER)
    }

    /// Bytes; `None` for NULL.
    pub fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, IndexError> {
        match self.0.next() {
            Some(Field::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Field::MaybeText(None)) => Ok(None),
            _ => Err(OTHER),
        }
    }

    /// A yes or no, which is a number where a database has no other.
    pub fn flag(&mut self) -> Result<bool, IndexError> {
        match self.0.next() {
            Some(Field::Flag(flag)) => Ok(flag),
            Some(Field::Integer(number)) => Ok(number != 0),
            _ => Err(OTHER),
        }
    }
}
