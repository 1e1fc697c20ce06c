//! Many rows as the parameters of one statement: an array for each column, which `unnest` makes rows again. A statement for each row would
//! cost a round trip each.

use atcr_index::IndexError;
use atcr_index::row::{Answer, Field, Row};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Column as _, FromRow, PgConnection, Postgres, Row as _, TypeInfo as _};

use crate::codec;

/// A row that a statement answered with.
pub(crate) struct Read(pub(crate) Answer);

impl<'r> FromRow<'r, PgRow> for Read {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let fields = row.columns().iter().map(|column| {
            let place = column.ordinal();
            let field = match column.type_info().name() {
                "INT8" => row.try_get::<Option<i64>, _>(place)?.map(Field::Integer),
                "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(place)?.map(Field::Bytes),
                "BOOL" => row.try_get::<Option<bool>, _>(place)?.map(Field::Flag),
                _ => row.try_get::<Option<String>, _>(place)?.map(Field::Text),
            };
            Ok(field.unwrap_or(Field::MaybeText(None)))
        });
        Ok(Self(Answer::of(fields.collect::<Result<Row, sqlx::Error>>()?)))
    }
}

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
            Field::Text(text) => Self::Texts(column(codec::text(&text), rows)),
            Field::MaybeText(text) => Self::MaybeTexts(column(text.as_deref().map(codec::text), rows)),
            Field::Bytes(bytes) => Self::Bytes(column(bytes, rows)),
            Field::Flag(flag) => Self::Flags(column(flag, rows)),
        }
    }

    /// Adds a value of the column's own type. The rows of a statement are made in one place each, so there is no other.
    fn push(&mut self, field: Field) {
        match (self, field) {
            (Self::Integers(column), Field::Integer(number)) => column.push(number),
            (Self::Texts(column), Field::Text(text)) => column.push(codec::text(&text)),
            (Self::MaybeTexts(column), Field::MaybeText(text)) => {
                column.push(text.as_deref().map(codec::text));
            }
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

/// The rows that a statement answers with whose parameters are the columns of `rows`: none for no rows.
pub(crate) async fn answers(
    connection: &mut PgConnection,
    statement: &str,
    rows: Vec<Row>,
) -> Result<Vec<Answer>, sqlx::Error> {
    let read: Vec<Read> = found(connection, statement, rows).await?;
    Ok(read.into_iter().map(|row| row.0).collect())
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

/// A row that cannot be read, in the words of the database's errors.
pub(crate) fn decoded(error: IndexError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
