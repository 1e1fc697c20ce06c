//! Taking the one program out of an archive. Nothing else in it is unpacked, so no path in it matters.

use std::io::{self, Cursor, Read};

use flate2::read::GzDecoder;

use super::ReleaseError;

/// Largest archive, in bytes.
pub const MAX_ARCHIVE: u64 = 64 * 1024 * 1024;
/// Largest program, in bytes: an archive that unpacks to more is a bomb.
const MAX_PROGRAM: u64 = 256 * 1024 * 1024;

/// The program in `archive`, a `.zip` or a `.tar.gz`, told apart by how it begins.
///
/// # Errors
/// [`ReleaseError::Archive`]
pub fn unpack(archive: &[u8]) -> Result<Vec<u8>, ReleaseError> {
    let program = if archive.starts_with(b"PK") {
        from_zip(archive)
    } else {
        from_tar(archive)
    };
    match program {
        Ok(Some(program)) if !program.is_empty() => Ok(program),
        Ok(_) => Err(ReleaseError::Archive("it does not hold the program".to_owned())),
        Err(error) => Err(ReleaseError::Archive(crate::printer::plain(&error.to_string()))),
    }
}

fn is_program(path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    matches!(name, "docker-credential-atcr" | "docker-credential-atcr.exe")
}

fn from_tar(archive: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive).take(MAX_PROGRAM));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let is_file = entry.header().entry_type().is_file();
        if is_file && is_program(&entry.path()?.to_string_lossy()) {
            let mut program = Vec::new();
            entry.read_to_end(&mut program)?;
            if program.len() as u64 != entry.size() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the program is cut off",
                ));
            }
            return Ok(Some(program));
        }
    }
    Ok(None)
}

fn from_zip(archive: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive))?;
    for index in 0..archive.len() {
        let file = archive.by_index(index)?;
        if file.is_file() && file.name().is_ok_and(|name| is_program(&name)) {
            let mut program = Vec::new();
            file.take(MAX_PROGRAM).read_to_end(&mut program)?;
            return Ok(Some(program));
        }
    }
    Ok(None)
}
