//! Docker's `config.json`: making it name this helper for a registry, and undoing that.
//!
//! The file belongs to the user and to many tools. Only `credHelpers[<host>]` is touched; spans found in the parsed text
//! are cut and spliced, so that every other byte stays as it is.

mod difference;
mod edit;
mod spans;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use difference::show;
pub use edit::{EditError, Edited, Made, get, set, unset};

use crate::environment::Environment;
use crate::file::{self, Access, FileError};

/// The value of `credHelpers[<host>]`: Docker puts `docker-credential-` before it.
pub const HELPER: &str = "atcr";
/// What is needed for `--undo`, beside the file of accounts.
const UNDO_FILE: &str = "docker-config-undo.json";

/// Docker's configuration could not be changed.
#[derive(Debug, Error)]
pub enum DockerConfigError {
    /// There is no home folder to look in.
    #[error("there is no home folder")]
    NoHome,
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not one that can be edited safely.
    #[error("{} is left alone", path.display())]
    Edit {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: EditError,
    },
    /// Another program wrote it between reading and writing.
    #[error("another program has just changed {}", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The notes for `--undo` are broken.
    #[error("cannot use {}", path.display())]
    Undo {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// A `config.json` of Docker, or a file of the same shape such as Podman's `auth.json`.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    path: PathBuf,
    undo_path: PathBuf,
}

/// A change that is worked out but not written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The text now; `None` when there is no file.
    pub before: Option<String>,
    /// The text to be; `None` when the file is to go.
    pub after: Option<String>,
    /// Hosts of which there was nothing left to undo: their entry is gone, or names another program.
    pub not_ours: Vec<String>,
    /// The notes for `--undo` as they are to be; `None` if they stay.
    undo: Option<UndoNotes>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before == self.after
    }
}

/// By file: what `--undo` has to know.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct UndoNotes {
    files: BTreeMap<PathBuf, FileNotes>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct FileNotes {
    made: Made,
    /// By host: the text of the value that stood there before.
    hosts: BTreeMap<String, Option<String>>,
}

impl DockerConfig {
    /// The file that the environment names: `config.json` in `DOCKER_CONFIG`, else in `~/.docker`. Notes for undoing
    /// go to `state_folder`.
    ///
    /// # Errors
    /// [`DockerConfigError::NoHome`]
    pub fn locate(environment: &Environment, state_folder: &Path) -> Result<Self, DockerConfigError> {
        let folder = match (&environment.docker_config, &environment.home) {
            (Some(folder), _) => folder.clone(),
            (None, Some(home)) => home.join(".docker"),
            (None, None) => return Err(DockerConfigError::NoHome),
        };
        Ok(Self::at(folder.join("config.json"), state_folder))
    }

    /// The file at `path`.
    #[must_use]
    pub fn at(path: PathBuf, state_folder: &Path) -> Self {
        Self {
            path: std::path::absolute(&path).unwrap_or(path),
            undo_path: state_folder.join(UNDO_FILE),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file names this helper for `host`. A file that cannot be read names no helper.
    #[must_use]
    pub fn is_configured(&self, host: &str) -> bool {
        let text = file::read_if_exists(&self.path).ok().flatten();
        text.and_then(|text| get(&text, host)).as_deref() == Some(HELPER)
    }

    /// Works out how to name this helper for `hosts`.
    ///
    /// # Errors
    /// [`DockerConfigError`]
    pub fn plan(&self, hosts: &[String]) -> Result<Plan, DockerConfigError> {
        let before = file::read_if_exists(&self.path)?;
        let mut undo = self.read_undo()?;
        let mut after = before.clone();
        let mut is_noted = false;
        for host in hosts {
            if after.as_deref().and_then(|text| get(text, host)).as_deref() == Some(HELPER) {
                continue;
            }
            let edited = set(after.as_deref(), host, HELPER).map_err(|source| self.edit_error(source))?;
            let notes = undo.files.entry(self.path.clone()).or_default();
            if edited.made != Made::Nothing {
                notes.made = edited.made;
            }
            notes.hosts.insert(host.clone(), edited.previous);
            is_noted = true;
            after = Some(edited.text);
        }
        Ok(Plan {
            before,
            after,
            not_ours: Vec::new(),
            undo: is_noted.then_some(undo),
        })
    }

    /// Works out how to take `hosts` out again; all that were ever put in, if none is named. Of all, those are forgotten
    /// whose entry is gone or names another program.
    ///
    /// # Errors
    /// [`DockerConfigError`]; a named host's entry that is gone or names another program is left alone and said.
    pub fn plan_undo(&self, hosts: &[String]) -> Result<Plan, DockerConfigError> {
        let before = file::read_if_exists(&self.path)?;
        let mut undo = self.read_undo()?;
        let mut notes = undo.files.remove(&self.path).unwrap_or_default();
        let was_noted = !notes.hosts.is_empty();
        let (ours, not_ours) = if hosts.is_empty() {
            self.split_by_owner(before.as_deref(), notes.hosts.keys().rev())?
        } else {
            (hosts.to_vec(), Vec::new())
        };
        for host in &not_ours {
            notes.hosts.remove(host);
        }
        let mut after = before.clone();
        for host in &ours {
            let previous = notes.hosts.remove(host).flatten();
            let Some(text) = after else { continue };
            // Only the last entry takes along what was made for the first.
            let made = if notes.hosts.is_empty() {
                notes.made.clone()
            } else {
                Made::Nothing
            };
            after = unset(&text, host, HELPER, previous.as_deref(), &made)
                .map_err(|source| self.edit_error(source))?;
        }
        if !notes.hosts.is_empty() {
            undo.files.insert(self.path.clone(), notes);
        }
        Ok(Plan {
            before,
            after,
            not_ours,
            undo: was_noted.then_some(undo),
        })
    }

    /// Which of `hosts` have an entry of ours in `text`, and which have none.
    fn split_by_owner<'a>(
        &self,
        text: Option<&str>,
        hosts: impl Iterator<Item = &'a String>,
    ) -> Result<(Vec<String>, Vec<String>), DockerConfigError> {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for host in hosts {
            let taken_out = text.map(|text| unset(text, host, HELPER, None, &Made::Nothing));
            match taken_out {
                Some(Ok(_)) => ours.push(host.clone()),
                None | Some(Err(EditError::NoEntry(_))) => others.push(host.clone()),
                Some(Err(source)) => return Err(self.edit_error(source)),
            }
        }
        Ok((ours, others))
    }

    /// Writes a plan, unless the file changed since. A plan that changes no text may still change the notes for `--undo`.
    ///
    /// # Errors
    /// [`DockerConfigError`]
    pub fn apply(&self, plan: &Plan) -> Result<(), DockerConfigError> {
        if file::read_if_exists(&self.path)? != plan.before {
            return Err(DockerConfigError::Changed {
                path: self.path.clone(),
            });
        }
        // The notes first: without them an entry could not be undone, without an entry they do no harm.
        if let Some(undo) = &plan.undo {
            self.write_undo(undo)?;
        }
        if plan.is_empty() {
            return Ok(());
        }
        match &plan.after {
            Some(text) => {
                if let Some(folder) = self.path.parent() {
                    file::ensure_folder(folder)?;
                }
                file::replace(&self.path, text.as_bytes(), Access::Kept)?;
            }
            None if plan.before.is_some() => {
                std::fs::remove_file(&self.path).map_err(FileError::new("remove", &self.path))?;
            }
            None => {}
        }
        Ok(())
    }

    fn read_undo(&self) -> Result<UndoNotes, DockerConfigError> {
        let Some(text) = file::read_if_exists(&self.undo_path)? else {
            return Ok(UndoNotes::default());
        };
        serde_json::from_str(&text).map_err(|source| DockerConfigError::Undo {
            path: self.undo_path.clone(),
            source,
        })
    }

    fn write_undo(&self, notes: &UndoNotes) -> Result<(), DockerConfigError> {
        if let Some(folder) = self.undo_path.parent() {
            file::ensure_folder(folder)?;
        }
        let text = serde_json::to_string_pretty(notes).map_err(|source| DockerConfigError::Undo {
            path: self.undo_path.clone(),
            source,
        })?;
        file::replace(&self.undo_path, text.as_bytes(), Access::Owner)?;
        Ok(())
    }

    fn edit_error(&self, source: EditError) -> DockerConfigError {
        DockerConfigError::Edit {
            path: self.path.clone(),
            source,
        }
    }
}
