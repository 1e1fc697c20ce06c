//! Others that the hold needs: the captain's account, its server's clock, the AppView, the relays.

use std::sync::Arc;

use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::identity::{IdentityResolver, hold_endpoint};
use atcr_atproto::syntax::Did;
use chrono::TimeDelta;
use url::Url;

use super::Patient;
use super::finding::Findings;
use crate::adapters::relay_client::RelayClient;
use crate::bucket_test::skew_of;
use crate::compose::network_resolver;
use crate::relays::{RelayApi as _, RelayError};
use crate::settings::{HoldSettings, StorageSettings};

/// How far clocks may be apart before tokens are refused, and before they will be.
const TOO_MUCH_SKEW: TimeDelta = TimeDelta::seconds(60);
const MUCH_SKEW: TimeDelta = TimeDelta::seconds(10);
/// Bytes of a small answer.
const MAX_ANSWER: usize = 64 * 1024;

/// How others are asked.
pub(super) struct Network {
    pub(super) resolver: Arc<dyn IdentityResolver>,
    egress: EgressClient,
    clock: Arc<dyn Clock>,
}

impl Network {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// There are no usable root certificates.
    pub(super) fn new(settings: &HoldSettings) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let egress = EgressClient::new(EgressPolicy::of_server(settings.test_mode))?;
        Ok(Self {
            resolver: network_resolver(settings, egress.clone(), &clock)?,
            egress,
            clock,
        })
    }

    pub(super) async fn look(&self, patient: &Patient<'_>, findings: &mut Findings) {
        self.captain(patient.settings, findings).await;
        self.appview(patient.settings, findings).await;
        self.relays(patient, findings).await;
    }

    async fn captain(&self, settings: &HoldSettings, findings: &mut Findings) {
        const CHECK: &str = "captain";
        let Some(did) = &settings.owner else {
            findings.warning(
                CHECK,
                "the configuration names none, so the captain record alone does",
                "set registration.owner_did",
            );
            return;
        };
        let account = match self.resolver.resolve_did(did).await {
            Ok(account) => account,
            Err(error) => {
                findings.problem(
                    CHECK,
                    format!("{did} cannot be looked up: {error}"),
                    "see that this machine reaches the internet, and that registration.owner_did is right",
                );
                return;
            }
        };
        let handle = account.handle.as_ref().map(ToString::to_string);
        let Some(pds) = &account.pds else {
            findings.problem(
                CHECK,
                format!("{did} has no account server, so the captain cannot sign in"),
                "set registration.owner_did to an account of the network",
            );
            return;
        };
        match handle {
            Some(handle) => findings.ok(CHECK, format!("{handle}, {did}")),
            None => findings.warning(
                CHECK,
                format!("{did} has no handle that leads back to it"),
                "mend the account's handle at its server, or by DNS",
            ),
        }
        self.clock(pds, findings).await;
    }

    /// Compares this machine's clock with the one of the captain's account server.
    async fn clock(&self, pds: &Url, findings: &mut Findings) {
        const CHECK: &str = "clock";
        let remedy = "let NTP set the clock (timedatectl set-ntp true)";
        let host = pds.host_str().unwrap_or_default();
        let asked = async {
            let url = pds.join("/xrpc/_health")?;
            let answer = self
                .egress
                .get_capped(&url, MAX_ANSWER, "application/json")
                .await?;
            anyhow::Ok(skew_of(&answer.headers, self.clock.now()))
        };
        match asked.await {
            Ok(Some(skew)) => {
                let seconds = skew.num_seconds();
                let text = format!("{host} is {seconds} s ahead of this machine");
                if skew.abs() > TOO_MUCH_SKEW {
                    findings.problem(CHECK, text, remedy);
                } else if skew.abs() > MUCH_SKEW {
                    findings.warning(CHECK, text, remedy);
                } else {
                    findings.ok(CHECK, format!("agrees with {host}"));
                }
            }
            Ok(None) => findings.ok(CHECK, format!("{host} does not tell the time")),
            Err(error) => findings.warning(
                CHECK,
                format!("{host} cannot be asked for the time: {error:#}"),
                "see that this machine reaches the internet; while that server is away, the captain cannot sign in",
            ),
        }
    }

    async fn appview(&self, settings: &HoldSettings, findings: &mut Findings) {
        const CHECK: &str = "appview";
        let Some(did) = &settings.trusted_appview else {
            let remedy = "set server.appview_did to the registry's DID, such as did:web:registry.example.com";
            match settings.storage {
                StorageSettings::S3(_) => findings.warning(
                    CHECK,
                    "none is trusted, so the hold reads every object once before it accepts it",
                    remedy,
                ),
                StorageSettings::Filesystem { .. } => {
                    findings.warning(
                        CHECK,
                        "none is trusted, so none can change the crew's tiers",
                        remedy,
                    );
                }
            }
            return;
        };
        match self.key_of(did).await {
            Ok(()) => findings.ok(CHECK, format!("{did} is trusted")),
            Err(problem) => findings.problem(
                CHECK,
                format!("{did} is trusted, but {problem}"),
                "see that server.appview_did is right, and that the AppView serves /.well-known/did.json",
            ),
        }
    }

    async fn key_of(&self, did: &Did) -> Result<(), String> {
        let found = self
            .resolver
            .resolve_did(did)
            .await
            .map_err(|error| error.to_string())?;
        let has_key = found.signing_key.is_some() || found.document.keys().next().is_some();
        has_key
            .then_some(())
            .ok_or_else(|| "its document has no key".to_owned())
    }

    async fn relays(&self, patient: &Patient<'_>, findings: &mut Findings) {
        const CHECK: &str = "relay";
        let (settings, config) = (patient.settings, &patient.config);
        let hostname = settings.hostname();
        if settings.relays.is_empty() {
            findings.warning(
                CHECK,
                "none is asked to follow the hold, so registries may not find it by themselves",
                "set server.relay_endpoint",
            );
        }
        let client = match RelayClient::new() {
            Ok(client) => client,
            Err(error) => return findings.problem(CHECK, error.detail(), "install root certificates"),
        };
        for relay in &settings.relays {
            let name = relay.host_str().unwrap_or_default();
            match client.host_status(relay, &hostname).await {
                Ok(status) if matches!(status.status.as_deref(), Some("banned" | "throttled" | "offline")) => findings.problem(
                    CHECK,
                    format!("{name} has {hostname} as {status}"),
                    format!("atcr-hold relays announce{config}; see that {hostname} is reached from outside (--url)"),
                ),
                Ok(status) => findings.ok(CHECK, format!("{name} has {hostname} as {status}")),
                Err(error @ RelayError::Refused { .. }) => findings.warning(
                    CHECK,
                    format!("{name} does not know {hostname}: {error}"),
                    format!("atcr-hold relays announce{config}"),
                ),
                Err(error) => findings.warning(
                    CHECK,
                    format!("{name}: {:#}", anyhow::Error::new(error)),
                    "see that this machine reaches the relay",
                ),
            }
        }
    }

    /// The handle that leads to the hold's DID, if the resolver finds it.
    pub(super) async fn did_of_handle(&self, handle: &str) -> Result<Did, String> {
        let identifier = handle.parse().map_err(|_| format!("{handle} is no handle"))?;
        let found = self.resolver.resolve(&identifier).await;
        found
            .map(|found| found.did.clone())
            .map_err(|error| error.to_string())
    }

    /// Where others find the hold of `did`.
    pub(super) async fn endpoint_of(&self, did: &Did) -> Result<Option<Url>, String> {
        let found = self
            .resolver
            .resolve_did(did)
            .await
            .map_err(|error| error.to_string())?;
        Ok(hold_endpoint(&found))
    }
}
