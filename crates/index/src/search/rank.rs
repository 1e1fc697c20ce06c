//! The order of what a search found.

use chrono::{DateTime, Utc};

use super::Query;
use crate::view::RepositoryCard;

/// Days after which a push counts half.
const HALF_LIFE_DAYS: f64 = 365.0;

/// A repository that may be meant, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The repository.
    pub card: RepositoryCard,
    /// It was found by words of its text (name, owner, title, description, README); else by likeness of names.
    pub has_words: bool,
}

/// The candidates in order, the best first, without those that are not meant after all.
///
/// A hit's weight is that of its best field, times its popularity, times how recent it is: a popular repository with a word in
/// its title may well come before an unknown one with the word in its name, but an exact name comes first.
#[must_use]
pub fn ranked(query: &Query, candidates: Vec<Candidate>, now: DateTime<Utc>) -> Vec<RepositoryCard> {
    let mut weighed: Vec<(bool, f64, RepositoryCard)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let (is_exact, relevance) = relevance(query, &candidate)?;
            let weight = relevance * popularity(&candidate.card) * recency(&candidate.card, now);
            Some((is_exact, weight, candidate.card))
        })
        .collect();
    weighed.sort_by(|left, right| {
        right
            .0
            .cmp(&left.0)
            .then_with(|| right.1.total_cmp(&left.1))
            .then_with(|| left.2.id.cmp(&right.2.id))
    });
    weighed.into_iter().map(|(_, _, card)| card).collect()
}

fn popularity(card: &RepositoryCard) -> f64 {
    let count = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    1.0 + (1.0 + count(card.stars) + count(card.pulls) / 100.0).log2()
}

fn recency(card: &RepositoryCard, now: DateTime<Utc>) -> f64 {
    let days = i32::try_from((now - card.pushed_at).num_days().max(0)).unwrap_or(i32::MAX);
    // From 1.0 for a push of today down to 0.5 for one long ago.
    0.5 + 0.5 * (-f64::from(days) / HALF_LIFE_DAYS).exp2()
}

/// Whether it is what was typed, and how well it fits; `None` when it does not.
fn relevance(query: &Query, candidate: &Candidate) -> Option<(bool, f64)> {
    let card = &candidate.card;
    let name = card.name.to_lowercase();
    let handle = card
        .owner
        .handle
        .as_ref()
        .map_or("", |handle| handle.as_str())
        .to_lowercase();
    let typed = query.text();
    let last = name.rsplit('/').next().unwrap_or(&name);
    let is_whole = typed == format!("{handle}/{name}") || typed == format!("{}/{name}", card.owner.did);
    if is_whole || typed == name {
        return Some((true, if is_whole { 20.0 } else { 10.0 }));
    }
    if candidate.has_words {
        // Every word has to be somewhere; the weakest place decides least.
        let mut sum = 0.0;
        for word in query.words() {
            sum += if last == word {
                8.0
            } else if last.starts_with(word.as_str()) || name.starts_with(word.as_str()) {
                6.0
            } else if has_word(&name, word) || has_word(&handle, word) {
                5.0
            } else if has_word(&card.title, word) {
                3.0
            } else if has_word(&card.summary, word) {
                2.0
            } else {
                0.5
            };
        }
        let words = f64::from(u32::try_from(query.words().len()).unwrap_or(1).max(1));
        return Some((false, sum / words));
    }
    likeness(query, &[&name, &handle, &card.title.to_lowercase()]).map(|likeness| (false, 4.0 * likeness))
}

/// Whether a word of `text` begins with `word`.
fn has_word(text: &str, word: &str) -> bool {
    text.to_lowercase()
        .split(|character: char| !character.is_alphanumeric())
        .any(|part| part.starts_with(word))
}

/// How alike the words are to words of `texts`, from 0 to 1; `None` when one of them is too different: more than one edit in five
/// characters, or two in eight.
fn likeness(query: &Query, texts: &[&str]) -> Option<f64> {
    let mut sum = 0.0;
    for word in query.words() {
        let length = word.chars().count();
        let allowed = match length {
            0..=3 => 0,
            4..=7 => 1,
            _ => 2,
        };
        let nearest = texts
            .iter()
            .flat_map(|text| text.split(|character: char| !character.is_alphanumeric()))
            .filter(|part| !part.is_empty())
            .map(|part| edits(word, part))
            .min()?;
        if nearest > allowed {
            return None;
        }
        sum += 1.0 - f64::from(nearest) / f64::from(u32::try_from(length).unwrap_or(1).max(1));
    }
    let words = f64::from(u32::try_from(query.words().len()).unwrap_or(1).max(1));
    Some(sum / words)
}

/// Edits between a typed word and a word of a text, two swapped neighbours being one edit. A word that was not typed to its end is
/// compared with the beginning of the text's.
fn edits(typed: &str, part: &str) -> u32 {
    let length = typed.chars().count();
    let beginning: String = part.chars().take(length).collect();
    let distance = strsim::osa_distance(typed, part).min(strsim::osa_distance(typed, &beginning) + 1);
    u32::try_from(distance).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{OwnerView, RepositoryId};

    fn candidate(id: i64, name: &str, stars: u64, has_words: bool) -> Candidate {
        Candidate {
            card: RepositoryCard {
                id: RepositoryId(id),
                owner: OwnerView {
                    did: "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap(),
                    handle: Some("alice.example".parse().unwrap()),
                },
                name: name.to_owned(),
                title: String::new(),
                summary: "a fast proxy".to_owned(),
                licence: String::new(),
                picture: None,
                kind: None,
                newest_tag: None,
                platforms: Vec::new(),
                pushed_at: DateTime::UNIX_EPOCH,
                tags: 1,
                stars,
                pulls: 0,
            },
            has_words,
        }
    }

    fn order(typed: &str, candidates: Vec<Candidate>) -> Vec<i64> {
        ranked(&Query::parse(typed), candidates, DateTime::UNIX_EPOCH)
            .into_iter()
            .map(|card| card.id.0)
            .collect()
    }

    #[test]
    fn an_exact_name_comes_first_however_popular_the_others_are() {
        let all = vec![
            candidate(1, "nginx-proxy", 1_000_000, true),
            candidate(2, "nginx", 0, true),
            candidate(3, "web/nginx", 10, true),
        ];
        assert_eq!(order("nginx", all.clone())[0], 2);
        assert_eq!(order("alice.example/nginx-proxy", all)[0], 1);
    }

    #[test]
    fn popularity_counts_beside_the_field() {
        let all = vec![candidate(1, "proxy-a", 0, true), candidate(2, "b", 100_000, true)];
        assert_eq!(order("proxy", all), [2, 1]);
        let all = vec![candidate(1, "proxy-a", 0, true), candidate(2, "b", 1, true)];
        assert_eq!(order("proxy", all), [1, 2]);
    }

    #[test]
    fn a_slip_is_forgiven_in_names_and_another_word_is_not() {
        for typed in ["ngnix", "nginy", "ngix", "ngiinx"] {
            assert_eq!(
                order(typed, vec![candidate(1, "nginx", 0, false)]),
                [1],
                "{typed}"
            );
        }
        assert!(order("apache", vec![candidate(1, "nginx", 0, false)]).is_empty());
        // A likeness that only the summary has is none.
        assert!(order("prxoy", vec![candidate(1, "nginx", 0, false)]).is_empty());
    }
}
