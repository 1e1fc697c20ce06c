//! A made-up network of any size: the same seed and size give the same network. For tests, figures, and pages without a network.
//!
//! A few accounts have many repositories and most have few; one repository has a twentieth of all tags. Half of the manifests are
//! images, the rest indexes, referrers, charts and caches. One record in a hundred is of an odd kind.

mod records;
mod words;

use atcr_atproto::syntax::{Did, Tid};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::change::{Batch, Change, Coverage, IdentityStep, Proof, RecordsStep, Step};
use crate::error::IndexError;
use crate::ports::IndexWriter;
use records::Records;

/// Changes of one batch, at most.
const BATCH: usize = 2_000;

/// How large a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Accounts of people.
    pub accounts: usize,
    /// Holds.
    pub holds: usize,
    /// Repositories.
    pub repositories: usize,
    /// Manifest records.
    pub manifests: usize,
    /// Tag records.
    pub tags: usize,
    /// Stars.
    pub stars: usize,
}

impl Size {
    /// Enough for every page to have something to show: 20 accounts, 60 repositories, some thousand tags.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            accounts: 20,
            holds: 3,
            repositories: 60,
            manifests: 1_200,
            tags: 2_500,
            stars: 150,
        }
    }

    /// The network that figures are given for: 100,000 repositories, 1,000,000 manifests, 2,000,000 tags.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            accounts: 20_000,
            holds: 50,
            repositories: 100_000,
            manifests: 1_000_000,
            tags: 2_000_000,
            stars: 500_000,
        }
    }

    /// The full size divided by `by`.
    #[must_use]
    pub const fn full_divided(by: usize) -> Self {
        let full = Self::full();
        Self {
            accounts: full.accounts / by,
            holds: full.holds,
            repositories: full.repositories / by,
            manifests: full.manifests / by,
            tags: full.tags / by,
            stars: full.stars / by,
        }
    }
}

/// A repository of the network.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) manifests: usize,
    pub(crate) tags: usize,
}

/// A made-up network.
#[derive(Debug)]
pub struct Network {
    rng: StdRng,
    size: Size,
    /// The repositories of each account.
    accounts: Vec<Vec<Plan>>,
}

/// The DID of account `number`.
#[must_use]
pub fn account_did(number: usize) -> Did {
    let mut letters = [b'a'; 24];
    let mut rest = number;
    for letter in letters.iter_mut().rev() {
        *letter = b"abcdefghijklmnopqrstuvwxyz234567"[rest % 32];
        rest /= 32;
    }
    let name: String = letters.iter().map(|letter| char::from(*letter)).collect();
    known(&format!("did:plc:{name}"))
}

/// The DID of hold `number`.
#[must_use]
pub fn hold_did(number: usize) -> Did {
    known(&format!("did:web:hold{number}.example"))
}

/// A text of this module that is known to parse.
pub(crate) fn known<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    #[expect(
        clippy::expect_used,
        reason = "the texts are made here and always have the form"
    )]
    text.parse().expect("a made-up name has the right form")
}

impl Network {
    /// The network of this seed and size.
    #[must_use]
    pub fn new(seed: u64, size: Size) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut accounts: Vec<Vec<Plan>> = vec![Vec::new(); size.accounts.max(1)];
        let tags = shares(&mut rng, size.tags, size.repositories);
        let manifests = shares(&mut rng, size.manifests, size.repositories);
        for (tags, manifests) in tags.into_iter().zip(manifests) {
            let owner = skewed(&mut rng, accounts.len());
            let name = words::repository(&mut rng, accounts[owner].len());
            accounts[owner].push(Plan {
                name,
                manifests: manifests.max(1),
                tags,
            });
        }
        Self { rng, size, accounts }
    }

    /// The names of account `number`'s repositories.
    pub fn repositories_of(&self, number: usize) -> impl Iterator<Item = &str> {
        self.accounts
            .get(number)
            .into_iter()
            .flatten()
            .map(|plan| plan.name.as_str())
    }

    /// Everything, in batches: identities, then the accounts one after the other, then the holds. `now` is about when it all ends.
    pub fn batches(mut self, now: DateTime<Utc>) -> impl Iterator<Item = Batch> {
        let rev = Tid::from_parts(u64::try_from(now.timestamp_micros()).unwrap_or(0), 1);
        let total = self.accounts.len();
        let holds = self.size.holds;
        let mut pending: Vec<Step> = Vec::new();
        let mut weight = 0;
        let mut number = 0;
        std::iter::from_fn(move || {
            while weight < BATCH && number < total + holds {
                let (did, changes) = self.account(number, now);
                pending.push(identity(&did, number, total));
                weight += 1;
                for step in parts(&did, &rev, changes) {
                    weight += match &step {
                        Step::Records(step) => step.changes.len(),
                        _ => 0,
                    };
                    pending.push(step);
                }
                number += 1;
            }
            if pending.is_empty() {
                return None;
            }
            // An account's parts may be more than a batch.
            let mut taken = 0;
            let mut end = 0;
            for step in &pending {
                let size = match step {
                    Step::Records(step) => step.changes.len(),
                    _ => 1,
                };
                if end > 0 && taken + size > BATCH {
                    break;
                }
                taken += size;
                end += 1;
            }
            weight = weight.saturating_sub(taken);
            Some(Batch {
                steps: pending.drain(..end).collect(),
                ..Batch::default()
            })
        })
    }

    /// Writes everything to `index`.
    ///
    /// # Errors
    /// The index's.
    pub async fn load(self, index: &dyn IndexWriter, now: DateTime<Utc>) -> Result<(), IndexError> {
        for batch in self.batches(now) {
            index.apply(&batch, now).await?;
        }
        Ok(())
    }

    fn account(&mut self, number: usize, now: DateTime<Utc>) -> (Did, Vec<Change>) {
        let people = self.accounts.len();
        if number >= people {
            return (hold_did(number - people), self.hold(number - people, now));
        }
        let did = account_did(number);
        let plans = std::mem::take(&mut self.accounts[number]);
        let mut records = Records::new(&mut self.rng, did.clone(), now, self.size.holds);
        records.profile();
        for plan in &plans {
            records.repository(plan);
        }
        let mut changes = records.finish();
        self.accounts[number] = plans;
        let stars = self.size.stars / people;
        for _ in 0..stars {
            let owner = skewed(&mut self.rng, people);
            let count = self.accounts[owner].len();
            if count > 0 {
                let which = skewed(&mut self.rng, count);
                let name = self.accounts[owner][which].name.clone();
                changes.push(records::star(&mut self.rng, &account_did(owner), &name, now));
            }
        }
        (did, changes)
    }

    fn hold(&mut self, number: usize, now: DateTime<Utc>) -> Vec<Change> {
        let mut changes = vec![records::captain(
            &account_did(number % self.accounts.len()),
            number,
            now,
        )];
        for member in 0..self.accounts.len().min(200) {
            if member % self.size.holds.max(1) == number {
                changes.push(records::crew(&account_did(member), now));
            }
        }
        for (owner, plans) in self.accounts.iter().enumerate() {
            if records::hold_of(owner, self.size.holds) == number {
                for plan in plans {
                    let pulls = (f64::from(u32::try_from(plan.tags).unwrap_or(u32::MAX))
                        * self.rng.random::<f64>().powi(8)
                        * 4000.0)
                        .floor();
                    changes.push(records::stats(&account_did(owner), &plan.name, pulls, now));
                }
            }
        }
        changes
    }
}

fn identity(did: &Did, number: usize, people: usize) -> Step {
    let handle = if number < people {
        words::handle(number)
    } else {
        format!("hold{}.example", number - people)
    };
    Step::Identity(IdentityStep {
        did: did.clone(),
        handle: handle.parse().ok(),
        pds: "https://pds.example".parse().ok(),
        signing_key: None,
    })
}

/// An account's records as steps of at most a batch each.
fn parts(did: &Did, rev: &Tid, changes: Vec<Change>) -> Vec<Step> {
    let step = |base, coverage, changes| {
        Step::Records(RecordsStep {
            did: did.clone(),
            base,
            base_data: None,
            rev: rev.clone(),
            data: None,
            proof: Proof::Owner,
            coverage: Some(coverage),
            changes,
        })
    };
    let count = changes.len().div_ceil(BATCH).max(1);
    let mut changes = changes.into_iter();
    (0..count)
        .map(|part| {
            let base = (part > 0).then(|| rev.clone());
            let coverage = if part + 1 == count {
                Coverage::Whole
            } else {
                Coverage::Cut
            };
            step(base, coverage, changes.by_ref().take(BATCH).collect())
        })
        .collect()
}

/// `total` in `count` shares: one of a twentieth, ten of a two-hundredth, the rest small and very unequal.
fn shares(rng: &mut StdRng, total: usize, count: usize) -> Vec<usize> {
    let mut shares = Vec::with_capacity(count);
    let mut left = total;
    for place in 0..count {
        let share = match place {
            0 => total / 20,
            1..=10 => total / 200,
            _ => {
                let mean = left / (count - place).max(1);
                // Skewed: most are below the mean, a few far above.
                let factor = -(1.0 - rng.random::<f64>()).ln();
                scaled(mean, factor)
            }
        };
        let share = share.min(left);
        left -= share;
        shares.push(share);
    }
    shares
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of a made-up network, far below 2^52, and factors that are not negative"
)]
pub(crate) fn scaled(number: usize, factor: f64) -> usize {
    (number as f64 * factor).round() as usize
}

/// A number below `count`, small ones far more often.
pub(crate) fn skewed(rng: &mut StdRng, count: usize) -> usize {
    scaled(count, rng.random::<f64>().powi(3)).min(count.saturating_sub(1))
}
