//! The start: what the folder, the directory and the repository say of the hold is brought together. Steps that a crash interrupted
//! are finished; which key counts, the directory says.

use atcr_atproto::clock::Clock;
use atcr_atproto::crypto::SigningKey;
use atcr_atproto::plc::{DirectoryError, PlcLog};
use atcr_atproto::syntax::{Did, Handle};
use atcr_hold_pds::RepoOptions;
use atcr_hold_pds::identity::HoldIdentity;

use super::IdentityError;
use super::folder::{FolderState, IdentityFolder};
use super::plc::{Plc, Update, Wanted, named_key, names, repository_of};
use super::predecessor::seen_before;
use crate::compose::{DATABASE_FILE, REPO_DIR};
use crate::settings::{HoldSettings, IdentitySettings, PlcSettings};

/// The identity, and what opening the repository has to do for it.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) identity: HoldIdentity,
    pub(crate) folder: IdentityFolder,
    /// `None` for a did:web.
    pub(crate) plc: Option<Plc>,
    /// The repository may have been signed by another key, and followers are told of the new one then.
    pub(crate) accept_new_key: bool,
    /// The account that was served here before, if this one takes its place.
    pub(crate) replaces: Option<Did>,
    /// A new repository takes the place of one that is lost, or of another account's.
    pub(crate) takes_over: bool,
    /// The folder has a next key, and the directory did not take it yet: the present one signs.
    pub(crate) delayed: Option<DelayedKey>,
}

/// A change of the signing key that the running hold has to finish.
#[derive(Debug)]
pub(crate) struct DelayedKey {
    /// Why the directory did not take it.
    pub(crate) error: IdentityError,
    /// It may have taken it all the same: nothing is signed before that is known.
    pub(crate) is_perhaps_taken: bool,
}

impl Established {
    /// How the repository is opened. A new one goes on from what followers have got of another one here before.
    pub(crate) async fn repo_options(
        &self,
        settings: &HoldSettings,
        clock: &dyn Clock,
    ) -> Result<RepoOptions, IdentityError> {
        let mut options = RepoOptions::new(
            settings.data_dir.join(REPO_DIR),
            self.identity.did().clone(),
            self.identity.signing_key(),
        );
        options.handle = self
            .identity
            .handle()
            .parse::<Handle>()
            .ok()
            .map(|handle| handle.to_string());
        options.endpoint = Some(self.identity.endpoint().to_owned());
        options.accept_new_key = self.accept_new_key;
        options.replaces.clone_from(&self.replaces);
        // A first start that was cut off may have left a repository without any event.
        if !self.folder.has_repo()? || self.folder.state()? == FolderState::Begun {
            options.seen = seen_before(settings, self.identity.did(), clock).await;
            if self.takes_over {
                options.seen.seq = options.seen.seq.max(clock.now_micros());
            }
        }
        Ok(options)
    }

    /// The repository is open: what was begun is done.
    pub(crate) fn finish(&self) -> Result<(), IdentityError> {
        if self.delayed.is_none() {
            self.folder.promote_next_key()?;
        }
        self.folder.end_begin()
    }
}

/// The identity's files of a hold with these settings.
pub(crate) fn folder_of(settings: &HoldSettings) -> IdentityFolder {
    IdentityFolder::new(
        &settings.data_dir,
        settings.data_dir.join(REPO_DIR),
        settings.data_dir.join(DATABASE_FILE),
        &settings.key_path,
    )
}

/// Finds or makes the hold's identity. What it makes is made for good, so everything that can be refused is refused before.
pub(crate) async fn establish(
    settings: &HoldSettings,
    clock: &dyn Clock,
) -> Result<Established, IdentityError> {
    let folder = folder_of(settings);
    let state = folder.state()?;
    match &settings.identity {
        IdentitySettings::Web(did) => web(settings, did, folder, state),
        IdentitySettings::Plc(plc) => Start::new(settings, plc, folder, state)?.establish(clock).await,
    }
}

fn web(
    settings: &HoldSettings,
    did: &Did,
    folder: IdentityFolder,
    state: FolderState,
) -> Result<Established, IdentityError> {
    if let Some(found) = folder.did()? {
        return Err(IdentityError::OtherDid {
            what: folder.did_path().display().to_string(),
            found: found.to_string(),
            expected: did.to_string(),
        });
    }
    check_repository(&folder, did)?;
    if state == FolderState::New {
        folder.begin()?;
    }
    let keys = Keys::read(&folder, state)?;
    Ok(Established {
        identity: HoldIdentity::did_web(&settings.public_url, keys.counts().clone())?,
        folder,
        plc: None,
        accept_new_key: keys.next.is_some(),
        replaces: None,
        takes_over: false,
        delayed: None,
    })
}

/// A repository of another DID is refused before anything is changed for this one.
fn check_repository(folder: &IdentityFolder, did: &Did) -> Result<(), IdentityError> {
    match folder.repo_did()? {
        Some(found) if found != did.as_str() => Err(IdentityError::OtherDid {
            what: "the repository".to_owned(),
            found,
            expected: did.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The keys in the folder.
struct Keys {
    current: SigningKey,
    /// The intent to change it.
    next: Option<SigningKey>,
}

impl Keys {
    /// Only a folder that is no hold yet gets a key.
    fn read(folder: &IdentityFolder, state: FolderState) -> Result<Self, IdentityError> {
        let next = folder.next_key()?;
        let current = match (folder.signing_key()?, &next) {
            (Some(key), _) => key,
            // A recovery makes the new key first.
            (None, Some(next)) => next.clone(),
            (None, None) if state == FolderState::Whole => return Err(folder.incomplete(folder.key_path())),
            (None, None) => folder.make_signing_key()?,
        };
        Ok(Self { current, next })
    }

    /// The key that signs from now on.
    fn counts(&self) -> &SigningKey {
        self.next.as_ref().unwrap_or(&self.current)
    }
}

/// The start of a did:plc hold.
struct Start<'a> {
    settings: &'a HoldSettings,
    plc: Plc,
    folder: IdentityFolder,
    state: FolderState,
    /// In `did.txt`.
    kept: Option<Did>,
    /// In the settings.
    configured: Option<Did>,
}

impl<'a> Start<'a> {
    fn new(
        settings: &'a HoldSettings,
        plc: &PlcSettings,
        folder: IdentityFolder,
        state: FolderState,
    ) -> Result<Self, IdentityError> {
        let kept = folder.did()?;
        if let (Some(kept), Some(configured)) = (&kept, &plc.did)
            && kept != configured
        {
            return Err(IdentityError::OtherDid {
                what: folder.did_path().display().to_string(),
                found: kept.to_string(),
                expected: configured.to_string(),
            });
        }
        Ok(Self {
            plc: Plc::open(plc, settings.plc_directory.clone())?,
            configured: plc.did.clone(),
            settings,
            folder,
            state,
            kept,
        })
    }

    async fn establish(mut self, clock: &dyn Clock) -> Result<Established, IdentityError> {
        match (self.kept.clone().or(self.configured.clone()), self.state) {
            (Some(did), FolderState::Whole) => self.open(did, clock).await,
            // Begun by a first start or a recovery that had decided on the DID.
            (Some(did), FolderState::Begun) if self.kept.is_some() => self.open(did, clock).await,
            (Some(did), _) => self.adopt(did).await,
            (None, FolderState::Whole) => Err(self.folder.incomplete(&self.folder.did_path())),
            (None, _) => self.create().await,
        }
    }

    async fn create(&mut self) -> Result<Established, IdentityError> {
        if self.state == FolderState::New {
            self.folder.begin()?;
        }
        let keys = Keys::read(&self.folder, self.state)?;
        let wanted = self.wanted(keys.counts())?;
        let did = self.plc.create(&wanted).await?;
        self.folder.write_did(&did)?;
        self.established(did, &keys, None)
    }

    /// Takes over a DID that was made elsewhere. One that has a repository is not begun anew.
    async fn adopt(&mut self, did: Did) -> Result<Established, IdentityError> {
        let log = self.plc.log(&did).await?;
        let is_ours = match self.folder.signing_key()? {
            Some(key) if self.state == FolderState::Begun => names(&log.data(), &key.public_key()),
            _ => false,
        };
        if let Some(endpoint) = repository_of(&log.data())
            && !is_ours
        {
            return Err(IdentityError::InUse { did, endpoint });
        }
        self.plc.check_rotation_key(&did, &log)?;
        if self.state == FolderState::New {
            self.folder.begin()?;
        }
        let keys = Keys::read(&self.folder, self.state)?;
        let wanted = self.wanted(keys.counts())?;
        self.plc.publish(&did, &log, &wanted).await?;
        self.folder.write_did(&did)?;
        self.established(did, &keys, None)
    }

    async fn open(&mut self, did: Did, clock: &dyn Clock) -> Result<Established, IdentityError> {
        check_repository(&self.folder, &did)?;
        let keys = Keys::read(&self.folder, self.state)?;
        let mut delayed = None;
        match self.plc.log(&did).await {
            Ok(log) => delayed = self.agree(&did, &log, &keys, clock).await?,
            Err(IdentityError::Directory(error))
                if error.is_transient() && keys.next.is_none() && self.state == FolderState::Whole =>
            {
                tracing::warn!(
                    %error, %did,
                    "the directory cannot be asked whether the hold's DID still names its key; the hold goes on with what it knows"
                );
            }
            Err(error) => return Err(error),
        }
        self.folder.write_did(&did)?;
        self.established(did, &keys, delayed)
    }

    /// The document names the key that signs, or is made to name it if that was meant. A directory that does not take a new key, at
    /// the moment or ever, keeps no hold from starting that has the old one.
    async fn agree(
        &self,
        did: &Did,
        log: &PlcLog,
        keys: &Keys,
        clock: &dyn Clock,
    ) -> Result<Option<DelayedKey>, IdentityError> {
        let wanted = self.wanted(keys.counts())?;
        let data = log.data();
        if !names(&data, &wanted.key) {
            let names_current = keys.next.is_some() && names(&data, &keys.current.public_key());
            if self.state != FolderState::Begun && !names_current {
                return Err(IdentityError::NamesAnotherKey {
                    did: did.clone(),
                    named: named_key(&data),
                    ours: wanted.key.to_did_key(),
                });
            }
            return match self.plc.publish(did, log, &wanted).await {
                Ok(()) => Ok(None),
                Err(error) if self.state == FolderState::Whole => {
                    tracing::warn!(%error, %did, "the signing key is not changed yet; it is tried again while the hold runs");
                    let is_not_taken = matches!(
                        error,
                        IdentityError::Directory(DirectoryError::Busy { .. })
                            | IdentityError::NoRotationKey { .. }
                    );
                    Ok(Some(DelayedKey {
                        error,
                        is_perhaps_taken: !is_not_taken,
                    }))
                }
                Err(error) => Err(error),
            };
        }
        self.plc.warn_without_rotation_key(did, log);
        match self.plc.keep_up(did, log, &wanted, clock).await {
            Ok(update) => warn_of(update, did),
            Err(error) => {
                tracing::warn!(%error, %did, "handle and URL of the hold's DID could not be changed");
            }
        }
        Ok(None)
    }

    fn wanted(&self, key: &SigningKey) -> Result<Wanted, IdentityError> {
        let web = HoldIdentity::did_web(&self.settings.public_url, key.clone())?;
        Ok(Wanted {
            handle: web.handle().to_owned(),
            endpoint: web.endpoint().to_owned(),
            key: key.public_key(),
        })
    }

    fn established(
        &self,
        did: Did,
        keys: &Keys,
        delayed: Option<DelayedKey>,
    ) -> Result<Established, IdentityError> {
        check_repository(&self.folder, &did)?;
        let signing_key = match &delayed {
            None => keys.counts(),
            Some(_) => &keys.current,
        };
        Ok(Established {
            identity: HoldIdentity::of_did(did, &self.settings.public_url, signing_key.clone())?,
            folder: self.folder.clone(),
            plc: Some(self.plc.clone()),
            accept_new_key: keys.next.is_some() && delayed.is_none(),
            replaces: None,
            takes_over: false,
            delayed,
        })
    }
}

/// Says what the operator has to know of a document that is out of date.
pub(crate) fn warn_of(update: Update, did: &Did) {
    match update {
        Update::Same | Update::Done => {}
        Update::Later => tracing::warn!(
            %did,
            "the document of the hold's DID has another handle or URL; it was changed less than an hour ago, and will be again by itself"
        ),
        Update::NoKey => tracing::error!(
            %did,
            "THE DOCUMENT OF THE HOLD'S DID HAS ANOTHER HANDLE OR URL, and its rotation key is not here: AppViews may not find this \
             hold. Put the key into rotation.key, or set database.rotation_key, and start again"
        ),
    }
}
