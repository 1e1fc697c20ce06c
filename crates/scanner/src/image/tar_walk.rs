//! Counts the entries of a tar stream without unpacking anything.
//!
//! Extended headers are read within a bound and everything else is passed over, so that no entry can make the walk take memory.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::bounds::ImageBounds;
use crate::error::ScanError;

/// Longest extended header that is read: some hundred attributes, and a path beyond the bound.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;

const BLOCK: usize = 512;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// How many.
    pub count: u64,
    /// Bytes of the largest.
    pub largest_bytes: u64,
}

/// Walks through `archive`; refuses more than `entries_left` entries and paths beyond the bound.
///
/// # Errors
/// `TooLarge`; `MediaType` if it is no tar archive; what `archive` itself fails with.
pub fn walk(archive: &mut impl Read, entries_left: u64, bounds: &ImageBounds) -> Result<Entries, ScanError> {
    let mut found = Entries::default();
    let mut extended_size = None;
    // Whether the name that comes before an entry ends like that of a folder.
    let mut is_named_as_folder = None;
    while let Some(header) = next_header(archive)? {
        let kind = header.entry_type();
        let size = header
            .entry_size()
            .map_err(|_| no_archive("an entry has no size"))?;
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                if size > bounds.path_bytes as u64 + 1 {
                    return Err(path_too_long(bounds));
                }
                let name = read_extension(archive, size)?;
                if kind == EntryType::GNULongName {
                    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                    is_named_as_folder = Some(name.ends_with(b"/"));
                }
                continue;
            }
            EntryType::XHeader => {
                let pax = read_extension(archive, size)?;
                let extended = check_extensions(&pax, bounds)?;
                extended_size = extended.size;
                is_named_as_folder = extended.is_named_as_folder.or(is_named_as_folder);
                continue;
            }
            EntryType::XGlobalHeader => {
                read_extension(archive, size)?;
                continue;
            }
            _ => {}
        }
        if kind == EntryType::GNUSparse {
            skip_sparse_maps(archive, &header)?;
        }
        let size = extended_size.take().unwrap_or(size);
        let ends_as_folder = is_named_as_folder
            .take()
            .unwrap_or_else(|| header.path_bytes().ends_with(b"/"));
        if size > 0 && ends_as_folder && header.as_old().linkflag[0] == 0 {
            // An old form of a folder, whose content Go takes for the next header and others skip.
            return Err(no_archive("a folder has content"));
        }
        found.count += 1;
        if found.count > entries_left {
            return Err(ScanError::too_large(
                "entries",
                format!("more than {} entries", bounds.entries),
            ));
        }
        found.largest_bytes = found.largest_bytes.max(size);
        if has_content(kind) {
            skip(archive, size)?;
        }
    }
    Ok(found)
}

fn no_archive(why: &str) -> ScanError {
    ScanError::MediaType(format!("a layer is no tar archive: {why}"))
}

fn path_too_long(bounds: &ImageBounds) -> ScanError {
    ScanError::too_large("path", format!("a path of more than {} bytes", bounds.path_bytes))
}

fn broken(error: io::Error) -> ScanError {
    ScanError::from_reader(error, |error| no_archive(&error.to_string()))
}

/// Links, devices and folders have no content, whatever their size says; Go's readers agree.
fn has_content(kind: EntryType) -> bool {
    !matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// The next header; `None` at the end, which two empty blocks or the end of the stream mark.
fn next_header(archive: &mut impl Read) -> Result<Option<Header>, ScanError> {
    let mut header = Header::new_old();
    for _ in 0..2 {
        let block = header.as_mut_bytes();
        if !read_block(archive, block)? {
            return Ok(None);
        }
        if block.iter().any(|byte| *byte != 0) {
            check_sum(&header)?;
            return Ok(Some(header));
        }
    }
    Ok(None)
}

fn check_sum(header: &Header) -> Result<(), ScanError> {
    let bytes = header.as_bytes();
    // Old writers summed up signed bytes.
    let (mut unsigned, mut signed) = (8 * i64::from(b' '), 8 * i64::from(b' '));
    for byte in bytes[..148].iter().chain(&bytes[156..]) {
        unsigned += i64::from(*byte);
        signed += i64::from(byte.cast_signed());
    }
    match header.cksum().map(i64::from) {
        Ok(stated) if stated == unsigned || stated == signed => Ok(()),
        _ => Err(no_archive("a header has the wrong checksum")),
    }
}

/// Fills `block`; false at the end of the stream.
fn read_block(archive: &mut impl Read, block: &mut [u8; BLOCK]) -> Result<bool, ScanError> {
    let mut filled = 0;
    while filled < BLOCK {
        match archive.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(no_archive("it ends within a header")),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(true)
}

/// `size` and the rest of its last block.
fn padded(size: u64) -> Result<u64, ScanError> {
    size.checked_next_multiple_of(BLOCK as u64)
        .ok_or_else(|| no_archive("an entry has an impossible size"))
}

fn skip(archive: &mut impl Read, size: u64) -> Result<(), ScanError> {
    let size = padded(size)?;
    let skipped = io::copy(&mut archive.take(size), &mut io::sink()).map_err(broken)?;
    if skipped < size {
        return Err(no_archive("it ends within an entry"));
    }
    Ok(())
}

fn read_extension(archive: &mut impl Read, size: u64) -> Result<Vec<u8>, ScanError> {
    if size > MAX_EXTENSION_BYTES {
        return Err(ScanError::too_large(
            "header",
            format!("an extended header of more than {MAX_EXTENSION_BYTES} bytes"),
        ));
    }
    let mut content = Vec::new();
    let padded = padded(size)?;
    archive.take(padded).read_to_end(&mut content).map_err(broken)?;
    if (content.len() as u64) < padded {
        return Err(no_archive("it ends within an extended header"));
    }
    content.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    Ok(content)
}

/// What an extended header says of its entry.
#[derive(Default)]
struct Extended {
    size: Option<u64>,
    is_named_as_folder: Option<bool>,
}

/// What the extended header says of its entry. Values may have any bytes, line ends as well.
fn check_extensions(mut pax: &[u8], bounds: &ImageBounds) -> Result<Extended, ScanError> {
    let mut extended = Extended::default();
    while !pax.is_empty() {
        let (key, value, rest) =
            next_record(pax).ok_or_else(|| no_archive("an extended header cannot be read"))?;
        match key {
            b"path" | b"linkpath" if value.len() > bounds.path_bytes => return Err(path_too_long(bounds)),
            b"size" => {
                let stated = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                extended.size = Some(stated.ok_or_else(|| no_archive("an extended header has no size"))?);
            }
            b"path" => extended.is_named_as_folder = Some(value.ends_with(b"/")),
            _ => {}
        }
        pax = rest;
    }
    Ok(extended)
}

/// Key, value and what follows of `<length> <key>=<value>\n`, the length being that of the whole record.
fn next_record(pax: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let digits = pax.iter().position(|byte| *byte == b' ')?;
    let len: usize = std::str::from_utf8(&pax[..digits]).ok()?.parse().ok()?;
    let (record, rest) = pax.split_at_checked(len)?;
    let record = record.get(digits + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Passes over the blocks that go on with the map of an old sparse entry.
fn skip_sparse_maps(archive: &mut impl Read, header: &Header) -> Result<(), ScanError> {
    let mut goes_on = header.as_gnu().is_some_and(|gnu| gnu.isextended[0] == 1);
    let mut block = [0; BLOCK];
    while goes_on {
        if !read_block(archive, &mut block)? {
            return Err(no_archive("it ends within a map of a sparse entry"));
        }
        goes_on = block[504] == 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        builder.into_inner().unwrap()
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content).unwrap();
    }

    fn walked(bytes: &[u8], entries: u64) -> Result<Entries, ScanError> {
        walk(&mut &*bytes, entries, &ImageBounds::default())
    }

    #[test]
    fn entries_are_counted_and_long_names_are_none_of_them() {
        let bytes = archive(|builder| {
            add(builder, "a", &[1; 700]);
            add(builder, &("long/".repeat(60) + "x"), b"x");
            add(builder, "c", b"");
        });
        assert_eq!(
            walked(&bytes, 3).unwrap(),
            Entries {
                count: 3,
                largest_bytes: 700
            }
        );
        assert_eq!(walked(&bytes, 2).unwrap_err().class(), "too-large:entries");
    }

    #[test]
    fn a_folder_of_the_old_form_with_content_is_refused_wherever_its_name_is() {
        let old = |builder: &mut tar::Builder<Vec<u8>>, path: &str, size| {
            let mut header = Header::new_gnu();
            header.set_size(size);
            header.as_old_mut().linkflag[0] = 0;
            builder
                .append_data(
                    &mut header,
                    path,
                    vec![b'x'; usize::try_from(size).unwrap()].as_slice(),
                )
                .unwrap();
        };
        let empty = archive(|builder| old(builder, "folder/", 0));
        assert_eq!(walked(&empty, 9).unwrap().count, 1);
        let file = archive(|builder| old(builder, "file", 1));
        assert_eq!(walked(&file, 9).unwrap().count, 1);
        let short = archive(|builder| old(builder, "folder/", 512));
        let gnu = archive(|builder| old(builder, &"long/".repeat(60), 512));
        let pax = archive(|builder| {
            builder
                .append_pax_extensions([("path", b"folder/".as_slice())])
                .unwrap();
            old(builder, "file", 512);
        });
        for bytes in [short, gnu, pax] {
            assert_eq!(walked(&bytes, 9).unwrap_err().class(), "media-type");
        }
    }

    #[test]
    fn a_path_beyond_the_bound_is_refused_in_both_forms_of_long_names() {
        let long = "d/".repeat(3000);
        let gnu = archive(|builder| add(builder, &long, b""));
        assert_eq!(walked(&gnu, 9).unwrap_err().class(), "too-large:path");
        let pax = archive(|builder| {
            builder
                .append_pax_extensions([("path", long.as_bytes())])
                .unwrap();
            add(builder, "short", b"");
        });
        assert_eq!(walked(&pax, 9).unwrap_err().class(), "too-large:path");
    }

    #[test]
    fn an_extended_size_counts_and_not_the_one_in_the_header() {
        let mut bytes = archive(|builder| {
            builder
                .append_pax_extensions([("size", b"1024".as_slice())])
                .unwrap();
        });
        bytes.truncate(1024);
        let mut header = Header::new_ustar();
        header.set_path("big").unwrap();
        header.set_size(0);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        // Were its size 0, this would be read as headers.
        bytes.extend_from_slice(&[7; 1024]);
        assert_eq!(walked(&bytes, 9).unwrap().largest_bytes, 1024);
    }

    #[test]
    fn an_attribute_with_a_line_end_in_its_value_is_read() {
        let bytes = archive(|builder| {
            let records = [("SCHILY.xattr.user.x", b"a\nb=c\n".as_slice()), ("size", b"3")];
            builder.append_pax_extensions(records).unwrap();
            add(builder, "file", b"abc");
        });
        assert_eq!(walked(&bytes, 9).unwrap().count, 1);
    }

    #[test]
    fn what_is_no_archive_or_ends_early_is_said() {
        assert_eq!(walked(&[7; 600], 9).unwrap_err().class(), "media-type");
        let bytes = archive(|builder| add(builder, "a", &[1; 5000]));
        assert_eq!(walked(&bytes[..2000], 9).unwrap_err().class(), "media-type");
    }

    #[test]
    fn a_header_that_claims_gigabytes_of_attributes_is_not_read() {
        let mut header = Header::new_ustar();
        header.set_path("x").unwrap();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(8 << 30);
        header.set_cksum();
        assert_eq!(
            walked(header.as_bytes(), 9).unwrap_err().class(),
            "too-large:header"
        );
    }
}
