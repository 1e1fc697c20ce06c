//! Which part stands behind which: tools, folders, clients.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::identity::{IdentityResolver, Resolver, ResolverConfig};
use tokio_util::sync::CancellationToken;

use crate::bounds::{ImageBounds, ToolBounds};
use crate::database::Databases;
use crate::image::layer_cache::LayerCache;
use crate::scan::Scanner;
use crate::settings::ScannerSettings;
use crate::tools::confine;
use crate::tools::grype::Grype;
use crate::tools::{Tools, find, identify};
use crate::work::WorkFolder;

/// This program, which confines the tools.
///
/// # Errors
/// If the system does not tell where it is.
pub fn launcher() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

/// The tools that the settings name, started once to see that they run.
///
/// # Errors
/// Which is missing or does not run, and what to do.
pub async fn tools(settings: &ScannerSettings, launcher: PathBuf) -> anyhow::Result<Tools> {
    let folder = tempfile::tempdir().context("cannot make a folder for the tools")?;
    let tool = async |name, path: Option<&PathBuf>| {
        let path = find(name, path.map(PathBuf::as_path)).map_err(anyhow::Error::msg)?;
        anyhow::Ok(identify(&launcher, name, path, folder.path()).await?)
    };
    let syft = tool("syft", settings.syft.as_ref()).await?;
    let grype = match settings.database_folder {
        Some(_) => Some(tool("grype", settings.grype.as_ref()).await?),
        None => None,
    };
    Ok(Tools {
        launcher,
        syft,
        grype,
    })
}

/// The vulnerability databases; `None` when nothing is looked up. When `stop` is cancelled, what is done with them ends.
///
/// # Errors
/// If their folder cannot be used.
pub async fn databases(
    settings: &ScannerSettings,
    tools: &Tools,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<Databases>>> {
    let (Some(folder), Some(grype)) = (&settings.database_folder, &tools.grype) else {
        return Ok(None);
    };
    let grype = Grype {
        launcher: tools.launcher.clone(),
        tool: grype.clone(),
        stop: stop.clone(),
    };
    let databases = Databases::open(folder, grype)
        .await
        .context("SCANNER_VULN_DB_PATH")?;
    Ok(Some(Arc::new(databases)))
}

/// What scans, working in the settings' own folder.
///
/// # Errors
/// What kept it from starting, for the operator to read.
pub async fn scanner(settings: &ScannerSettings, stop: &CancellationToken) -> anyhow::Result<Scanner> {
    let work = WorkFolder::open(&settings.work_folder).context("SCANNER_TMP_DIR")?;
    scanner_in(settings, work, settings.layer_cache_bytes, stop).await
}

/// What scans, working in `work`.
///
/// # Errors
/// As [`scanner`].
pub async fn scanner_in(
    settings: &ScannerSettings,
    work: WorkFolder,
    layer_cache_bytes: u64,
    stop: &CancellationToken,
) -> anyhow::Result<Scanner> {
    let launcher = launcher()?;
    let probed = confine::probed(&launcher)
        .await
        .context("tools cannot be confined here")?;
    probed
        .allows_tools(settings.allow_open_paths)
        .map_err(anyhow::Error::msg)?;
    if probed.paths == "not" {
        tracing::warn!(
            "this kernel cannot keep tools to their paths: an image may read and change what this user may"
        );
    }
    let tools = tools(settings, launcher).await?;
    let databases = databases(settings, &tools, stop).await?;
    Ok(Scanner {
        cache: LayerCache::open(work.layers().to_owned(), layer_cache_bytes).context("SCANNER_TMP_DIR")?,
        work,
        tools,
        databases,
        image_bounds: ImageBounds {
            unpacked_bytes: settings.unpacked_bytes,
            ..ImageBounds::default()
        },
        tool_bounds: ToolBounds::within(settings.job_timeout, settings.tool_memory_bytes),
        time: settings.job_timeout,
    })
}

/// The client for hosts that others name.
///
/// # Errors
/// If it cannot be built.
pub fn egress(settings: &ScannerSettings) -> anyhow::Result<EgressClient> {
    Ok(EgressClient::new(EgressPolicy::of_server(settings.test_mode))?)
}

/// Finds accounts.
///
/// # Errors
/// If a client cannot be built.
pub fn resolver(
    settings: &ScannerSettings,
    egress: EgressClient,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn IdentityResolver>> {
    let mut config = ResolverConfig::new(settings.plc_directory.clone());
    config.handle_resolver.clone_from(&settings.handle_resolver);
    config.allow_loopback = settings.test_mode;
    Ok(Arc::new(Resolver::new(config, egress, Arc::clone(clock))?))
}
