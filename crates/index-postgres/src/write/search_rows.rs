//! The search rows of repositories.

use std::collections::{BTreeSet, HashMap};

use atcr_index::plan::cards::{FoundBy, Repository};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::search::words;
use sqlx::PgConnection;

use crate::rows::{found, set};
use crate::search::folded;

/// Characters of a page that can be searched.
const SEARCHED_CHARS: i32 = 32 * 1024;

/// The tier of what is in no search table.
pub(super) const NO_TIER: i64 = -1;

/// The tier of a repository's search row: the popular ones are looked through first.
pub(super) fn tier(repository: &Repository) -> i64 {
    match repository.weight().ilog2() {
        0 => 0,
        1..=3 => 1,
        4..=6 => 2,
        _ => 3,
    }
}

/// Takes rows out, and writes others.
pub(super) async fn write_search(
    connection: &mut PgConnection,
    gone: Vec<Row>,
    new: &[FoundBy],
) -> Result<(), sqlx::Error> {
    set(
        connection,
        "DELETE FROM search s USING unnest($1::bigint[]) AS j(repository) WHERE s.repository = j.repository",
        gone,
    )
    .await?;
    let ids = new
        .iter()
        .map(|row| row![row.repository, i64::from(SEARCHED_CHARS)])
        .collect();
    let pages: Vec<(i64, String)> = found(
            connection,
            "SELECT r.id, left(p.description, j.chars::integer) FROM unnest($1::bigint[], $2::bigint[]) AS j(id, chars) \
             JOIN repository r ON r.id = j.id JOIN page p ON p.account = r.account AND p.rkey = replace(r.name, '/', '~')",
            ids,
        )
        .await?;
    let pages: HashMap<i64, String> = pages.into_iter().collect();
    let values = new
        .iter()
        .map(|row| {
            let page = pages.get(&row.repository).map_or("", String::as_str);
            let found_by: BTreeSet<String> = [&*row.name, &row.owner, &row.title, &row.summary, page]
                .into_iter()
                .flat_map(words)
                .map(|word| folded(&word))
                .collect();
            let found_by: Vec<String> = found_by.into_iter().filter(|word| !word.is_empty()).collect();
            row![row.repository, row.place, found_by.join(" "), row.names()]
        })
        .collect();
    set(
            connection,
            "INSERT INTO search (repository, tier, words, names) \
             SELECT j.repository, j.tier, array_to_tsvector(string_to_array(j.words, ' ')), j.names \
             FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) AS j(repository, tier, words, names) \
             ON CONFLICT (repository) DO UPDATE SET tier = excluded.tier, words = excluded.words, names = excluded.names",
            values,
        )
        .await
}
