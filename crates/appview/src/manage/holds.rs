//! The holds of an account: which one its pushes go to, what it uses of each, and what each knows of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atcr_atproto::egress::SharePermit;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::sailor_profile::{self, SailorProfileRecord};
use atcr_atproto::pds::Write;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_index::IndexError;
use atcr_index::page::PageRequest;
use atcr_index::view::{HoldView, MembershipView};
use atcr_registry::account::ports::CommitOutcome;
use atcr_registry::error::RegistryError;
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldDirectory as _, HoldRef, Quota};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use secrecy::SecretString;
use tokio::time::Instant;

use super::Manage;

/// How long a page waits for holds, which are asked all at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Holds that a page asks: the current one, the one of those who chose none, and ten that the account has to do with.
const MOST_ASKED: usize = 12;

/// How long an export or an erasure waits for a hold.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// Open holds that are offered.
const OPEN_HOLDS: u32 = 20;

/// Repositories whose holds are looked up for an export.
const REPOSITORIES: u32 = 200;

/// Holds that are asked for an export or an erasure.
const MOST_HOLDS: usize = 50;

/// Bytes of holds' answers in one export, 8 MiB. All exports together have four times that.
pub(super) const EXPORT_BYTES: usize = 8 * 1024 * 1024;

/// Holds asked at once for an export.
const EXPORTS_AT_ONCE: usize = 4;

/// How long all holds together may take for an export.
const EXPORT_PATIENCE: Duration = Duration::from_mins(2);

/// When an export that was refused is to be tried again.
const EXPORT_AGAIN: Duration = Duration::from_mins(1);

/// Times a profile is written anew because the account was written to meanwhile; the last time regardless.
const ATTEMPTS: usize = 4;

/// What a hold says of the account's use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It was not asked: the account does not use it, or too many others were asked.
    NotAsked,
    /// It said this.
    Said(Quota),
    /// It did not say; the sentence tells why.
    Silent(String),
}

/// A hold that pushes may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldChoice {
    /// The hold.
    pub did: Did,
    /// What it says of itself, as the index knows it.
    pub view: Option<HoldView>,
    /// The account's membership, as the index knows it.
    pub membership: Option<MembershipView>,
    /// Pushes go there now.
    pub is_current: bool,
    /// What the account uses of it.
    pub usage: Usage,
}

/// Where an account stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The hold of pushes, if there is one.
    pub current: Option<Did>,
    /// Manifests that lose their last tag go.
    pub auto_remove_untagged: bool,
    /// The holds to choose from: the current one, those of the account, then open ones.
    pub holds: Vec<HoldChoice>,
}

/// A hold that was checked just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedHold {
    /// The hold.
    pub did: Did,
    /// Whether the account may push there: everyone may join, or it is the captain or, as far as the index knows, a member.
    pub may_push: bool,
}

/// Why what was typed is no hold to push to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HoldRefusal {
    /// It is neither a DID nor an address.
    #[error("write the hold's address, like https://hold.example.com, or its DID")]
    Malformed,
    /// It cannot be found, does not answer, or is no hold; the text is for people.
    #[error("{0}")]
    Unusable(String),
}

/// What came of asking a hold about the account.
#[derive(Clone, Debug)]
pub struct HoldAnswer<T> {
    /// The hold.
    pub did: Did,
    /// What it gave, or why it gave nothing.
    pub outcome: Result<T, String>,
}

/// The holds that may know something of an account, the surest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldsOfAccount {
    /// Those that are asked.
    pub holds: Vec<Did>,
    /// How many more there are, which are not.
    pub more: usize,
}

/// What holds know of an account.
#[derive(Debug)]
pub struct Export {
    /// Each hold's answer, JSON as it wrote it.
    pub answers: Vec<HoldAnswer<Bytes>>,
    /// The memory of the answers; keep it as long as them.
    pub room: SharePermit,
}

impl Manage {
    /// Where the account stores, with live figures of the holds that it uses.
    ///
    /// # Errors
    /// The PDS's, when the settings cannot be read; the index's.
    pub async fn storage(&self, account: &ResolvedIdentity) -> Result<Storage, RegistryError> {
        let did = &account.did;
        let profile = self.settings.find_profile(account).await?;
        let current = match &profile {
            Some(profile) => profile.default_hold.clone(),
            None => self.default_hold.clone(),
        };
        let memberships = self.browse.index.memberships(did).await.map_err(unread)?;
        let mut dids: Vec<Did> = current.iter().cloned().collect();
        let mut add = |hold: &Did| {
            if !dids.contains(hold) {
                dids.push(hold.clone());
            }
        };
        self.default_hold.iter().for_each(&mut add);
        // The account's own holds before those that only say that it is a member.
        let (own, others): (Vec<_>, Vec<_>) = memberships
            .iter()
            .partition(|membership| membership.hold.captain == *did);
        for membership in own.into_iter().chain(others) {
            add(&membership.hold.hold.did);
        }
        let used: BTreeSet<Did> = dids.iter().take(MOST_ASKED).cloned().collect();
        let open = self.browse.index.open_holds(OPEN_HOLDS).await.map_err(unread)?;
        for hold in open.iter().filter(|hold| hold.successor.is_none()) {
            if !dids.contains(&hold.hold.did) {
                dids.push(hold.hold.did.clone());
            }
        }
        let choices = dids.into_iter().map(async |hold| {
            let membership = memberships
                .iter()
                .find(|membership| membership.hold.hold.did == hold)
                .cloned();
            let view = match &membership {
                Some(membership) => Some(membership.hold.clone()),
                None => self.browse.index.hold(&hold).await.map_err(unread)?,
            };
            let usage = if used.contains(&hold) {
                self.usage(did, &hold).await
            } else {
                Usage::NotAsked
            };
            Ok(HoldChoice {
                is_current: current.as_ref() == Some(&hold),
                did: hold,
                view,
                membership,
                usage,
            })
        });
        let holds = join_all(choices).await;
        Ok(Storage {
            holds: holds.into_iter().collect::<Result<_, RegistryError>>()?,
            current,
            auto_remove_untagged: profile
                .and_then(|profile| profile.auto_remove_untagged)
                .unwrap_or_default(),
        })
    }

    async fn usage(&self, did: &Did, hold: &Did) -> Usage {
        let asked = async {
            let hold = self.holds.resolve(hold).await?;
            let quota = self.gateway.find_quota(&hold, did).await;
            quota.map_err(|error| error.at(&hold))
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(quota)) => Usage::Said(quota),
            Ok(Err(error)) => Usage::Silent(error.to_string()),
            Err(_) => Usage::Silent("it does not answer".to_owned()),
        }
    }

    /// Looks at the hold that `text` names, a DID or an address: whether it answers, and is a hold, and takes pushes of `visitor`.
    ///
    /// # Errors
    /// [`HoldRefusal`].
    pub async fn check_hold(&self, visitor: &Did, text: &str) -> Result<CheckedHold, HoldRefusal> {
        let did = sailor_profile::hold_of(text.trim()).ok_or(HoldRefusal::Malformed)?;
        let asked = async {
            let hold = self.holds.resolve(&did).await?;
            let captain = self.gateway.find_captain(&hold).await;
            captain.map_err(|error| error.at(&hold))
        };
        let captain = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Some(captain))) => captain,
            Ok(Ok(None)) => {
                let text = format!("{did} answers, but it is no hold: it has no record of an owner");
                return Err(HoldRefusal::Unusable(text));
            }
            Ok(Err(error)) => return Err(HoldRefusal::Unusable(error.to_string())),
            Err(_) => return Err(HoldRefusal::Unusable(format!("{did} does not answer"))),
        };
        let memberships = self.browse.index.memberships(visitor).await;
        let is_member = memberships.is_ok_and(|memberships| {
            let mut holds = memberships.iter().map(|membership| &membership.hold.hold.did);
            holds.any(|hold| *hold == did)
        });
        Ok(CheckedHold {
            may_push: captain.allow_all_crew || captain.owner == *visitor || is_member,
            did,
        })
    }

    /// Makes `hold` the one that the account's pushes go to, from the next push on.
    ///
    /// # Errors
    /// [`AccessError::SessionEnded`](atcr_registry::error::AccessError::SessionEnded); the PDS's.
    pub async fn set_hold(&self, account: &ResolvedIdentity, hold: Did) -> Result<(), RegistryError> {
        let changed = self
            .change_profile(account, |profile| profile.default_hold = Some(hold.clone()))
            .await;
        // Also after an error: the commit may have been made and only its answer lost.
        self.holds.forget_choice(&account.did);
        changed?;
        self.holds.join(&sailor(&account.did), account).await;
        Ok(())
    }

    /// Says whether a push that takes a manifest's last tag away deletes the manifest.
    ///
    /// # Errors
    /// [`AccessError::SessionEnded`](atcr_registry::error::AccessError::SessionEnded); the PDS's.
    pub async fn set_auto_remove(&self, account: &ResolvedIdentity, on: bool) -> Result<(), RegistryError> {
        self.change_profile(account, |profile| profile.auto_remove_untagged = Some(on))
            .await
    }

    async fn change_profile(
        &self,
        account: &ResolvedIdentity,
        change: impl Fn(&mut SailorProfileRecord),
    ) -> Result<(), RegistryError> {
        let internal = |error: &dyn std::fmt::Display| RegistryError::Internal {
            what: error.to_string(),
        };
        for attempt in 1..=ATTEMPTS {
            let head = self.records.head(account).await?;
            let found = self.settings.find_profile(account).await?;
            let now = self.clock.now_datetime();
            let rkey = RecordKey::literal_self();
            // A record that is not of its form is there all the same, and is replaced.
            let exists = found.is_some()
                || self
                    .own
                    .has_record(account, SailorProfileRecord::NSID, &rkey)
                    .await?;
            let mut profile =
                found.unwrap_or_else(|| SailorProfileRecord::new(self.default_hold.clone(), now.clone()));
            change(&mut profile);
            profile.updated_at = Some(now);
            let collection = SailorProfileRecord::NSID.to_owned();
            let value = profile.to_value().map_err(|error| internal(&error))?;
            let write = if exists {
                Write::Update {
                    collection,
                    rkey,
                    value,
                }
            } else {
                Write::Create {
                    collection,
                    rkey: Some(rkey),
                    value,
                }
            };
            let expected = head.as_ref().filter(|_| attempt < ATTEMPTS);
            let written = self
                .records
                .commit(&sailor(&account.did), vec![write], expected)
                .await?;
            if let CommitOutcome::Committed(_) = written {
                break;
            }
        }
        Ok(())
    }

    /// The holds that may know something of the account: the one of those who chose none, its own choice, those that have layers of its
    /// images, and those that name it as their owner or a member.
    ///
    /// Anybody's hold can name an account, so these come last, and are the first that are too many.
    ///
    /// # Errors
    /// The index's.
    pub async fn holds_of_account(&self, did: &Did) -> Result<HoldsOfAccount, IndexError> {
        let index = &self.browse.index;
        let account = index.account(did).await?;
        let chosen = account.and_then(|account| account.default_hold);
        let mut found: Vec<Did> = self.default_hold.iter().cloned().chain(chosen).collect();
        let repositories = index
            .repositories_of(did, &PageRequest::top(REPOSITORIES))
            .await?;
        for repository in &repositories.items {
            let of_repository = index.holds_of(repository.id).await?;
            found.extend(of_repository.into_iter().map(|hold| hold.hold));
        }
        let memberships = index.memberships(did).await?;
        found.extend(memberships.into_iter().map(|membership| membership.hold.hold.did));
        let mut seen = BTreeSet::new();
        found.retain(|hold| seen.insert(hold.clone()));
        let more = found.len().saturating_sub(MOST_HOLDS);
        found.truncate(MOST_HOLDS);
        Ok(HoldsOfAccount { holds: found, more })
    }

    /// What each of `holds` knows of `visitor`, as it says it. A hold that is down, or does not tell, is named and keeps nobody else from
    /// answering.
    ///
    /// # Errors
    /// [`RegistryError::TooManyRequests`] while another export of the account, or too many of others, are under way.
    pub async fn export(&self, visitor: &Did, holds: Vec<Did>) -> Result<Export, RegistryError> {
        let room = self
            .exports
            .acquire(visitor.as_str(), EXPORT_BYTES, PATIENCE)
            .await;
        let mut room = room.map_err(|_| RegistryError::TooManyRequests {
            retry_after: EXPORT_AGAIN,
        })?;
        let until = Instant::now() + EXPORT_PATIENCE;
        let left = AtomicUsize::new(EXPORT_BYTES);
        let asked = holds.into_iter().map(async |did| {
            let call = |hold: HoldRef, token: SecretString| async move {
                self.gateway.export_user_data(&hold, &token).await
            };
            let mut answer = self.ask(visitor, did, until, call).await;
            if let Ok(data) = &answer.outcome {
                let take = |left: usize| left.checked_sub(data.len());
                if left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_err()
                {
                    answer.outcome =
                        Err("the answers are too long for one file; ask this hold itself".to_owned());
                }
            }
            answer
        });
        let asked: Vec<_> = asked.collect();
        let answers = stream::iter(asked).buffered(EXPORTS_AT_ONCE).collect().await;
        room.shrink_to(EXPORT_BYTES - left.into_inner());
        Ok(Export { answers, room })
    }

    /// Asks each of `holds` to erase what it knows of `visitor`.
    pub async fn erase(&self, visitor: &Did, holds: Vec<Did>) -> Vec<HoldAnswer<()>> {
        let until = Instant::now() + LONG_PATIENCE;
        let call = |hold: HoldRef, token: SecretString| async move {
            self.gateway.delete_user_data(&hold, &token).await
        };
        join_all(holds.into_iter().map(|did| self.ask(visitor, did, until, call))).await
    }

    /// Calls `call` for the hold `did` with a token of `visitor`, until [`LONG_PATIENCE`] or `until` is over.
    async fn ask<T, F, Fut>(&self, visitor: &Did, did: Did, until: Instant, call: F) -> HoldAnswer<T>
    where
        F: Fn(HoldRef, SecretString) -> Fut,
        Fut: Future<Output = Result<T, HoldError>>,
    {
        let principal = sailor(visitor);
        let asked = async {
            let hold = self.holds.resolve(&did).await?;
            let answer = self
                .access
                .as_user(&principal, &hold, |token| call(hold.clone(), token))
                .await;
            answer.map_err(|error| error.at(&hold))
        };
        let until = until.min(Instant::now() + LONG_PATIENCE);
        let outcome = match tokio::time::timeout_at(until, asked).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err(HoldError::TimedOut.to_string()),
        };
        HoldAnswer { did, outcome }
    }
}

pub(super) fn sailor(did: &Did) -> Principal {
    Principal::Sailor {
        did: did.clone(),
        auth_method: AuthMethod::OAuth,
    }
}

fn unread(error: IndexError) -> RegistryError {
    RegistryError::Internal {
        what: error.to_string(),
    }
}
