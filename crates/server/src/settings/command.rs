//! `config init` and `config check`, which every server has.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::{LoadOptions, Loaded, Settings, commented_yaml, load};
use crate::private_files::write_private_file;

/// Work with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a commented configuration with every default
    Init {
        /// Where to write it; standard output when left out
        file: Option<PathBuf>,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
    },
    /// Say everything that is wrong with a configuration
    Check {
        /// Configuration file; without one, defaults and the environment
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

impl ConfigCommand {
    /// Does what the command says with the settings `T`. `to_set` names the keys that have no usable default, for the person who just
    /// had a file written.
    ///
    /// # Errors
    /// For the terminal: a file that cannot be written or read, or everything that is wrong with the configuration.
    pub fn run<T: Settings>(self, to_set: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        match self {
            Self::Init { file: None, .. } => out.write_all(commented_yaml::<T>()?.as_bytes())?,
            Self::Init {
                file: Some(path),
                force,
            } => {
                // It may come to hold secrets.
                let written = write_private_file(&path, &commented_yaml::<T>()?, force);
                if let Err(error) = &written
                    && error.kind() == ErrorKind::AlreadyExists
                {
                    bail!("{} exists; --force overwrites it", path.display());
                }
                written.with_context(|| format!("cannot write {}", path.display()))?;
                writeln!(out, "wrote {}; set {to_set} in it", path.display())?;
            }
            Self::Check { config } => {
                let Loaded { warnings, .. } = load::<T>(&LoadOptions::from_process(config))?;
                for warning in warnings {
                    writeln!(out, "warning: {warning}")?;
                }
                writeln!(out, "the configuration is valid")?;
            }
        }
        Ok(())
    }
}
