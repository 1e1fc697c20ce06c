//! A network that belongs to a command: a line for each part, and nothing runs on when the command is over.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use atcr_test_support::network::{Network, NetworkFile, NetworkOptions, Part};
use atcr_test_support::tools::Workspace;

use crate::interrupt::Interrupt;
use crate::progress::Step;

/// `folder`, without what an earlier run left in it.
pub(crate) fn fresh_state(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(folder.to_owned())
}

/// Starts every part, with a line for each. If one fails or the signal comes, what was started is stopped.
pub(crate) async fn start(
    workspace: &Workspace,
    options: NetworkOptions,
    interrupt: &Interrupt,
) -> Result<Network> {
    let mut network = Network::prepare(workspace, options)?;
    let mut step = None;
    let mut progress = |part: Part, is_ready: bool| {
        if !is_ready {
            step = Some(Step::begin(part.name()));
        } else if let Some(step) = step.take() {
            Step::done(step);
        }
    };
    match interrupt.or(network.start_parts(&mut progress)).await {
        Ok(()) => Ok(network),
        Err(error) => {
            drop(step);
            let stopped = stop(network).await;
            // Why it did not start is what matters; that a part had to be killed comes on top.
            match stopped {
                Ok(()) => Err(error),
                Err(stopping) => Err(error.context(format!("{stopping:#}"))),
            }
        }
    }
}

/// Stops every part, and says so.
pub(crate) async fn stop(network: Network) -> Result<()> {
    let step = Step::begin("stopping");
    network.stop_all().await?;
    step.done();
    Ok(())
}

/// Starts a network, does `work` with it, and stops it, whatever came of the work.
pub(crate) async fn with_network<T>(
    workspace: &Workspace,
    options: NetworkOptions,
    interrupt: &Interrupt,
    work: impl AsyncFnOnce(&NetworkFile) -> Result<T>,
) -> Result<T> {
    let network = start(workspace, options, interrupt).await?;
    let outcome = interrupt.or(work(network.file())).await;
    let stopped = stop(network).await;
    let value = outcome?;
    stopped.map(|()| value)
}
