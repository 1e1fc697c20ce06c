//! Which image of an index is meant.

use crate::appview::scans::Child;

/// The platform that Docker would pull on this machine.
#[must_use]
pub fn of_this_machine() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    // Docker runs Linux images on other systems too.
    format!("linux/{architecture}")
}

/// The image for `wanted`, or for a variant of it: `linux/arm64` also names `linux/arm64/v8`.
///
/// # Errors
/// The platforms that there are.
pub fn choose<'a>(children: &'a [Child], wanted: &str) -> Result<&'a Child, Vec<String>> {
    let images = || children.iter().filter(|child| !child.is_attestation);
    let named = |platform: &str| images().find(|child| child.platform.as_deref() == Some(platform));
    let variant = || {
        let prefix = format!("{wanted}/");
        images().find(|child| {
            child
                .platform
                .as_ref()
                .is_some_and(|name| name.starts_with(&prefix))
        })
    };
    named(wanted)
        .or_else(variant)
        .ok_or_else(|| images().filter_map(|child| child.platform.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_found_by_name_then_by_variant_and_never_an_attestation() {
        let child = |digest: &str, platform: &str, is_attestation| Child {
            digest: digest.to_owned(),
            platform: Some(platform.to_owned()),
            is_attestation,
        };
        let children = [
            child("a", "linux/amd64", true),
            child("b", "linux/arm64/v8", false),
            child("c", "linux/arm/v7", false),
        ];
        assert_eq!(choose(&children, "linux/arm64").unwrap().digest, "b");
        assert_eq!(choose(&children, "linux/arm").unwrap().digest, "c");
        assert_eq!(
            choose(&children, "linux/amd64").unwrap_err(),
            ["linux/arm64/v8", "linux/arm/v7"]
        );
    }
}
