//! Pages by key, for any query.

use atcr_index::IndexError;
use atcr_index::page::{PageRequest, Position, Start};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection};

use crate::codec;
use crate::failed;

/// A parameter of a query.
pub(super) enum Parameter {
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// What a list is ordered by: columns, all in one direction, and their values at a position.
pub(super) struct Order {
    pub(super) columns: &'static [&'static str],
    pub(super) descending: bool,
    pub(super) values: fn(&Position) -> Vec<Parameter>,
}

impl Order {
    /// Greatest first: by an instant or a count, then by a row's number.
    pub(super) const fn newest(columns: &'static [&'static str; 2]) -> Self {
        Self {
            columns,
            descending: true,
            values: |position| {
                vec![
                    Parameter::Integer(position.rank),
                    Parameter::Integer(position.id()),
                ]
            },
        }
    }
}

/// The rows of a page and one more, away from the position that it begins at. `select` ends with a condition; its parameters are
/// numbered from $1.
pub(super) async fn fetch<R>(
    connection: &mut PgConnection,
    select: &str,
    order: &Order,
    page: &PageRequest,
    mut parameters: Vec<Parameter>,
) -> Result<Vec<R>, IndexError>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let (position, is_forward) = match &page.start {
        Start::Top => (None, true),
        Start::After(position) => (Some(position), true),
        Start::Before(position) => (Some(position), false),
    };
    let is_falling = order.descending == is_forward;
    let (direction, sign) = if is_falling { ("DESC", "<") } else { ("ASC", ">") };
    let mut behind = String::new();
    if let Some(position) = position {
        let values = (order.values)(position);
        let first = parameters.len() + 1;
        let numbers: Vec<String> = (first..first + values.len())
            .map(|number| format!("${number}"))
            .collect();
        behind = format!(
            " AND ({}) {sign} ({})",
            order.columns.join(", "),
            numbers.join(", ")
        );
        parameters.extend(values);
    }
    let columns: Vec<String> = order
        .columns
        .iter()
        .map(|column| format!("{column} {direction}"))
        .collect();
    parameters.push(Parameter::Integer(i64::from(page.rows()) + 1));
    let statement = format!(
        "{select}{behind} ORDER BY {} LIMIT ${}",
        columns.join(", "),
        parameters.len()
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(statement));
    for parameter in parameters {
        query = match parameter {
            Parameter::Integer(number) => query.bind(number),
            Parameter::Text(text) => query.bind(codec::text(&text)),
            Parameter::Blob(bytes) => query.bind(bytes),
        };
    }
    query.fetch_all(connection).await.map_err(failed)
}
