//! Reads the configurations that cards wait for: what people build with Docker describes itself by labels there, and not by annotations.
//!
//! Read as a visitor who did not sign in: what a private hold keeps is shown to nobody else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_index::IndexError;
use atcr_index::fact::ConfigFact;
use atcr_index::ports::{ConfigLog, WantedConfig};
use atcr_registry::RegistryError;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::TimeDelta;
use futures_util::StreamExt as _;

use super::{Browse, Owner};

const TASK: Task = Task::new("read_configurations");

/// How often it is looked for new ones.
const PERIOD: Duration = Duration::from_secs(1);

/// Read in one round, and at once.
const ROUND: u32 = 32;
const AT_ONCE: usize = 4;

/// When one that could not be read is tried again: after a minute, then four times as late each time, until a day.
const FIRST_RETRY: TimeDelta = TimeDelta::minutes(1);
const LAST_RETRY: TimeDelta = TimeDelta::days(1);

/// Brings what configurations say into the index.
#[derive(Clone)]
pub struct Descriptions {
    log: Arc<dyn ConfigLog>,
    browse: Arc<Browse>,
    identities: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
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
        let wanted = self.log.wanted_configs(ROUND, self.clock.now()).await?;
        futures_util::stream::iter(wanted)
            .for_each_concurrent(AT_ONCE, |wanted| async move {
                let item = wanted.digest.to_string();
                // The failure is logged; the configuration is due again in the next round.
                let _ = TASK.attempt(item, self.read(&wanted)).await;
            })
            .await;
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
        let again = retry(wanted.attempts);
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
            // Its hold shows it to members only.
            Err(RegistryError::Access(_)) => Err(LAST_RETRY),
            Err(error) => {
                tracing::debug!(did = %wanted.did, repository = wanted.name, %error, "a configuration cannot be read now");
                Err(again)
            }
        }
    }
}

fn retry(attempts: u32) -> TimeDelta {
    let minutes = 4_i32.saturating_pow(attempts.min(8));
    FIRST_RETRY
        .checked_mul(minutes)
        .map_or(LAST_RETRY, |delay| delay.min(LAST_RETRY))
}
