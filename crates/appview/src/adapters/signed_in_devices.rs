//! `SignedInDevices` over the devices that are signed in here.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_registry::access::SignedInDevices;
use atcr_registry::error::RegistryError;
use atcr_sessions::devices::Devices;

use super::pds_client::no_session;

/// The devices of this server.
#[derive(Debug)]
pub struct DevicesHere(pub Arc<Devices>);

#[async_trait]
impl SignedInDevices for DevicesHere {
    async fn require(&self, did: &Did, id: &str) -> Result<(), RegistryError> {
        self.0.require(did, id).await.map_err(no_session)
    }
}
