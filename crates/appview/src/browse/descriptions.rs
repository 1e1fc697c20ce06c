//! Reads the configurations that cards wait for: what people build with Docker describes itself by labels there, and not by annotations.
//!
//! This server reads them as a visitor without an account, so that labels of an image in a private hold are on no page. They are forgotten
//! when their hold becomes private, or when no card shows them any more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::fact::ConfigFact;
use atcr_index::ports::{ConfigLog, WantedConfig};
use atcr_index::turn::ConfigTurn;
use atcr_oci::Digest;
use atcr_registry::RegistryError;
use atcr_registry::hold::error::HoldError;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use moka::sync::Cache;

use super::{Browse, Owner};

const TASK: Task = Task::new("read_configurations");

/// How often it is looked for new ones.
const PERIOD: Duration = Duration::from_secs(1);

/// Read in one round, and at once. Those that failed before are a quarter more.
const ROUND: u32 = 32;
const AT_ONCE: usize = 4;

/// When one that could not be read is tried again: after a minute, then four times as late each time, until a day.
const FIRST_RETRY: TimeDelta = TimeDelta::minutes(1);
const LAST_RETRY: TimeDelta = TimeDelta::days(1);

/// Configurations that are looked through in one round, and cards that are made anew.
const LOOKED_THROUGH: u32 = 500;

/// How long after the end of the list it is looked through again.
const REST: TimeDelta = TimeDelta::hours(1);

/// How long a hold that did not answer in time is not asked again about an account's images, and how many such are remembered.
const HOLD_REST: Duration = Duration::from_mins(1);
const MAX_RESTING: u64 = 10_000;

/// Brings what configurations say into the index.
#[derive(Clone)]
pub struct Descriptions {
    log: Arc<dyn ConfigLog>,
    browse: Arc<Browse>,
    identities: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
    place: Arc<Mutex<Place>>,
    // By account too, so that one account cannot make a hold rest for others.
    resting: Cache<(Did, Option<Did>), ()>,
}

/// How far the rounds are.
#[derive(Debug, Default)]
struct Place {
    turn: ConfigTurn,
    looked_through: Option<Digest>,
    rests_until: DateTime<Utc>,
}

impl fmt::Debug for Descriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptions").finish_non_exhaustive()
    }
}

impl Descriptions {
    /// Reads through `browse` what `log` waits for.
    #[must_use]
    pub fn new(
        log: Arc<dyn ConfigLog>,
        browse: Arc<Browse>,
        identities: Arc<dyn IdentityResolver>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            log,
            browse,
            identities,
            clock,
            place: Arc::default(),
            resting: Cache::builder()
                .max_capacity(MAX_RESTING)
                .time_to_live(HOLD_REST)
                .build(),
        }
    }

    /// Works until the shutdown.
    pub fn spawn(self, shutdown: &Shutdown) {
        TASK.every(PERIOD, shutdown, move || {
            let this = self.clone();
            async move { this.round().await }
        });
    }

    /// Reads what is due.
    ///
    /// # Errors
    /// The index cannot be read. What becomes of each configuration is logged.
    pub async fn round(&self) -> Result<(), IndexError> {
        self.log.renew_cards(LOOKED_THROUGH, self.clock.now()).await?;
        self.look_through().await?;
        let turn = self.place(|place| place.turn);
        let (wanted, turn) = self.log.wanted_configs(turn, ROUND, self.clock.now()).await?;
        self.place(|place| place.turn = turn);
        futures_util::stream::iter(wanted)
            .for_each_concurrent(AT_ONCE, |wanted| async move {
                let item = wanted.digest.to_string();
                // The failure is logged; the configuration is due again in the next round.
                let _ = TASK.attempt(item, self.read(&wanted)).await;
            })
            .await;
        Ok(())
    }

    fn place<T>(&self, of: impl FnOnce(&mut Place) -> T) -> T {
        of(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets configurations that visitors may no longer see, a part of the list in each round.
    async fn look_through(&self) -> Result<(), IndexError> {
        let now = self.clock.now();
        let (after, rests_until) = self.place(|place| (place.looked_through.clone(), place.rests_until));
        if now < rests_until {
            return Ok(());
        }
        let last = self.log.forget_configs(after.as_ref(), LOOKED_THROUGH).await?;
        self.place(|place| {
            if last.is_none() {
                place.rests_until = now + REST;
            }
            place.looked_through = last;
        });
        Ok(())
    }

    async fn read(&self, wanted: &WantedConfig) -> Result<(), IndexError> {
        match self.config(wanted).await {
            Ok(says) => self.log.configured(&wanted.digest, &says, self.clock.now()).await,
            Err(delay) => {
                let due = self.clock.now() + delay;
                self.log.put_off_config(wanted, due).await
            }
        }
    }

    /// What it says, or how long to wait.
    async fn config(&self, wanted: &WantedConfig) -> Result<ConfigFact, TimeDelta> {
        // A visitor may not read it.
        if wanted.is_private {
            return Err(LAST_RETRY);
        }
        let again = retry(wanted.attempts);
        let source = (wanted.did.clone(), wanted.hold.clone());
        if self.resting.contains_key(&source) {
            return Err(again);
        }
        let identity = self
            .identities
            .resolve_did(&wanted.did)
            .await
            .map_err(|_| again)?;
        let owner = Owner {
            identity,
            account: None,
            is_empty: false,
        };
        let read = self
            .browse
            .config(None, &owner, &wanted.name, &wanted.digest)
            .await;
        match read {
            Ok(config) if config.is_unreadable => Ok(ConfigFact::of(&BTreeMap::new(), "")),
            Ok(config) => Ok(ConfigFact::of(&config.labels, &config.platform)),
            Err(error) => {
                let failure = Failure::of(&error);
                if failure == Failure::Late {
                    self.resting.insert(source, ());
                }
                tracing::debug!(did = %wanted.did, repository = wanted.name, %error, "a configuration cannot be read now");
                Err(if failure == Failure::MembersOnly {
                    LAST_RETRY
                } else {
                    again
                })
            }
        }
    }
}

/// What an error says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The hold shows the image to its members only: an hour changes nothing.
    MembersOnly,
    /// The hold did not answer, or not in time: its other images would wait just as long.
    Late,
    /// Anything else.
    Other,
}

impl Failure {
    fn of(error: &RegistryError) -> Self {
        match error {
            RegistryError::Access(_)
            | RegistryError::Hold {
                error: HoldError::Unauthorized | HoldError::Forbidden { .. },
                ..
            } => Self::MembersOnly,
            RegistryError::Hold { error, .. } if error.is_transient() => Self::Late,
            // A page's patience ended.
            RegistryError::Internal { .. } => Self::Late,
            _ => Self::Other,
        }
    }
}

fn retry(attempts: u32) -> TimeDelta {
    let minutes = 4_i32.saturating_pow(attempts.min(8));
    FIRST_RETRY
        .checked_mul(minutes)
        .map_or(LAST_RETRY, |delay| delay.min(LAST_RETRY))
}

#[cfg(test)]
mod tests {
    use atcr_registry::error::AccessError;
    use atcr_registry::hold::ports::HoldRef;

    use super::*;

    #[test]
    fn a_hold_that_refuses_strangers_waits_a_day_and_one_that_is_late_rests() {
        let hold = HoldRef {
            did: "did:web:hold.example".parse().unwrap(),
            endpoint: "https://hold.example".parse().unwrap(),
        };
        let forbidden = HoldError::Forbidden {
            message: "members only".to_owned(),
        };
        for (error, expected) in [
            (HoldError::Unauthorized, Failure::MembersOnly),
            (forbidden, Failure::MembersOnly),
            (HoldError::TimedOut, Failure::Late),
            (HoldError::BlobNotFound, Failure::Other),
        ] {
            assert_eq!(Failure::of(&error.at(&hold)), expected);
        }
        let strangers = RegistryError::Access(AccessError::SignInRequired);
        assert_eq!(Failure::of(&strangers), Failure::MembersOnly);
        assert_eq!(Failure::of(&RegistryError::internal("too late")), Failure::Late);
        assert_eq!([0, 1, 20].map(retry), [FIRST_RETRY, FIRST_RETRY * 4, LAST_RETRY]);
    }
}
