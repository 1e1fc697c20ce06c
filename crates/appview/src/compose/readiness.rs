//! What readiness asks: the databases, the listings, the index, the room on the disks. PDSes and holds are many and not ours: they do not count.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_registry::account::Accounts;
use atcr_server::Shutdown;
use atcr_server::disk_space::{DataFolder, DiskSpace};
use atcr_server::health::{self, Figures, Part, Readiness, Reason};

use crate::adapters::sqlite::Databases;
use crate::settings::AppViewSettings;

/// The parts that have to work before this server counts as ready.
pub(super) fn of(
    settings: &AppViewSettings,
    databases: &Databases,
    accounts: &Arc<Accounts>,
    index: Box<dyn Part>,
    shutdown: Shutdown,
) -> Readiness {
    let parts: Vec<Box<dyn Part>> = vec![
        Box::new(DatabasesPart(databases.clone())),
        Box::new(ListingsPart(Arc::clone(accounts))),
        index,
        Box::new(disk_space(settings)),
    ];
    Readiness::new(parts, shutdown, health::FRESH_FOR)
}

#[derive(Debug)]
struct DatabasesPart(Databases);

#[async_trait]
impl Part for DatabasesPart {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.0.check().await?;
        Ok(Figures::new())
    }
}

/// Never fails: an account that is not listed yet is listed when it is asked for.
#[derive(Debug)]
struct ListingsPart(Arc<Accounts>);

#[async_trait]
impl Part for ListingsPart {
    fn name(&self) -> &'static str {
        "listings"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        Ok(Figures::from([(
            "accounts_being_listed",
            u64::try_from(self.0.being_listed()).unwrap_or(u64::MAX),
        )]))
    }
}

/// The folders of the databases, of unfinished uploads and of the keys.
fn disk_space(settings: &AppViewSettings) -> DiskSpace {
    let folder = |name, path: &std::path::Path| DataFolder {
        name,
        path: path.to_owned(),
    };
    let paths = &settings.paths;
    let folders = vec![
        folder("data", &paths.data),
        folder("database", &paths.database),
        folder("spool", &paths.spool),
    ];
    DiskSpace::new(folders, settings.free_disk_bytes)
}
