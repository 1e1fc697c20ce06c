//! Candidates of a search: a bounded number from each index, the popular ones first.

mod typos;

use std::collections::HashMap;

use async_trait::async_trait;
use atcr_index::ports::SearchIndex;
use atcr_index::search::{Candidate, Query};
use atcr_index::{IndexError, row};
use sqlx::SqliteConnection;

use crate::read::{CARD, CardRow};
use crate::rows::rows;
use crate::{SqliteIndex, failed};

/// Candidates by words.
const BY_WORDS: i64 = 500;

/// Candidates by name.
const BY_NAME: i64 = 200;

/// Hits by words that are so many that slips are not looked for.
const ENOUGH: usize = 10;

/// The repository's part of a search row's number.
const REPOSITORY: &str = "(rowid & 1099511627775)";

#[async_trait]
impl SearchIndex for SqliteIndex {
    async fn candidates(&self, query: &Query) -> Result<Vec<Candidate>, IndexError> {
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let _permit = self.searches.try_acquire().map_err(|_| IndexError::Busy)?;
        let mut transaction = self.database.readers().begin().await.map_err(failed)?;
        let mut found: HashMap<i64, bool> = HashMap::new();
        for id in by_words(&mut transaction, query).await.map_err(failed)? {
            found.insert(id, true);
        }
        for id in by_name(&mut transaction, query).await.map_err(failed)? {
            found.insert(id, true);
        }
        if found.len() < ENOUGH {
            for id in typos::by_likeness(&mut transaction, query)
                .await
                .map_err(failed)?
            {
                found.entry(id).or_insert(false);
            }
        }
        let ids = found.keys().map(|id| row![*id]).collect();
        let statement = format!(
            "SELECT {CARD} FROM json_each(?) j CROSS JOIN repository r ON r.id = j.value CROSS JOIN account a ON a.id = r.account \
             WHERE r.listed = 1"
        );
        let cards: Vec<CardRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(rows(ids))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        cards
            .into_iter()
            .map(|row| {
                let has_words = found.get(&row.id).copied().unwrap_or_default();
                Ok(Candidate {
                    card: row.view()?,
                    has_words,
                })
            })
            .collect()
    }
}

/// Every word is somewhere in the text, the last one perhaps not typed to its end.
async fn by_words(connection: &mut SqliteConnection, query: &Query) -> Result<Vec<i64>, sqlx::Error> {
    let last = query.words().len().saturating_sub(1);
    // Words are letters and digits, so a quote cannot end early.
    let words: Vec<String> = query
        .words()
        .iter()
        .enumerate()
        .map(|(index, word)| {
            let rest = if index == last { "*" } else { "" };
            format!("\"{word}\"{rest}")
        })
        .collect();
    let statement = format!("SELECT {REPOSITORY} FROM search WHERE search MATCH ? ORDER BY rowid LIMIT ?");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .bind(words.join(" AND "))
        .bind(BY_WORDS)
        .fetch_all(connection)
        .await
}

/// What was typed is a name, or how one begins.
async fn by_name(connection: &mut SqliteConnection, query: &Query) -> Result<Vec<i64>, sqlx::Error> {
    let typed = query.text();
    let name = typed
        .split_once('/')
        .filter(|(owner, _)| owner.contains(['.', ':']));
    let name = name.map_or(typed, |(_, name)| name);
    let end = format!("{name}\u{10ffff}");
    sqlx::query_scalar(
        "SELECT id FROM repository INDEXED BY repository_by_name WHERE name >= ? AND name < ? AND listed = 1 ORDER BY name LIMIT ?",
    )
    .bind(name)
    .bind(end)
    .bind(BY_NAME)
    .fetch_all(connection)
    .await
}
