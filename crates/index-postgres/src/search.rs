//! Candidates of a search: a bounded number from each index, the popular ones first.

use std::collections::HashMap;

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::ports::SearchIndex;
use atcr_index::row;
use atcr_index::search::{Candidate, Query, trigrams};
use sqlx::{AssertSqlSafe, PgConnection};
use unicode_normalization::UnicodeNormalization as _;

use crate::codec;
use crate::read::{CARD, CardRow};
use crate::rows::found;
use crate::{PostgresIndex, failed};

/// Candidates by words.
const BY_WORDS: usize = 500;

/// Candidates by name.
const BY_NAME: i64 = 200;

/// Candidates by likeness.
const BY_LIKENESS: usize = 500;

/// Hits by words that are so many that slips are not looked for.
const ENOUGH: usize = 10;

/// Groups of three characters that a likeness is looked for by.
const TRIGRAMS: usize = 8;

/// Characters of a word that are kept.
const WORD_CHARS: usize = 100;

/// The tiers of popularity, the top one first.
const TIERS: [u8; 4] = [3, 2, 1, 0];

/// How long one search may take.
const TIME: &str = "SET LOCAL statement_timeout = '2s'";

/// A word in lower case as it is compared: without accents, and cut.
pub(crate) fn folded(word: &str) -> String {
    word.nfd()
        .filter(|character| !matches!(character, '\u{300}'..='\u{36f}'))
        .take(WORD_CHARS)
        .collect()
}

#[async_trait]
impl SearchIndex for PostgresIndex {
    async fn candidates(&self, query: &Query) -> Result<Vec<Candidate>, IndexError> {
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let _permit = self.searches.try_acquire().map_err(|_| IndexError::Busy)?;
        let mut snapshot = self.snapshot().await?;
        let rows = search(&mut snapshot, query).await.map_err(|error| {
            // What takes so long is one of too many.
            let code = error.as_database_error().and_then(|error| error.code());
            if code.as_deref() == Some("57014") {
                IndexError::Busy
            } else {
                failed(error)
            }
        })?;
        rows.into_iter()
            .map(|(row, has_words)| {
                Ok(Candidate {
                    card: row.view()?,
                    has_words,
                })
            })
            .collect()
    }
}

/// The cards that are found, and whether by words.
async fn search(connection: &mut PgConnection, query: &Query) -> Result<Vec<(CardRow, bool)>, sqlx::Error> {
    sqlx::raw_sql(TIME).execute(&mut *connection).await?;
    let mut hits: HashMap<i64, bool> = HashMap::new();
    for id in by_words(connection, query).await? {
        hits.insert(id, true);
    }
    for id in by_name(connection, query).await? {
        hits.insert(id, true);
    }
    if hits.len() < ENOUGH {
        for id in by_likeness(connection, query).await? {
            hits.entry(id).or_insert(false);
        }
    }
    let ids = hits.keys().map(|id| row![*id]).collect();
    let statement = format!(
        "SELECT {CARD} FROM unnest($1::bigint[]) AS j(id) JOIN repository r ON r.id = j.id JOIN account a ON a.id = r.account \
         WHERE r.listed"
    );
    let cards: Vec<CardRow> = found(connection, &statement, ids).await?;
    Ok(cards
        .into_iter()
        .map(|card| {
            let has_words = hits.get(&card.id).copied().unwrap_or_default();
            (card, has_words)
        })
        .collect())
}

/// Every word is somewhere in the text, the last one perhaps not typed to its end.
async fn by_words(connection: &mut PgConnection, query: &Query) -> Result<Vec<i64>, sqlx::Error> {
    // Words are letters and digits, so a quote cannot end early.
    let words: Vec<String> = query
        .words()
        .iter()
        .map(|word| folded(word))
        .filter(|word| !word.is_empty())
        .map(|word| format!("'{word}'"))
        .collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let words = words.join(" & ") + ":*";
    let mut hits = Vec::new();
    for tier in TIERS {
        let statement =
            format!("SELECT repository FROM search WHERE tier = {tier} AND words @@ $1::tsquery LIMIT $2");
        let of_tier: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(&words)
            .bind(left(BY_WORDS, hits.len()))
            .fetch_all(&mut *connection)
            .await?;
        hits.extend(of_tier);
        if hits.len() >= BY_WORDS {
            break;
        }
    }
    Ok(hits)
}

fn left(wanted: usize, have: usize) -> i64 {
    i64::try_from(wanted.saturating_sub(have)).unwrap_or(i64::MAX)
}

/// What was typed is a name, or how one begins.
async fn by_name(connection: &mut PgConnection, query: &Query) -> Result<Vec<i64>, sqlx::Error> {
    let typed = query.text();
    let name = typed
        .split_once('/')
        .filter(|(owner, _)| owner.contains(['.', ':']));
    let name = codec::text(name.map_or(typed, |(_, name)| name));
    let end = format!("{name}\u{10ffff}");
    sqlx::query_scalar(
        "SELECT id FROM repository WHERE name >= $1 AND name < $2 AND listed ORDER BY name LIMIT $3",
    )
    .bind(name)
    .bind(end)
    .bind(BY_NAME)
    .fetch_all(connection)
    .await
}

/// Names that share groups of three characters with the longest word.
async fn by_likeness(connection: &mut PgConnection, query: &Query) -> Result<Vec<i64>, sqlx::Error> {
    let longest = query.words().iter().max_by_key(|word| word.chars().count());
    let groups: Vec<String> = longest
        .map(|word| trigrams(word))
        .unwrap_or_default()
        .into_iter()
        .take(TRIGRAMS)
        // Letters and digits: nothing that a pattern means something by.
        .map(|group| format!("%{group}%"))
        .collect();
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let alternatives: Vec<String> = (0..groups.len())
        .map(|place| format!("names LIKE ${}", place + 2))
        .collect();
    let alternatives = alternatives.join(" OR ");
    let mut hits = Vec::new();
    for tier in TIERS {
        let statement =
            format!("SELECT repository FROM search WHERE tier = {tier} AND ({alternatives}) LIMIT $1");
        let mut statement = sqlx::query_scalar(AssertSqlSafe(statement)).bind(left(BY_LIKENESS, hits.len()));
        for group in &groups {
            statement = statement.bind(group);
        }
        let of_tier: Vec<i64> = statement.fetch_all(&mut *connection).await?;
        hits.extend(of_tier);
        if hits.len() >= BY_LIKENESS {
            break;
        }
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn accents_do_not_count_and_words_have_an_end() {
        assert_eq!(folded("überraschungen"), "uberraschungen");
        assert_eq!(folded("コンテナ").chars().count(), 4);
        assert_eq!(folded(&"a".repeat(5_000)).len(), 100);
    }
}
