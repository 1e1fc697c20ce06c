//! Runs the programs that install things, and reads from their output how far they are.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, Result, bail};

/// How many lines of a command's output an error shows.
const FAILURE_LINES: usize = 4;

/// How many of the last lines of standard error are kept for that error.
const LINES_KEPT: usize = 400;

/// Receives how far an installation is, such as `crate 12 of 590`.
pub type Note<'a> = &'a (dyn Fn(&str) + Sync);

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

/// What a command printed: all of its standard output, and the last lines of both streams.
#[derive(Debug)]
pub struct Printed {
    /// Whether the command exited with 0.
    pub success: bool,
    /// Standard output.
    pub output: Vec<u8>,
    /// The last lines, the oldest first. Progress bars are not among them.
    pub lines: Vec<String>,
}

/// Runs `command` to its end. `progress` is given each line of both streams, and what a progress bar draws; what it returns goes
/// to `note`.
///
/// # Errors
/// If the command cannot be started.
pub fn watch(
    command: &mut Command,
    note: Note<'_>,
    progress: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Printed> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (sender, lines) = mpsc::channel();
    let streams: [(Stream, Option<Box<dyn Read + Send>>); 2] = [
        (
            Stream::Output,
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
        ),
        (Stream::Error, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
    ];
    for (stream, pipe) in streams {
        let sender = sender.clone();
        if let Some(pipe) = pipe {
            std::thread::spawn(move || read_lines(stream, pipe, &sender));
        }
    }
    drop(sender);
    let mut output = Vec::new();
    let mut kept = VecDeque::new();
    for (stream, bytes) in lines {
        if stream == Stream::Output {
            output.extend_from_slice(&bytes);
        }
        // A progress bar overwrites its own line.
        for text in String::from_utf8_lossy(&bytes).split(['\r', '\n']) {
            let text = without_escapes(text);
            if text.trim().is_empty() {
                continue;
            }
            if let Some(state) = progress(&text) {
                note(&state);
            }
            if bytes.ends_with(b"\n") {
                kept.push_back(text);
                if kept.len() > LINES_KEPT {
                    kept.pop_front();
                }
            }
        }
    }
    let status = child
        .wait()
        .context("cannot wait for a program that was started")?;
    Ok(Printed {
        success: status.success(),
        output,
        lines: kept.into(),
    })
}

/// Sends what `pipe` brings, cut after each line feed and each carriage return.
fn read_lines(stream: Stream, pipe: Box<dyn Read + Send>, sender: &mpsc::Sender<(Stream, Vec<u8>)>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let (taken, is_whole) = match pipe.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(buffer) => match buffer.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
                Some(end) => {
                    line.extend_from_slice(&buffer[..=end]);
                    (end + 1, true)
                }
                None => {
                    line.extend_from_slice(buffer);
                    (buffer.len(), false)
                }
            },
        };
        pipe.consume(taken);
        if is_whole && sender.send((stream, std::mem::take(&mut line))).is_err() {
            return;
        }
    }
    if !line.is_empty() {
        let _ = sender.send((stream, line));
    }
}

/// `text` without the sequences with which a terminal is told colours and erasures.
fn without_escapes(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, sequence)) = rest.split_once('\x1b') {
        plain.push_str(before);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain + rest
}

/// Runs `command`, whose output does not say how far it is, and returns its standard output.
pub(super) fn run(command: &mut Command, what: &str) -> Result<Vec<u8>> {
    run_noting(command, what, &|_| {}, &mut |_| None)
}

/// Runs `command` and returns its standard output; if it fails, the error has the command to run by hand and the last lines.
pub(super) fn run_noting(
    command: &mut Command,
    what: &str,
    note: Note<'_>,
    progress: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Vec<u8>> {
    let printed = watch(command, note, progress)?;
    if !printed.success {
        let mut by_hand = command.get_program().to_string_lossy().into_owned();
        for argument in command.get_args() {
            by_hand = format!("{by_hand} {}", argument.display());
        }
        let lines = printed.lines;
        let tail = lines[lines.len().saturating_sub(FAILURE_LINES)..].join("\n  ");
        bail!("{what} failed; `{by_hand}` shows why:\n  {tail}");
    }
    Ok(printed.output)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Mutex;

    use super::{watch, without_escapes};

    #[test]
    fn what_a_progress_bar_draws_is_seen_while_it_is_drawn_and_is_no_line_of_an_error() {
        let seen = Mutex::new(Vec::new());
        let note = |state: &str| seen.lock().expect("not poisoned").push(state.to_owned());
        let printed = watch(
            Command::new("sh").args([
                "-c",
                r"printf '1/3\r2/3\r\033[K3/3\nwarning: done\n' >&2; printf '{}'; exit 1",
            ]),
            &note,
            &mut |text| text.contains('/').then(|| text.to_owned()),
        )
        .expect("sh runs");
        assert_eq!(*seen.lock().expect("not poisoned"), ["1/3", "2/3", "3/3"]);
        assert!(!printed.success);
        assert_eq!(printed.output, b"{}");
        assert_eq!(printed.lines, ["3/3", "warning: done"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_named_once_with_its_reason_once() {
        let error = watch(&mut Command::new("/no/such/program"), &|_| {}, &mut |_| None)
            .expect_err("there is no such program");
        let text = format!("{error:#}");
        assert_eq!(text.matches("os error 2").count(), 1, "{text}");
        assert!(text.starts_with("cannot start /no/such/program: "), "{text}");
    }

    #[test]
    fn colours_and_erasures_are_taken_away() {
        assert_eq!(
            without_escapes("\x1b[1m\x1b[32m  Building\x1b[0m [=>\x1b[K"),
            "  Building [=>"
        );
        assert_eq!(without_escapes("\x1b["), "");
    }
}
