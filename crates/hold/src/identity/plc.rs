//! A did:plc in its directory.

use std::path::PathBuf;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_atproto::plc::{Operation, PlcData, PlcDirectory, PlcLog, Service};
use atcr_atproto::syntax::Did;
use chrono::TimeDelta;
use url::Url;

use super::IdentityError;
use super::folder::make_key;
use crate::settings::PlcSettings;

/// The fragment of the signing key's name.
const ATPROTO: &str = "atproto";
const SERVICES: [(&str, &str); 2] = [
    ("atproto_pds", "AtprotoPersonalDataServer"),
    ("atcr_hold", "AtcrHoldService"),
];
/// A directory takes no more.
const MAX_ROTATION_KEYS: usize = 5;
/// The shortest time between two changes that no one asked for. A directory takes 10 in an hour.
const CHANGE_INTERVAL: TimeDelta = TimeDelta::hours(1);
/// How often the document is read until it shows a new key, and with which pause.
const SHOWN_TRIES: u32 = 30;
const SHOWN_PAUSE: Duration = Duration::from_secs(1);

/// What the document shall say.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) handle: String,
    pub(crate) endpoint: String,
    pub(crate) key: PublicKey,
}

/// The directory and the keys that may change a DID in it.
#[derive(Clone, Debug)]
pub(crate) struct Plc {
    directory: PlcDirectory,
    rotation_key: Option<SigningKey>,
    rotation_key_path: PathBuf,
    captain: Option<String>,
}

/// What came of bringing the document up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// It says what it shall.
    Same,
    /// It does now.
    Done,
    /// It does not, and it is too early to change it again.
    Later,
    /// It does not, and the key for changing it is not here.
    NoKey,
}

impl Plc {
    /// Reads the rotation key, if there is one.
    pub(crate) fn open(settings: &PlcSettings, directory: Url) -> Result<Self, IdentityError> {
        let rotation_key = match &settings.rotation_key {
            Some(key) => Some(key.clone()),
            None => SigningKey::load(&settings.rotation_key_path, Curve::K256).map_err(IdentityError::Key)?,
        };
        Ok(Self {
            directory: PlcDirectory::new(directory)?,
            rotation_key,
            rotation_key_path: settings.rotation_key_path.clone(),
            captain: settings.captain_rotation_key.as_ref().map(PublicKey::to_did_key),
        })
    }

    /// The public half of the rotation key.
    pub(crate) fn rotation_key(&self) -> Option<PublicKey> {
        self.rotation_key.as_ref().map(SigningKey::public_key)
    }

    /// Makes the rotation key if there is none.
    pub(crate) fn make_rotation_key(&mut self) -> Result<SigningKey, IdentityError> {
        if let Some(key) = &self.rotation_key {
            return Ok(key.clone());
        }
        let key = make_key(&self.rotation_key_path)?;
        tracing::warn!(
            path = %self.rotation_key_path.display(), key = %key.public_key(),
            "a rotation key was made: whoever has it owns the hold's DID, and without it a lost hold cannot be recovered. Keep a copy \
             of the file away from this machine"
        );
        self.rotation_key = Some(key.clone());
        Ok(key)
    }

    /// Makes a DID that says `wanted`. The same keys and names make the same DID, however often this is tried.
    pub(crate) async fn create(&mut self, wanted: &Wanted) -> Result<Did, IdentityError> {
        let key = self.make_rotation_key()?;
        let mut data = PlcData {
            rotation_keys: vec![key.public_key().to_did_key()],
            ..PlcData::default()
        };
        self.bring_up(&mut data, wanted);
        let operation = Operation::sign(data, None, &key);
        let did = operation.did().ok_or_else(|| IdentityError::DidFile {
            path: self.rotation_key_path.clone(),
        })?;
        self.directory.publish(&did, &operation).await?;
        tracing::info!(%did, "the hold's DID was made");
        Ok(did)
    }

    /// The verified operations of `did`.
    pub(crate) async fn log(&self, did: &Did) -> Result<PlcLog, IdentityError> {
        Ok(self.directory.log(did).await?)
    }

    /// Brings handle, URLs and the captain's key up to date, at most hourly. Never the signing key: if the document names another one,
    /// another hold may have the DID by now.
    pub(crate) async fn keep_up(
        &self,
        did: &Did,
        log: &PlcLog,
        wanted: &Wanted,
        clock: &dyn Clock,
    ) -> Result<Update, IdentityError> {
        let current = log.data();
        let mut data = current.clone();
        self.bring_up(&mut data, wanted);
        if let Some(key) = current.verification_methods.get(ATPROTO) {
            data.verification_methods.insert(ATPROTO.to_owned(), key.clone());
        }
        if data == current {
            return Ok(Update::Same);
        }
        let is_early = log
            .changed_at()
            .is_some_and(|at| clock.now().signed_duration_since(at) < CHANGE_INTERVAL);
        if is_early {
            return Ok(Update::Later);
        }
        match self.change(did, log, data).await {
            Ok(()) => Ok(Update::Done),
            Err(IdentityError::NoRotationKey { .. }) => Ok(Update::NoKey),
            Err(error) => Err(error),
        }
    }

    /// Makes the document say `wanted`, signing key and all, and waits until it does.
    pub(crate) async fn publish(
        &self,
        did: &Did,
        log: &PlcLog,
        wanted: &Wanted,
    ) -> Result<(), IdentityError> {
        let mut data = log.data();
        self.bring_up(&mut data, wanted);
        if data != log.data() {
            self.change(did, log, data).await?;
        }
        self.wait_until_shown(did, &wanted.key).await
    }

    /// Whether the rotation key of `did` is here.
    ///
    /// # Errors
    /// [`IdentityError::NoRotationKey`].
    pub(crate) fn check_rotation_key(&self, did: &Did, log: &PlcLog) -> Result<&SigningKey, IdentityError> {
        let current = log.data();
        self.rotation_key
            .as_ref()
            .filter(|key| current.is_rotated_by(&key.public_key()))
            .ok_or_else(|| IdentityError::NoRotationKey {
                did: did.clone(),
                path: self.rotation_key_path.clone(),
                accepted: current.rotation_keys.join(", "),
            })
    }

    /// A hold works without its rotation key until something has to be changed.
    pub(crate) fn warn_without_rotation_key(&self, did: &Did, log: &PlcLog) {
        if let Err(error) = self.check_rotation_key(did, log) {
            tracing::warn!(
                %error,
                "the hold works, but neither its URL nor its key can be changed, and it cannot be recovered"
            );
        }
    }

    async fn change(&self, did: &Did, log: &PlcLog, data: PlcData) -> Result<(), IdentityError> {
        let key = self.check_rotation_key(did, log)?;
        let prev = log.newest().map(Operation::cid);
        let operation = Operation::sign(data, prev.as_ref(), key);
        self.directory.publish(did, &operation).await?;
        tracing::info!(%did, "the hold's DID was changed");
        Ok(())
    }

    /// A directory may answer from a copy that is some seconds old.
    async fn wait_until_shown(&self, did: &Did, key: &PublicKey) -> Result<(), IdentityError> {
        for _ in 0..SHOWN_TRIES {
            match self.directory.log(did).await {
                Ok(log) if names(&log.data(), key) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(SHOWN_PAUSE).await;
        }
        Err(IdentityError::NotShown { did: did.clone() })
    }

    fn bring_up(&self, data: &mut PlcData, wanted: &Wanted) {
        if let Some(captain) = &self.captain
            && !data.rotation_keys.contains(captain)
            && data.rotation_keys.len() < MAX_ROTATION_KEYS
        {
            data.rotation_keys.insert(0, captain.clone());
        }
        data.verification_methods
            .insert(ATPROTO.to_owned(), wanted.key.to_did_key());
        let handle = format!("at://{}", wanted.handle);
        match data
            .also_known_as
            .iter_mut()
            .find(|name| name.starts_with("at://"))
        {
            Some(name) => *name = handle,
            None => data.also_known_as.insert(0, handle),
        }
        for (fragment, kind) in SERVICES {
            data.services.insert(
                fragment.to_owned(),
                Service {
                    kind: kind.to_owned(),
                    endpoint: wanted.endpoint.clone(),
                },
            );
        }
    }
}

/// Whether the document names `key` as the signing key.
pub(crate) fn names(data: &PlcData, key: &PublicKey) -> bool {
    named_key(data) == key.to_did_key()
}

/// The signing key that the document names, as a did:key; "none" without one.
pub(crate) fn named_key(data: &PlcData) -> String {
    data.verification_methods
        .get(ATPROTO)
        .cloned()
        .unwrap_or_else(|| "none".to_owned())
}

/// Where the document says that a repository is.
pub(crate) fn repository_of(data: &PlcData) -> Option<String> {
    SERVICES
        .iter()
        .find_map(|(fragment, _)| data.services.get(*fragment))
        .map(|service| service.endpoint.clone())
}
