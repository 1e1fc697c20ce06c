//! Many rows as the parameters of one statement: an array for each column, which `unnest` makes rows again. A statement for each row would
//! cost a round trip each.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres};

use crate::codec;

/// A value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    Integer(i64),
    Text(String),
    MaybeText(Option<String>),
    Bytes(Vec<u8>),
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
        Self::Text(codec::text(text))
    }
}

impl From<&String> for Field {
    fn from(text: &String) -> Self {
        Self::Text(codec::text(text))
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(codec::text(&text))
    }
}

impl From<&Option<String>> for Field {
    fn from(text: &Option<String>) -> Self {
        Self::MaybeText(text.as_deref().map(codec::text))
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

/// A row: its values, in the order of the statement's parameters.
pub(crate) type Row = Vec<Field>;

/// A row of the values.
macro_rules! row {
    [$($value:expr),* $(,)?] => { vec![$($crate::rows::Field::from($value)),*] };
}
pub(crate) use row;

/// The values of one column.
enum Column {
    Integers(Vec<i64>),
    Texts(Vec<String>),
    MaybeTexts(Vec<Option<String>>),
    Bytes(Vec<Vec<u8>>),
    Flags(Vec<bool>),
}

impl Column {
    fn begun_with(field: Field, rows: usize) -> Self {
        fn column<T>(first: T, rows: usize) -> Vec<T> {
            let mut column = Vec::with_capacity(rows);
            column.push(first);
            column
        }
        match field {
            Field::Integer(number) => Self::Integers(column(number, rows)),
            Field::Text(text) => Self::Texts(column(text, rows)),
            Field::MaybeText(text) => Self::MaybeTexts(column(text, rows)),
            Field::Bytes(bytes) => Self::Bytes(column(bytes, rows)),
            Field::Flag(flag) => Self::Flags(column(flag, rows)),
        }
    }

    /// Adds a value of the column's own type. The rows of a statement are made in one place each, so there is no other.
    fn push(&mut self, field: Field) {
        match (self, field) {
            (Self::Integers(column), Field::Integer(number)) => column.push(number),
            (Self::Texts(column), Field::Text(text)) => column.push(text),
            (Self::MaybeTexts(column), Field::MaybeText(text)) => column.push(text),
            (Self::Bytes(column), Field::Bytes(bytes)) => column.push(bytes),
            (Self::Flags(column), Field::Flag(flag)) => column.push(flag),
            (_, field) => debug_assert!(false, "a column of two types: {field:?}"),
        }
    }
}

/// The columns of `rows`, which has one at least.
fn columns(rows: Vec<Row>) -> Vec<Column> {
    let count = rows.len();
    let mut rows = rows.into_iter();
    let first = rows.next().unwrap_or_default();
    let mut columns: Vec<Column> = first
        .into_iter()
        .map(|field| Column::begun_with(field, count))
        .collect();
    for row in rows {
        for (column, field) in columns.iter_mut().zip(row) {
            column.push(field);
        }
    }
    columns
}

type Statement = Query<'static, Postgres, PgArguments>;

fn bound(statement: &str, rows: Vec<Row>) -> Statement {
    let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    for column in columns(rows) {
        query = match column {
            Column::Integers(column) => query.bind(column),
            Column::Texts(column) => query.bind(column),
            Column::MaybeTexts(column) => query.bind(column),
            Column::Bytes(column) => query.bind(column),
            Column::Flags(column) => query.bind(column),
        };
    }
    query
}

/// Runs a statement whose parameters are the columns of `rows`, unless there are none.
pub(crate) async fn set(
    connection: &mut PgConnection,
    statement: &str,
    rows: Vec<Row>,
) -> Result<(), sqlx::Error> {
    if !rows.is_empty() {
        bound(statement, rows).execute(connection).await?;
    }
    Ok(())
}

/// What a statement finds whose parameters are the columns of `rows`: nothing for no rows.
pub(crate) async fn found<R>(
    connection: &mut PgConnection,
    statement: &str,
    rows: Vec<Row>,
) -> Result<Vec<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, PgRow>,
{
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    bound(statement, rows)
        .fetch_all(connection)
        .await?
        .iter()
        .map(R::from_row)
        .collect()
}
