//! What owners change on pages: tags and manifests that are deleted and come back, the text of a repository, settings. Everything is a write
//! to the owner's account, by the owner's session.

mod deletion;
mod erasure;
mod holds;
mod page;
pub mod ports;

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::egress::SharedBudget;
use atcr_atproto::syntax::Did;
use atcr_registry::account::ports::{AccountRecords, AccountSettings};
use atcr_registry::hold::credentials::HoldAccess;
use atcr_registry::hold::discovery::HoldDiscovery;
use atcr_registry::hold::ports::{HoldGateway, HoldTokens};
use atcr_registry::manifest::Manifests;
use atcr_server::{KeyedLocks, Shutdown};

pub use self::deletion::PlannedRemoval;
pub use self::holds::{
    CheckedHold, Export, HoldAnswer, HoldChoice, HoldRefusal, HoldsOfAccount, Storage, Usage,
};
pub use self::page::{MAX_TEXT, OwnText, Saved};
use self::ports::{DeletionStore, OwnRecords};
use crate::browse::Browse;

/// What [`Manage`] works with.
pub struct ManageParts {
    /// Who may do what.
    pub browse: Arc<Browse>,
    /// Manifests and tags.
    pub manifests: Arc<Manifests>,
    /// Where records are written.
    pub records: Arc<dyn AccountRecords>,
    /// What else is read of owners' records.
    pub own: Arc<dyn OwnRecords>,
    /// Deletions that can be undone.
    pub deletions: Arc<dyn DeletionStore>,
    /// What accounts have decided.
    pub settings: Arc<dyn AccountSettings>,
    /// Which hold pushes go to, and where holds are.
    pub holds: Arc<HoldDiscovery>,
    /// Tokens for holds.
    pub tokens: Arc<dyn HoldTokens>,
    /// The holds themselves.
    pub gateway: Arc<dyn HoldGateway>,
    /// The hold of accounts that chose none.
    pub default_hold: Option<Did>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Runs the tasks that outlive their request, and waits for them at shutdown.
    pub tasks: Shutdown,
}

/// Changes by owners.
pub struct Manage {
    browse: Arc<Browse>,
    manifests: Arc<Manifests>,
    records: Arc<dyn AccountRecords>,
    own: Arc<dyn OwnRecords>,
    deletions: Arc<dyn DeletionStore>,
    settings: Arc<dyn AccountSettings>,
    holds: Arc<HoldDiscovery>,
    access: HoldAccess,
    gateway: Arc<dyn HoldGateway>,
    default_hold: Option<Did>,
    clock: Arc<dyn Clock>,
    /// Memory for holds' answers in exports, a quarter for one account.
    exports: SharedBudget,
    /// Memory for deletions.
    memory: SharedBudget,
    /// Deletions that are being made, finished or undone, by their names.
    under_way: KeyedLocks<String>,
    tasks: Shutdown,
}

impl Manage {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: ManageParts) -> Self {
        Self {
            browse: parts.browse,
            manifests: parts.manifests,
            records: parts.records,
            own: parts.own,
            deletions: parts.deletions,
            settings: parts.settings,
            holds: parts.holds,
            access: HoldAccess::new(parts.tokens),
            gateway: parts.gateway,
            default_hold: parts.default_hold,
            clock: parts.clock,
            exports: SharedBudget::new(4 * holds::EXPORT_BYTES),
            memory: SharedBudget::new(deletion::MEMORY),
            under_way: KeyedLocks::default(),
            tasks: parts.tasks,
        }
    }
}

impl std::fmt::Debug for Manage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manage").finish_non_exhaustive()
    }
}
