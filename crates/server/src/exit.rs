//! How a server's program runs and ends: a runtime that no stuck file keeps alive, an exit code, and on failure one line on
//! standard error.

use std::error::Error;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

/// How long calls that block (files, databases) may go on after the program has ended. The system ends those that are left;
/// everything on the disk survives that.
const LINGER: Duration = Duration::from_secs(1);

/// Runs `program` on a runtime of its own. When it ends, calls that block do not keep the process alive.
///
/// # Errors
/// The program's own; the system's, if there is no runtime to be had.
pub fn run_to_end(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(program);
    runtime.shutdown_timeout(LINGER);
    outcome
}

/// The exit code of `outcome`. A failure is written to standard error, since logging may not be set up yet.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is gone too, no one reads this.
            let _ = writeln!(std::io::stderr(), "error: {}", sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The text of an error and of its causes. A cause whose text is already there, because the error includes it, is left out.
#[must_use]
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io;

    use super::sentence;

    /// An error that names its cause in its own text, and as its source.
    #[derive(Debug)]
    struct Named(io::Error);

    impl fmt::Display for Named {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "key file signing.key: {}", self.0)
        }
    }

    impl std::error::Error for Named {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_cause_that_an_error_names_itself_is_said_once() {
        let error = anyhow::Error::new(Named(io::Error::from_raw_os_error(2))).context("cannot start");
        assert_eq!(
            sentence(error.as_ref()),
            "cannot start: key file signing.key: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn every_other_cause_is_said() {
        let error = anyhow::anyhow!("refused").context("cannot connect");
        assert_eq!(sentence(error.as_ref()), "cannot connect: refused");
    }
}
