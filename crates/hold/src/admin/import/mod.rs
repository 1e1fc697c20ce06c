//! Many members at once, from a table (CSV) or a list (JSON): first a plan that is shown, then the same text again to do it.
//!
//! Columns, or members of each object: `did` or `handle` (or `member`, either of the two), `role`, `permissions` (words with spaces
//! between them; in JSON also a list), `tier`. What is left out is the default.
//!
//! - [`plan`]: what a text would do · [`run`]: does it · [`to_csv`]: a text out of members

mod export;
mod run;

use std::collections::HashSet;

use atcr_atproto::syntax::{Cid, Did};
use futures_util::StreamExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::AdminError;
use super::accounts::Accounts;
use super::crew::{CaptainsCrew, Terms};
use super::sign_in::Captain;
use crate::quota::Tiers;

pub use export::{Exported, to_csv};
pub use run::{Unfinished, run};

/// Rows of one import.
pub const MAX_ROWS: usize = 1000;
/// Bytes of one import.
pub const MAX_LEN: usize = 256 * 1024;
/// Accounts that are looked up at once.
const AT_ONCE: usize = 8;
/// What a member may do whose row does not say it.
const DEFAULT_PERMISSIONS: [&str; 2] = ["blob:read", "blob:write"];

/// A row as it was written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    member: String,
    did: String,
    handle: String,
    role: String,
    permissions: Words,
    tier: Option<String>,
}

/// Words as a list, or in one text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

impl Default for Words {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Row {
    /// As it was before a spreadsheet was kept from taking it for a formula.
    fn unquoted(mut self) -> Self {
        for text in [&mut self.role, self.tier.get_or_insert_default()] {
            export::unquote(text);
        }
        if let Words::Text(text) = &mut self.permissions {
            export::unquote(text);
        }
        self
    }
}

impl Words {
    fn all(&self) -> Vec<&str> {
        let is_between = |character: char| character.is_whitespace() || matches!(character, ',' | ';');
        let words: Vec<&str> = match self {
            Self::Text(text) => text.split(is_between).filter(|word| !word.is_empty()).collect(),
            Self::List(words) => words.iter().map(String::as_str).collect(),
        };
        if words.is_empty() {
            DEFAULT_PERMISSIONS.to_vec()
        } else {
            words
        }
    }
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new member.
    Add,
    /// A member who gets other terms.
    Change {
        /// Those of now.
        before: Terms,
        /// The record that says them.
        version: Cid,
    },
    /// A member who has these terms already.
    Same,
    /// Nothing; the sentence says why.
    Refused(String),
}

/// A row of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The number of the row, from 1.
    pub row: usize,
    /// What the row names.
    pub named: String,
    /// Who that is, if there is such an account.
    pub did: Option<Did>,
    /// The terms, if they can be.
    pub terms: Option<Terms>,
    /// What becomes of it.
    pub step: Step,
}

/// What an import would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A row each.
    pub rows: Vec<Planned>,
    /// Follows from all that the plan would do: what was shown is what is done.
    pub mark: String,
}

impl Plan {
    /// Rows of which something comes.
    #[must_use]
    pub fn count(&self, is: impl Fn(&Step) -> bool) -> u64 {
        self.rows.iter().filter(|row| is(&row.step)).count() as u64
    }
}

/// Reads `text`, which is JSON if it begins with a bracket, else CSV with a line of names first.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    if text.len() > MAX_LEN {
        return Err(format!("The text is longer than {} kB.", MAX_LEN / 1024));
    }
    let rows: Vec<Row> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| format!("This is no list of members in JSON: {error}."))?
    } else {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(false)
            .from_reader(text.as_bytes());
        let headers = reader
            .headers()
            .map_err(|error| format!("This is no CSV: {error}."))?;
        if !headers
            .iter()
            .any(|name| matches!(name, "did" | "handle" | "member"))
        {
            return Err(
                "The first line has to name the columns: did or handle, and if you want role, permissions, tier."
                    .to_owned(),
            );
        }
        reader
            .deserialize()
            .take(MAX_ROWS + 1)
            .map(|row| row.map(Row::unquoted))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("This is no CSV: {error}."))?
    };
    if rows.is_empty() {
        return Err("There is no member in it.".to_owned());
    }
    if rows.len() > MAX_ROWS {
        return Err(format!(
            "There are more than {MAX_ROWS} members in it. Import them in parts."
        ));
    }
    Ok(rows)
}

/// What an import of `text` would do now.
///
/// # Errors
/// [`AdminError::Refused`] for a text that cannot be read; the repository's.
pub async fn plan(
    text: &str,
    captain: &Captain,
    crew: &CaptainsCrew,
    accounts: &Accounts,
    tiers: &Tiers,
) -> Result<Plan, AdminError> {
    let rows = rows(text).map_err(AdminError::Refused)?;
    let looked_up = rows.into_iter().enumerate().map(|(index, row)| async move {
        let named = [&row.did, &row.handle, &row.member]
            .into_iter()
            .find(|name| !name.is_empty())
            .cloned()
            .unwrap_or_default();
        let found = if named.starts_with("did:") {
            // A DID needs no look-up: a thousand of them must not wait for a thousand servers.
            named.parse::<Did>().map_err(|_| "This is no DID.".to_owned())
        } else {
            accounts.resolve(&named).await.map(|account| account.did.clone())
        };
        (index + 1, named, found, row)
    });
    let looked_up: Vec<_> = futures_util::stream::iter(looked_up)
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut seen = HashSet::new();
    let mut planned = Vec::with_capacity(looked_up.len());
    let mut mark = Sha256::new();
    for (number, named, found, row) in looked_up {
        let tier = row.tier.unwrap_or_default();
        let terms = Terms::of_words(&row.role, row.permissions.all(), &tier);
        let (did, terms, step) = match (found, terms) {
            (Err(why), _) => (None, None, Step::Refused(why)),
            (Ok(did), Err(why)) => (Some(did), None, Step::Refused(why)),
            (Ok(did), Ok(mut terms)) => {
                let member = match crew.member(&did).await {
                    Ok(member) => Some(member),
                    Err(AdminError::NoMember) => None,
                    Err(error) => return Err(error),
                };
                let before = member.as_ref().map(|member| Terms::of_record(&member.record));
                let tier_now = before.as_ref().and_then(|before| before.tier.clone());
                // A tier of now may stay whatever it is, also one that is gone.
                let fits = match &terms.tier {
                    Some(_) if terms.tier != tier_now => terms.check_tier(tiers),
                    Some(_) => Ok(()),
                    None => {
                        // Nothing is said about it: a member's stays, and who is new has a newcomer's.
                        terms.tier = match &before {
                            Some(_) => tier_now,
                            None => tiers.of_newcomer().map(|tier| tier.name.clone()),
                        };
                        Ok(())
                    }
                };
                let step = match (fits, member.zip(before)) {
                    (Err(why), _) => Step::Refused(why),
                    _ if !seen.insert(did.clone()) => {
                        Step::Refused("This account is in a row above.".to_owned())
                    }
                    (Ok(()), None) => Step::Add,
                    (Ok(()), Some((_, before))) if before == terms => Step::Same,
                    _ if captain.session.did == did => {
                        Step::Refused("The captain stays a member with every permission.".to_owned())
                    }
                    (Ok(()), Some((member, before))) => Step::Change {
                        before,
                        version: crew.version(&member).await?,
                    },
                };
                (Some(did), Some(terms), step)
            }
        };
        // What a row does, and to what, not only how it is afterwards: nobody becomes a member again who was removed meanwhile.
        if let (Some(did), Some(terms)) = (&did, &terms) {
            match &step {
                Step::Add => mark.update(format!("add {did}: {}\n", terms.in_words())),
                Step::Change { version, .. } => {
                    mark.update(format!("change {did} {version}: {}\n", terms.in_words()));
                }
                Step::Same | Step::Refused(_) => {}
            }
        }
        planned.push(Planned {
            row: number,
            named,
            did,
            terms,
            step,
        });
    }
    Ok(Plan {
        rows: planned,
        mark: data_encoding::HEXLOWER.encode(&mark.finalize()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_a_list_say_the_same() {
        let csv = "handle,permissions,tier\n alice.test ,blob:read blob:write,bosun\nbob.test,,\n";
        let json = r#"[{"handle":"alice.test","permissions":["blob:read","blob:write"],"tier":"bosun"},{"member":"bob.test","tier":null}]"#;
        for text in [csv, json] {
            let rows = rows(text).expect("rows");
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[0].handle, "alice.test");
            assert_eq!(rows[0].permissions.all(), ["blob:read", "blob:write"]);
            assert_eq!(rows[0].tier.as_deref(), Some("bosun"));
            assert_eq!(rows[1].permissions.all(), DEFAULT_PERMISSIONS);
        }
    }

    #[test]
    fn what_is_no_list_of_members_is_refused_with_a_sentence() {
        for (text, says) in [
            ("", "first line"),
            ("name,mail\na,b\n", "first line"),
            ("did\n", "no member"),
            ("did,role\ndid:plc:a\n", "no CSV"),
            ("[1]", "JSON"),
            ("[]", "no member"),
        ] {
            let why = rows(text).expect_err("refused");
            assert!(why.contains(says), "{text:?}: {why}");
        }
        let many = format!("did\n{}", "did:plc:a\n".repeat(MAX_ROWS + 1));
        assert!(rows(&many).expect_err("too many").contains("more than"));
    }
}
