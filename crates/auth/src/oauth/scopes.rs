//! The requested scopes: the narrowest first; broader ones only for servers that do not know the narrow ones.

/// The record collections that a registry writes for a sailor.
const COLLECTIONS: &[&str] = &[
    "io.atcr.manifest",
    "io.atcr.tag",
    "io.atcr.sailor.profile",
    "io.atcr.sailor.star",
    "io.atcr.repo.page",
];

/// The media types under which manifests are uploaded as blobs.
pub const MANIFEST_BLOB_TYPES: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The one of them that stands in for all others.
pub const FALLBACK_BLOB_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Service tokens for holds: one method, any hold.
const SERVICE_TOKENS: &str = "rpc:com.atproto.repo.getRecord?aud=*";

/// For servers without granular scopes: all that an app password may do.
const COARSE: &str = "atproto transition:generic";

/// Scopes to ask for, in order: the next when a server refuses the one before with `invalid_scope`, or drops parts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePlan {
    steps: Vec<String>,
}

impl ScopePlan {
    /// What the registry needs. With `permission_set` (an NSID), that set is asked for in place of the list of collections first:
    /// it reads better on the consent page, but only works where its lexicon can be resolved.
    #[must_use]
    pub fn registry(permission_set: Option<&str>) -> Self {
        let common = std::iter::once(SERVICE_TOKENS.to_owned())
            .chain(MANIFEST_BLOB_TYPES.iter().map(|kind| format!("blob:{kind}")));
        let listed = COLLECTIONS.iter().map(|collection| format!("repo:{collection}"));
        let join = |records: Vec<String>| {
            let mut parts = vec!["atproto".to_owned()];
            parts.extend(records);
            parts.extend(common.clone());
            parts.join(" ")
        };
        let mut steps = Vec::new();
        if let Some(set) = permission_set {
            steps.push(join(vec![format!("include:{set}")]));
        }
        steps.push(join(listed.collect()));
        steps.push(COARSE.to_owned());
        Self { steps }
    }

    /// Exactly `scope`.
    #[must_use]
    pub fn only(scope: &str) -> Self {
        Self {
            steps: vec![scope.to_owned()],
        }
    }

    /// The scopes to ask for, best first.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    /// Whether a session for which `requested` was asked fits this plan still.
    #[must_use]
    pub fn contains(&self, requested: &str) -> bool {
        self.steps.iter().any(|step| step == requested)
    }

    /// Everything that may be asked for, as the client's metadata must declare it.
    #[must_use]
    pub fn declared(&self) -> String {
        let mut all: Vec<&str> = Vec::new();
        for scope in self.steps.iter().flat_map(|step| step.split(' ')) {
            if !all.contains(&scope) {
                all.push(scope);
            }
        }
        all.join(" ")
    }
}

/// The parts of `requested` that `granted` lacks. A permission set may come back as what it stands for: it counts as granted if
/// records may be written at all. A server that does not know sets drops them without a word.
#[must_use]
pub fn missing(requested: &str, granted: &str) -> Vec<String> {
    let has = |scope: &str| granted.split(' ').any(|other| other == scope);
    let may_write = granted.split(' ').any(is_about_records);
    requested
        .split(' ')
        .filter(|scope| !(has(scope) || is_permission_set(scope) && may_write))
        .map(str::to_owned)
        .collect()
}

/// Whether a permission set is among what `granted` lacks of `requested`.
#[must_use]
pub fn lacks_permission_set(requested: &str, granted: &str) -> bool {
    missing(requested, granted)
        .iter()
        .any(|scope| is_permission_set(scope))
}

fn is_permission_set(scope: &str) -> bool {
    scope.starts_with("include:")
}

/// `repo:<collection>` with or without parameters, or `repo?collection=…`.
fn is_about_records(scope: &str) -> bool {
    scope.starts_with("repo:") || scope.starts_with("repo?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_asked_for_first_and_the_declaration_covers_every_step() {
        let plan = ScopePlan::registry(Some("io.atcr.authFullApp"));
        let [set, listed, coarse] = plan.steps() else {
            panic!("three steps")
        };
        assert!(
            set.starts_with("atproto include:io.atcr.authFullApp rpc:com.atproto.repo.getRecord?aud=* blob:")
        );
        assert!(listed.contains(" repo:io.atcr.manifest ") && !listed.contains("include:"));
        assert_eq!(coarse, "atproto transition:generic");
        for scope in plan.steps().iter().flat_map(|step| step.split(' ')) {
            assert!(plan.declared().split(' ').any(|declared| declared == scope));
        }
        assert_eq!(ScopePlan::registry(None).steps().len(), 2);
    }

    #[test]
    fn what_was_not_granted_is_named_and_a_permission_set_may_be_spelled_out() {
        assert_eq!(missing("atproto repo:a.b.c", "atproto"), ["repo:a.b.c"]);
        for granted in [
            "repo:a.b.c atproto",
            "atproto repo?collection=a.b.c",
            "atproto include:a.b.set",
        ] {
            assert!(
                missing("atproto include:a.b.set", granted).is_empty(),
                "{granted}"
            );
        }
    }

    #[test]
    fn a_permission_set_that_was_dropped_without_a_word_is_missing() {
        let asked = "atproto include:a.b.set rpc:a.b.c?aud=*";
        assert_eq!(missing(asked, "atproto rpc:a.b.c?aud=*"), ["include:a.b.set"]);
        assert!(lacks_permission_set(asked, "atproto rpc:a.b.c?aud=*"));
        assert!(!lacks_permission_set(asked, "atproto repo:a.b.c"));
    }
}
