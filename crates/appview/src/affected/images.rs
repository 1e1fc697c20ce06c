//! The images of an account that a search looks at: what its newest tags name.

use std::collections::HashMap;

use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::fact::Kind;
use atcr_index::page::PageRequest;
use atcr_index::ports::IndexReader;
use atcr_index::view::{ManifestSummary, RepositoryId, TagFilter};
use atcr_oci::Digest;

use super::MOST_IMAGES;

/// Repositories, those that were pushed to last.
const REPOSITORIES: u32 = 100;
/// Tags of each, those that were moved last.
const TAGS: u32 = 20;
/// Platforms of each.
const PLATFORMS: usize = 8;

/// An image of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its repository.
    pub repository: String,
    /// The repository's number.
    pub(super) repository_id: RepositoryId,
    /// Its digest.
    pub digest: Digest,
    /// Tags that name it, or an index that names it; the one moved last first.
    pub tags: Vec<String>,
    /// What it runs on, where an index says so.
    pub platform: Option<String>,
}

/// The images, those of the newest tags of each repository first, and whether there are more.
pub(super) async fn of(index: &dyn IndexReader, account: &Did) -> Result<(Vec<Image>, bool), IndexError> {
    let repositories = index
        .repositories_of(account, &PageRequest::top(REPOSITORIES))
        .await?;
    let mut is_cut = repositories.older.is_some();
    // By how many newer tags the repository has.
    let mut found: Vec<(usize, Image)> = Vec::new();
    let mut known: HashMap<(RepositoryId, Digest), usize> = HashMap::new();
    for repository in &repositories.items {
        let tags = index
            .tags(repository.id, &TagFilter::default(), &PageRequest::top(TAGS))
            .await?;
        is_cut |= tags.older.is_some();
        for (rank, tag) in tags.items.into_iter().enumerate() {
            let Some(summary) = tag.manifest else { continue };
            let (images, is_part) = images_in(&summary);
            is_cut |= is_part;
            for (digest, platform) in images {
                if let Some(at) = known.get(&(repository.id, digest.clone())) {
                    found[*at].1.tags.push(tag.name.clone());
                    continue;
                }
                known.insert((repository.id, digest.clone()), found.len());
                let image = Image {
                    repository: repository.name.clone(),
                    repository_id: repository.id,
                    digest,
                    tags: vec![tag.name.clone()],
                    platform,
                };
                found.push((rank, image));
            }
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    is_cut |= found.len() > MOST_IMAGES;
    found.truncate(MOST_IMAGES);
    Ok((found.into_iter().map(|(_, image)| image).collect(), is_cut))
}

/// The images that a manifest is, and whether there are more.
fn images_in(summary: &ManifestSummary) -> (Vec<(Digest, Option<String>)>, bool) {
    match summary.kind {
        Kind::Image => (vec![(summary.digest.clone(), None)], false),
        Kind::ImageIndex => {
            let mut images = summary.children.iter().filter(|child| !child.is_attestation);
            let taken = images.by_ref().take(PLATFORMS).map(|child| {
                let platform = child.platform.as_ref().map(atcr_index::fact::PlatformFact::name);
                (child.digest.clone(), platform)
            });
            let taken = taken.collect();
            (taken, images.next().is_some())
        }
        Kind::HelmChart
        | Kind::BuildCache
        | Kind::Attestation
        | Kind::Signature
        | Kind::Sbom
        | Kind::Artifact => (Vec::new(), false),
    }
}
