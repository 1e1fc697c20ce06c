//! The names of the original's tools, each of which is a link to this program in the images.

use std::ffi::OsString;
use std::path::Path;

/// The names; each is the command of the same name.
pub const NAMES: [&str; 6] = [
    "db-migrate",
    "healthcheck",
    "record-query",
    "request-crawl",
    "s3-test",
    "usage-report",
];

/// The arguments as `atcr` takes them: called by the name of a tool, the program is that tool.
pub fn spelled_out(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if let Some(name) = name.and_then(|name| name.to_str())
        && NAMES.contains(&name)
    {
        let command = OsString::from(name);
        arguments.insert(1, command);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::spelled_out;

    #[test]
    fn a_link_is_its_command() {
        let spelled = |arguments: &[&str]| {
            let arguments = spelled_out(arguments.iter().map(Into::into));
            arguments
                .into_iter()
                .map(|argument| argument.into_string().unwrap_or_default())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            spelled(&["/usr/local/bin/healthcheck", "http://x/"]),
            "/usr/local/bin/healthcheck healthcheck http://x/"
        );
        assert_eq!(spelled(&["atcr", "healthcheck"]), "atcr healthcheck");
        assert_eq!(spelled(&["/usr/bin/other", "x"]), "/usr/bin/other x");
        assert_eq!(spelled(&[]), "");
    }
}
