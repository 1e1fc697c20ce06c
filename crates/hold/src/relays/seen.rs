//! What relays have got of the hold already. A repository that begins anew, or that goes on from a backup, has to go beyond it:
//! relays drop events whose numbers or revisions are not greater than what they know.

use std::fmt;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::{Did, Tid};
use atcr_hold_pds::Seen;
use futures_util::future::join_all;
use url::Url;

use super::{RelayApi, RelayError};

/// How long one relay may take for its answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How far in the future the newest event of a hold may be: numbers are times, and a few restores and a wrong clock add up to hours.
const MAX_AHEAD: Duration = Duration::from_hours(30 * 24);
/// How far ahead of the clock a revision may be that the repository goes beyond: it signs nothing that is further ahead.
const MAX_REVISION_AHEAD: Duration = Duration::from_mins(2);
/// A revision that is not further ahead is waited for: relays take what is up to that far ahead of their own clock.
const SLIGHTLY_AHEAD: Duration = Duration::from_mins(5);

/// What the relays know, as far as they said it.
#[derive(Debug, Default)]
pub struct SeenByRelays {
    /// The newest of what they named.
    pub seen: Seen,
    /// Relays of which it is not known, or not believed.
    pub unknown: Vec<Unknown>,
}

/// A relay whose knowledge does not count.
#[derive(Debug)]
pub struct Unknown {
    /// The relay.
    pub relay: Url,
    /// Why.
    pub reason: Reason,
}

/// Why it does not count.
#[derive(Debug)]
pub enum Reason {
    /// It did not answer.
    NoAnswer(String),
    /// The number is that of a far future: going beyond it would use up numbers for good.
    FarAhead(u64),
    /// The revision is one of the future: it cannot be gone beyond now, since a revision is the time.
    RevisionAhead {
        /// The revision.
        rev: Tid,
        /// How long until the repository can go beyond it, if that is soon: a clock that is a little wrong explains it.
        wait: Option<Duration>,
    },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::NoAnswer(reason) => write!(
                f,
                "{} does not say what it has of this hold: {reason}",
                self.relay
            ),
            Reason::FarAhead(seq) => write!(
                f,
                "{} says that it has event {seq} of this hold, which is more than {} days ahead of this machine's clock",
                self.relay,
                MAX_AHEAD.as_secs() / 86_400
            ),
            Reason::RevisionAhead { rev, .. } => write!(
                f,
                "{} says that it has revision {rev} of this account, which is ahead of this machine's clock",
                self.relay
            ),
        }
    }
}

/// Asks `relays` what they have of the host `hostname` and of the account `did`, all at once: a slow one delays no other.
pub async fn seen_by_relays(
    api: &dyn RelayApi,
    relays: &[Url],
    hostname: &str,
    did: &Did,
    clock: &dyn Clock,
) -> SeenByRelays {
    let answers = relays.iter().map(async |relay| {
        let asked = tokio::time::timeout(ANSWERS_WITHIN, ask(api, relay, hostname, did)).await;
        (relay, asked)
    });
    let mut found = SeenByRelays::default();
    for (relay, asked) in join_all(answers).await {
        let now = clock.now_micros();
        let reason = match asked {
            Ok(Ok(seen)) if seen.seq.saturating_sub(now) > micros(MAX_AHEAD) => Reason::FarAhead(seen.seq),
            Ok(Ok(Seen { seq, rev })) => {
                // Of the numbers nothing is said by a revision.
                found.seen.seq = found.seen.seq.max(seq);
                match rev {
                    Some(rev) if rev.micros().saturating_sub(now) > micros(MAX_REVISION_AHEAD) => {
                        let ahead = Duration::from_micros(rev.micros() - now);
                        let wait =
                            (ahead <= SLIGHTLY_AHEAD).then(|| ahead.saturating_sub(MAX_REVISION_AHEAD));
                        Reason::RevisionAhead { rev, wait }
                    }
                    rev => {
                        found.seen.rev = found.seen.rev.take().max(rev);
                        continue;
                    }
                }
            }
            Ok(Err(error)) => Reason::NoAnswer(error.to_string()),
            Err(_) => Reason::NoAnswer("it takes too long".to_owned()),
        };
        found.unknown.push(Unknown {
            relay: relay.clone(),
            reason,
        });
    }
    found
}

async fn ask(api: &dyn RelayApi, relay: &Url, hostname: &str, did: &Did) -> Result<Seen, RelayError> {
    let status = known(api.host_status(relay, hostname).await)?;
    let seq = status.and_then(|status| status.seq).unwrap_or(0);
    Ok(Seen {
        seq: u64::try_from(seq).unwrap_or(0),
        rev: known(api.latest_commit(relay, did).await)?,
    })
}

/// A relay that does not know the host or the account says so with a refusal.
fn known<T>(answer: Result<T, RelayError>) -> Result<Option<T>, RelayError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(RelayError::Refused {
            status: 400 | 404, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
