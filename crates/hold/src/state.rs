//! What handlers can ask for with `State<…>`.

use std::sync::Arc;

use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::access::Access;
use atcr_hold_pds::identity::HoldIdentity;
use atcr_server::health::Readiness;
use atcr_server::stream_limits::ClientStreams;
use axum::extract::FromRef;

use crate::administration::Administration;
use crate::crew::Enlistment;
use crate::edge::auth::TokenVerifier;
use crate::edge::com_atproto_sync::get_blocks::BlockAnswers;
use crate::edge::com_atproto_sync::subscribe_repos::Subscribers;
use crate::gc::Gc;
use crate::guarded_blobs::GuardedBlobs;
use crate::manifests::ManifestNotices;
use crate::posts::PushPosts;
use crate::quota::{Promotion, Quotas};
use crate::repo_blobs::RepoBlobs;
use crate::scanning::Scanning;
use crate::user_data::UserData;

/// Everything handlers use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    /// Who the hold is.
    pub identity: Arc<HoldIdentity>,
    /// Its records.
    pub repo: HoldRepo,
    /// Who may do what.
    pub access: Access,
    /// Whose token it is.
    pub tokens: TokenVerifier,
    /// Uploads and downloads.
    pub blobs: GuardedBlobs,
    /// Blobs that nothing names.
    pub gc: Gc,
    /// Pushes and pulls.
    pub notices: ManifestNotices,
    /// Joining.
    pub enlistment: Enlistment,
    /// Managing the crew.
    pub administration: Administration,
    /// Posts about pushes.
    pub posts: PushPosts,
    /// How much each user may keep.
    pub quotas: Quotas,
    /// Other tiers for members.
    pub promotion: Promotion,
    /// What is known of one user.
    pub user_data: UserData,
    /// Blobs that the hold's records refer to.
    pub repo_blobs: RepoBlobs,
    /// Images to be scanned.
    pub scanning: Scanning,
    /// Exports of the repository under way.
    pub exports: ClientStreams,
    /// Answers with blocks under way.
    pub block_answers: BlockAnswers,
    /// Who follows the repository.
    pub subscribers: Subscribers,
    /// Whether every part works.
    pub readiness: Readiness,
}

/// Lets a handler name a field's type as its `State`.
macro_rules! part {
    ($field:ident: $part:ty) => {
        impl FromRef<AppState> for $part {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        }
    };
}

part!(identity: Arc<HoldIdentity>);
part!(repo: HoldRepo);
part!(access: Access);
part!(tokens: TokenVerifier);
part!(blobs: GuardedBlobs);
part!(gc: Gc);
part!(notices: ManifestNotices);
part!(enlistment: Enlistment);
part!(administration: Administration);
part!(posts: PushPosts);
part!(quotas: Quotas);
part!(promotion: Promotion);
part!(user_data: UserData);
part!(repo_blobs: RepoBlobs);
part!(scanning: Scanning);
part!(exports: ClientStreams);
part!(block_answers: BlockAnswers);
part!(subscribers: Subscribers);
part!(readiness: Readiness);
