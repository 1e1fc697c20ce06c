//! What a command needs before it can run: whether it is there, how long it takes to install, and how it is installed.

use std::time::Duration;

use anyhow::Result;

use super::debian::{install_packages, missing_commands, packages_of};
use super::golang::install_go_tool;
use super::node::{are_network_packages_installed, require_network_packages};
use super::rust::install_cargo_tool;
use super::{CargoTool, GoTool, Note, Workspace};

/// Something that is installed once.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Commands, which Debian packages bring.
    Commands(&'static [&'static str]),
    /// The reference PDS and the PLC directory, from npm.
    NetworkPackages,
    /// A Go program.
    Go(GoTool),
    /// A Rust program.
    Cargo(CargoTool),
}

impl Need {
    /// Whether nothing has to be installed.
    #[must_use]
    pub fn is_met(self, workspace: &Workspace) -> bool {
        match self {
            Self::Commands(commands) => missing_commands(commands).is_empty(),
            Self::NetworkPackages => are_network_packages_installed(workspace),
            Self::Go(tool) => tool.path(workspace).is_file(),
            Self::Cargo(tool) => tool.path(workspace).is_file(),
        }
    }

    /// What would be installed, as a person calls it.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Commands(commands) => {
                format!(
                    "Debian packages: {}",
                    packages_of(&missing_commands(commands)).join(", ")
                )
            }
            Self::NetworkPackages => "the reference PDS and PLC directory, from npm".to_owned(),
            Self::Go(tool) => format!("{} {}", tool.name, tool.version),
            Self::Cargo(tool) => format!("{} {}", tool.name, tool.version),
        }
    }

    /// About how long the installation takes on two cores.
    #[must_use]
    pub fn estimate(self) -> Duration {
        match self {
            Self::Commands(_) => Duration::from_mins(1),
            Self::NetworkPackages => Duration::from_mins(3),
            Self::Go(tool) => tool.estimate,
            Self::Cargo(tool) => tool.estimate,
        }
    }

    /// Installs what is missing; nothing happens if nothing is.
    ///
    /// # Errors
    /// One sentence that says what failed and what to do by hand.
    pub fn install(self, workspace: &Workspace, note: Note<'_>) -> Result<()> {
        match self {
            Self::Commands(commands) => install_packages(commands, note),
            Self::NetworkPackages => require_network_packages(workspace, note),
            Self::Go(tool) => install_go_tool(workspace, tool, note),
            Self::Cargo(tool) => install_cargo_tool(workspace, tool, note),
        }
    }
}
