//! Names that were typed with slips.

use atcr_index::search::{Query, trigrams};
use sqlx::SqliteConnection;

use super::REPOSITORY;

/// Candidates by likeness.
const BY_LIKENESS: i64 = 500;

/// Groups of three characters that a likeness is looked for by.
const TRIGRAMS: usize = 8;

/// Names that share groups of three characters with the longest word.
pub(super) async fn by_likeness(
    connection: &mut SqliteConnection,
    query: &Query,
) -> Result<Vec<i64>, sqlx::Error> {
    let longest = query.words().iter().max_by_key(|word| word.chars().count());
    let groups = longest.map(|word| trigrams(word)).unwrap_or_default();
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let groups: Vec<String> = groups
        .into_iter()
        .take(TRIGRAMS)
        .map(|group| format!("\"{group}\""))
        .collect();
    let statement =
        format!("SELECT {REPOSITORY} FROM search_like WHERE search_like MATCH ? ORDER BY rowid LIMIT ?");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(groups.join(" OR "))
        .bind(BY_LIKENESS)
        .fetch_all(connection)
        .await
}
