//! Many rows as the one parameter of a statement: a JSON list, which `json_each` makes rows again.

use atcr_index::IndexError;
use atcr_index::row::{Answer, Field, Row};
use atcr_index::stored::hex;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, FromRow, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};

/// A row that a statement answered with.
pub(crate) struct Read(pub(crate) Answer);

impl<'r> FromRow<'r, SqliteRow> for Read {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let fields = row.columns().iter().map(|column| {
            let place = column.ordinal();
            let value = row.try_get_raw(place)?;
            if value.is_null() {
                return Ok(Field::MaybeText(None));
            }
            Ok(match value.type_info().name() {
                "TEXT" => Field::Text(row.try_get(place)?),
                "BLOB" => Field::Bytes(row.try_get(place)?),
                _ => Field::Integer(row.try_get(place)?),
            })
        });
        Ok(Self(Answer::of(fields.collect::<Result<Row, sqlx::Error>>()?)))
    }
}

/// Rows as a parameter: each is a list, or the value itself where it is the only one. Bytes are in hexadecimal, for `unhex`.
pub(crate) fn rows(rows: Vec<Row>) -> String {
    fn value(field: Field) -> Value {
        match field {
            Field::Integer(number) => Value::from(number),
            Field::Text(text) => Value::from(text),
            Field::MaybeText(text) => Value::from(text),
            Field::Bytes(bytes) => Value::from(hex(&bytes)),
            Field::Flag(flag) => Value::from(i64::from(flag)),
        }
    }
    let rows = rows.into_iter().map(|row| {
        let mut values: Vec<Value> = row.into_iter().map(value).collect();
        if values.len() == 1 {
            values.remove(0)
        } else {
            Value::from(values)
        }
    });
    rows.collect::<Value>().to_string()
}

/// Runs a statement whose one parameter is `rows`, unless there are none.
pub(crate) async fn set(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<Row>,
) -> Result<(), sqlx::Error> {
    if !rows.is_empty() {
        let query = sqlx::query(statement).bind(self::rows(rows));
        query.execute(connection).await?;
    }
    Ok(())
}

/// What a statement finds whose one parameter is `rows`: nothing for no rows.
pub(crate) async fn found<R>(
    connection: &mut SqliteConnection,
    statement: &str,
    rows: Vec<Row>,
) -> Result<Vec<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(AssertSqlSafe(statement.to_owned()))
        .bind(self::rows(rows))
        .fetch_all(connection)
        .await
}

/// The rows that a statement answers with whose one parameter is `rows`: none for no rows.
pub(crate) async fn answers(
    connection: &mut SqliteConnection,
    statement: &str,
    rows: Vec<Row>,
) -> Result<Vec<Answer>, sqlx::Error> {
    let read: Vec<Read> = found(connection, statement, rows).await?;
    Ok(read.into_iter().map(|row| row.0).collect())
}

/// A row that cannot be read, in the words of the database's errors.
pub(crate) fn decoded(error: IndexError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
