//! The file beside an upload's bytes that says which parts are finished, so that an upload outlives the process.
//!
//! ```text
//! upload <algorithm> <boot id>                   the first line
//! part <number> <end> <tag> <hash state>         part <number> is whole and ends at byte <end>
//! void <number>                                  part <number> is being sent again: what was there is overwritten
//! ```
//! Lines are only appended. An unfinished last line (after a crash) is ignored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use atcr_oci::{Algorithm, DigestHasher};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Where a finished part ends, and its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FinishedPart {
    pub(super) end: u64,
    pub(super) tag: PartTagBytes,
}

/// The beginning of the hash of everything up to the part's end: it names all bytes so far.
pub(super) type PartTagBytes = [u8; 16];

/// The log of one upload.
#[derive(Debug)]
pub(super) struct PartsLog {
    path: PathBuf,
}

/// What a log says.
#[derive(Debug)]
pub(super) struct Replayed {
    /// Part 1 first.
    pub(super) parts: Vec<FinishedPart>,
    /// The hash state at the end of the last part.
    pub(super) at_end: DigestHasher,
    /// The hash state at the beginning of the last part.
    pub(super) before_last: Option<DigestHasher>,
    /// No power failure can have come between the hashing and now.
    pub(super) same_boot: bool,
}

impl PartsLog {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn create(&self, algorithm: Algorithm, boot: &str) -> io::Result<()> {
        File::create_new(&self.path)?.write_all(format!("upload {algorithm} {boot}\n").as_bytes())
    }

    pub(super) fn add_part(
        &self,
        number: usize,
        part: FinishedPart,
        hasher: &DigestHasher,
    ) -> io::Result<()> {
        let tag = data_encoding::HEXLOWER.encode(&part.tag);
        let state = STANDARD_NO_PAD.encode(hasher.save());
        self.append(&format!("part {number} {} {tag} {state}\n", part.end))
    }

    pub(super) fn void_part(&self, number: usize) -> io::Result<()> {
        self.append(&format!("void {number}\n"))
    }

    /// Makes the upload unusable, also for the next process.
    pub(super) fn destroy(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn append(&self, line: &str) -> io::Result<()> {
        OpenOptions::new()
            .append(true)
            .open(&self.path)?
            .write_all(line.as_bytes())
    }

    pub(super) fn replay(&self, boot: &str) -> io::Result<Replayed> {
        let text = read_whole_lines(&self.path)?;
        replay(&text, boot)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "an upload's file of parts is damaged"))
    }
}

fn read_whole_lines(path: &Path) -> io::Result<String> {
    let mut text = fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    if whole < text.len() {
        // Or the next line would be appended to the torn one.
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(u64::try_from(whole).map_err(io::Error::other)?)?;
        text.truncate(whole);
    }
    Ok(text)
}

fn replay(text: &str, boot: &str) -> Option<Replayed> {
    let mut lines = text.lines();
    let mut header = lines.next()?.split(' ');
    let (Some("upload"), Some(algorithm), Some(written_in)) = (header.next(), header.next(), header.next())
    else {
        return None;
    };
    let mut parts: Vec<FinishedPart> = Vec::new();
    let mut states: Vec<&str> = Vec::new();
    for line in lines {
        let mut fields = line.split(' ');
        let kind = fields.next()?;
        let number: usize = fields.next()?.parse().ok()?;
        parts.truncate(number.checked_sub(1)?);
        states.truncate(parts.len());
        match kind {
            "void" => {}
            "part" if parts.len() + 1 == number => {
                let end = fields.next()?.parse().ok()?;
                let tag = data_encoding::HEXLOWER.decode(fields.next()?.as_bytes()).ok()?;
                parts.push(FinishedPart {
                    end,
                    tag: tag.try_into().ok()?,
                });
                states.push(fields.next()?);
            }
            _ => return None,
        }
    }
    let restore = |state: &&str| DigestHasher::restore(&STANDARD_NO_PAD.decode(state).ok()?).ok();
    let empty = || Some(DigestHasher::new(algorithm.parse().ok()?));
    let mut latest = states.iter().rev();
    let at_end = match latest.next() {
        Some(state) => restore(state)?,
        None => empty()?,
    };
    let before_last = match (latest.next(), states.len()) {
        (Some(state), _) => Some(restore(state)?),
        (None, 1) => Some(empty()?),
        (None, _) => None,
    };
    // A line that parses but does not fit its hash state is damage, too.
    if at_end.len() != parts.last().map_or(0, |part| part.end) {
        return None;
    }
    Some(Replayed {
        parts,
        at_end,
        before_last,
        same_boot: written_in == boot,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path) -> PartsLog {
        let log = PartsLog::at(folder.join("parts"));
        log.create(Algorithm::Sha256, "boot-1").unwrap();
        log
    }

    fn part(end: u64, tag: u8) -> FinishedPart {
        FinishedPart { end, tag: [tag; 16] }
    }

    fn hasher_of(bytes: &[u8]) -> DigestHasher {
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher
    }

    #[test]
    fn parts_come_back_with_the_hash_state_at_both_ends_of_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        log.add_part(1, part(2, 1), &hasher_of(b"ab")).unwrap();
        log.add_part(2, part(5, 2), &hasher_of(b"abcde")).unwrap();
        let replayed = log.replay("boot-1").unwrap();
        assert_eq!(replayed.parts, [part(2, 1), part(5, 2)]);
        assert_eq!(replayed.at_end.finish(), hasher_of(b"abcde").finish());
        assert_eq!(replayed.before_last.unwrap().finish(), hasher_of(b"ab").finish());
        assert!(replayed.same_boot);
        assert!(!log.replay("boot-2").unwrap().same_boot);
    }

    #[test]
    fn a_part_sent_again_replaces_the_former() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        log.add_part(1, part(2, 1), &hasher_of(b"ab")).unwrap();
        log.void_part(1).unwrap();
        let replayed = log.replay("boot-1").unwrap();
        assert!(replayed.parts.is_empty() && replayed.before_last.is_none());
        log.add_part(1, part(1, 3), &hasher_of(b"x")).unwrap();
        let replayed = log.replay("boot-1").unwrap();
        assert_eq!(replayed.parts, [part(1, 3)]);
        assert_eq!(replayed.before_last.unwrap().len(), 0);
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        log.add_part(1, part(2, 1), &hasher_of(b"ab")).unwrap();
        log.append("part 2 7").unwrap();
        assert_eq!(log.replay("boot-1").unwrap().parts, [part(2, 1)]);
        log.add_part(2, part(3, 2), &hasher_of(b"abc")).unwrap();
        assert_eq!(log.replay("boot-1").unwrap().parts.len(), 2);
    }

    #[test]
    fn a_damaged_log_is_refused() {
        for damage in [
            "part 3 9 00 AA\n",
            "part 0 9 00 AA\n",
            "what 1\n",
            "part 2 99 ff AA\n",
            "\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let log = log(folder.path());
            log.add_part(1, part(2, 1), &hasher_of(b"ab")).unwrap();
            log.append(damage).unwrap();
            let error = log.replay("boot-1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{damage:?}");
        }
    }
}
