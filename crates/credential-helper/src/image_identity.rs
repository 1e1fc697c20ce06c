//! Whose images a command line is about: `docker push atcr.io/alice.example/app:1` → `alice.example`.

use crate::registry_url::{RegistryUrl, ServerAddress};

/// Transports that tools write before an image name, longest first.
const TRANSPORTS: &[&str] = &["docker://", "oci://", "https://", "http://"];
/// Subcommands whose last image is the one that is written.
const COPY_COMMANDS: &[&str] = &["copy", "cp", "sync", "mirror"];

/// The identities at `registry` that `arguments` name, the one that matters most first and each once.
///
/// Arguments are looked at whole and at their parts between `=` and `,`, for `--tag=…` and
/// `type=registry,ref=…`. Where something is copied, the destination comes last and matters most.
#[must_use]
pub fn identities(arguments: &[String], registry: &[RegistryUrl]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for argument in arguments {
        for part in argument.split(['=', ',']) {
            if let Some(identity) = identity(part, registry)
                && !found.contains(&identity)
            {
                found.push(identity);
            }
        }
    }
    let copies = arguments
        .iter()
        .take_while(|argument| !argument.contains('/') || is_program(argument))
        .any(|argument| COPY_COMMANDS.contains(&argument.as_str()));
    if copies {
        found.reverse();
    }
    found
}

/// A path to a program or script, as the first arguments are.
fn is_program(argument: &str) -> bool {
    argument.starts_with(['/', '.'])
}

/// The identity of one image name, if it is an image name at `registry`. Hosts are compared whole.
fn identity(text: &str, registry: &[RegistryUrl]) -> Option<String> {
    let text = TRANSPORTS
        .iter()
        .find_map(|transport| text.strip_prefix(transport))
        .unwrap_or(text);
    let (host, path) = text.split_once('/')?;
    let address = ServerAddress::parse(host).ok()?;
    if !address.candidates().iter().any(|url| registry.contains(url)) {
        return None;
    }
    let identity = match path.split_once('/') {
        Some((identity, _)) => identity,
        // No repository after it: Helm's `oci://host/alice.example`. What follows a colon is a tag, but in a DID.
        None if path.starts_with("did:") => path,
        None => path.split([':', '@']).next().unwrap_or(path),
    };
    let is_identity = !identity.is_empty()
        && identity
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
    is_identity.then(|| identity.to_ascii_lowercase())
}
