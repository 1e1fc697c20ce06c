//! Addresses of pages about images: `/r/{identity}/{repository…}`, with a tag, a digest, or a view behind it.
//!
//! A repository's name may have slashes, so views are behind `/-/`, which no name has: `/r/alice.example/tools/app/-/tags`.

use atcr_atproto::syntax::AtIdentifier;
use atcr_oci::{Digest, Reference, RepositoryName};

/// What a page under `/r/` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageAddress {
    /// Whose repository.
    pub owner: AtIdentifier,
    /// Its name, without the owner.
    pub repository: String,
    /// What of it.
    pub view: RepositoryPage,
}

/// A page about a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryPage {
    /// The repository.
    Overview,
    /// One tag or manifest.
    Image(Reference),
    /// `/-/tags`
    Tags,
    /// `/-/manifests`
    Manifests,
    /// `/-/referrers`
    Referrers,
    /// `/-/activity`
    Activity,
    /// `/-/stars`
    Stars,
    /// `/-/blob/{digest}`: a file of an artifact.
    Blob(Digest),
    /// `/-/proof/{digest}`: whether a manifest is its owner's.
    Proof(Digest),
    /// `/-/proof/{digest}.car`: the proof.
    ProofCar(Digest),
    /// `/-/star`: where the form with the star is sent.
    Star,
    /// `/-/delete`: what a deletion takes, and where it is confirmed.
    Delete,
    /// `/-/undo`: where a deletion is undone.
    Undo,
    /// `/-/tag`: where a tag is pointed at a manifest.
    SetTag,
    /// `/-/edit`: the owner's text.
    Edit,
    /// `/-/diff`: two images side by side.
    Diff,
    /// `/-/feed`
    Feed,
    /// `/-/badge/{kind}.svg`
    Badge(BadgeKind),
}

/// What a badge shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadgeKind {
    /// How often the image was pulled.
    Pulls,
    /// The tag that one pulls.
    Tag,
    /// The size of the image.
    Size,
}

impl BadgeKind {
    const ALL: [(Self, &'static str); 3] = [(Self::Pulls, "pulls"), (Self::Tag, "tag"), (Self::Size, "size")];

    /// Its name in addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }

    fn of(file: &str) -> Option<Self> {
        let name = file.strip_suffix(".svg")?;
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }
}

impl ImageAddress {
    /// Reads `identity` and what follows it under `/r/`; `None` for what is no address.
    #[must_use]
    pub fn parse(identity: &str, rest: &str) -> Option<Self> {
        let owner: AtIdentifier = identity.parse().ok()?;
        let (name, view) = match rest.split_once("/-/") {
            Some((name, view)) => (name, view_of(view)?),
            None => image_of(rest)?,
        };
        Some(Self {
            owner,
            repository: repository(name)?,
            view,
        })
    }

    /// Reads a path that is an image's name without the host, as it is pasted behind this server's address: `/alice.example/app:1.4`.
    #[must_use]
    pub fn of_pasted(path: &str) -> Option<Self> {
        let (identity, rest) = path.strip_prefix('/')?.split_once('/')?;
        if !(identity.contains('.') || identity.starts_with("did:") || identity.starts_with("did-")) {
            return None;
        }
        let (name, view) = image_of(rest)?;
        Some(Self {
            owner: AtIdentifier::from_image_segment(identity)
                .or_else(|_| identity.parse())
                .ok()?,
            repository: repository(name)?,
            view,
        })
    }

    /// The path of the page.
    #[must_use]
    pub fn path(&self) -> String {
        let repository = repository_path(self.owner.as_str(), &self.repository);
        match &self.view {
            RepositoryPage::Overview => repository,
            RepositoryPage::Image(reference) => image_path(&repository, reference),
            RepositoryPage::Tags => format!("{repository}/-/tags"),
            RepositoryPage::Manifests => format!("{repository}/-/manifests"),
            RepositoryPage::Referrers => format!("{repository}/-/referrers"),
            RepositoryPage::Activity => format!("{repository}/-/activity"),
            RepositoryPage::Stars => format!("{repository}/-/stars"),
            RepositoryPage::Blob(digest) => format!("{repository}/-/blob/{digest}"),
            RepositoryPage::Proof(digest) => format!("{repository}/-/proof/{digest}"),
            RepositoryPage::ProofCar(digest) => format!("{repository}/-/proof/{digest}.car"),
            RepositoryPage::Star => format!("{repository}/-/star"),
            RepositoryPage::Delete => format!("{repository}/-/delete"),
            RepositoryPage::Undo => format!("{repository}/-/undo"),
            RepositoryPage::SetTag => format!("{repository}/-/tag"),
            RepositoryPage::Edit => format!("{repository}/-/edit"),
            RepositoryPage::Diff => format!("{repository}/-/diff"),
            RepositoryPage::Feed => format!("{repository}/-/feed"),
            RepositoryPage::Badge(kind) => format!("{repository}/-/badge/{}.svg", kind.name()),
        }
    }
}

/// The path of the page about `repository` of `owner`, a handle or DID.
#[must_use]
pub fn repository_path(owner: &str, repository: &str) -> String {
    format!("/r/{owner}/{repository}")
}

/// The path of the page about one image of the repository at `repository`.
#[must_use]
pub fn image_path(repository: &str, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("{repository}:{tag}"),
        Reference::Digest(digest) => format!("{repository}@{digest}"),
    }
}

fn view_of(view: &str) -> Option<RepositoryPage> {
    Some(match view {
        "tags" => RepositoryPage::Tags,
        "manifests" => RepositoryPage::Manifests,
        "referrers" => RepositoryPage::Referrers,
        "activity" => RepositoryPage::Activity,
        "stars" => RepositoryPage::Stars,
        "star" => RepositoryPage::Star,
        "delete" => RepositoryPage::Delete,
        "undo" => RepositoryPage::Undo,
        "tag" => RepositoryPage::SetTag,
        "edit" => RepositoryPage::Edit,
        "diff" => RepositoryPage::Diff,
        "feed" => RepositoryPage::Feed,
        other => match other.split_once('/')? {
            ("blob", digest) => RepositoryPage::Blob(digest.parse().ok()?),
            ("proof", file) => match file.strip_suffix(".car") {
                Some(digest) => RepositoryPage::ProofCar(digest.parse().ok()?),
                None => RepositoryPage::Proof(file.parse().ok()?),
            },
            ("badge", file) => RepositoryPage::Badge(BadgeKind::of(file)?),
            _ => return None,
        },
    })
}

/// A name, and the tag or digest behind it. With both, as in `app:1.4@sha256:…`, the digest counts, as for Docker.
fn image_of(text: &str) -> Option<(&str, RepositoryPage)> {
    if let Some((name, digest)) = text.split_once('@') {
        let digest = Reference::Digest(digest.parse().ok()?);
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        return Some((name, RepositoryPage::Image(digest)));
    }
    match text.split_once(':') {
        Some((name, tag)) => Some((name, RepositoryPage::Image(Reference::Tag(tag.parse().ok()?)))),
        None => Some((text, RepositoryPage::Overview)),
    }
}

/// `name` if it may be a repository's.
fn repository(name: &str) -> Option<String> {
    // The identity is a stand-in: only the rest is checked.
    RepositoryName::new("a", name).ok()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(identity: &str, rest: &str) -> Option<String> {
        ImageAddress::parse(identity, rest).map(|address| address.path())
    }

    #[test]
    fn every_view_has_an_address_and_the_address_gives_the_view() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for rest in [
            "app".to_owned(),
            "tools/app".to_owned(),
            "app:1.4".to_owned(),
            "tools/app:latest".to_owned(),
            format!("app@{digest}"),
            "tools/app/-/tags".to_owned(),
            "app/-/manifests".to_owned(),
            "app/-/referrers".to_owned(),
            "app/-/activity".to_owned(),
            "app/-/stars".to_owned(),
            "app/-/delete".to_owned(),
            "app/-/undo".to_owned(),
            "app/-/tag".to_owned(),
            "app/-/edit".to_owned(),
            "app/-/diff".to_owned(),
            "app/-/feed".to_owned(),
            "app/-/badge/pulls.svg".to_owned(),
            "app/-/badge/tag.svg".to_owned(),
            format!("app/-/blob/{digest}"),
            format!("app/-/proof/{digest}"),
            format!("tools/app/-/proof/{digest}.car"),
        ] {
            for identity in ["alice.example", "did:plc:ewvi7nxzyoun6zhxrhs64oiz"] {
                assert_eq!(path(identity, &rest), Some(format!("/r/{identity}/{rest}")));
            }
        }
        assert_eq!(
            path("alice.example", &format!("app:1.4@{digest}")),
            Some(format!("/r/alice.example/app@{digest}"))
        );
    }

    #[test]
    fn what_is_no_name_has_no_page() {
        for rest in [
            "",
            "App",
            "app/",
            "app/-/nothing",
            "app:",
            "app:a b",
            "app@sha256:12",
            "-/tags",
            "app/-/blob/x",
            "app/-/proof/x.car",
            "../x",
        ] {
            assert_eq!(path("alice.example", rest), None, "{rest}");
        }
        assert_eq!(path("alice", "app"), None);
    }

    #[test]
    fn a_pasted_image_name_is_an_address() {
        let pasted = |path: &str| ImageAddress::of_pasted(path).map(|address| address.path());
        assert_eq!(
            pasted("/alice.example/app:1.4").as_deref(),
            Some("/r/alice.example/app:1.4")
        );
        assert_eq!(
            pasted("/alice.example/tools/app").as_deref(),
            Some("/r/alice.example/tools/app")
        );
        assert_eq!(
            pasted("/did-plc-ewvi7nxzyoun6zhxrhs64oiz/app").as_deref(),
            Some("/r/did:plc:ewvi7nxzyoun6zhxrhs64oiz/app")
        );
        assert_eq!(
            pasted("/did:plc:ewvi7nxzyoun6zhxrhs64oiz/app").as_deref(),
            Some("/r/did:plc:ewvi7nxzyoun6zhxrhs64oiz/app")
        );
        for path in [
            "/",
            "/nothing/here",
            "/alice.example",
            "/alice.example/",
            "/favicon.ico",
            "/a.b/C",
        ] {
            assert_eq!(pasted(path), None, "{path}");
        }
    }
}
