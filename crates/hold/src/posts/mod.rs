//! Posts about pushes, in the hold's own repository, where the captain record allows them. Off by default; a post that fails or is one too
//! many never fails its push.
//!
//! - [`PushPosts`]: whether and when
//! - `text`: what a post says

mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::{AtUri, Did};
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoError};
use atcr_server::Rate;
use atcr_server::rate_limit::{Now, RateLimit};
use url::Url;

use crate::manifests::Notice;
pub use text::Subject;

/// Where posts are.
const COLLECTION: &str = "app.bsky.feed.post";
/// Posts of an hour about the pushes of one account, and of all.
const OF_ACCOUNT: u32 = 10;
const OF_ALL: u32 = 60;
const HOUR: Duration = Duration::from_hours(1);
/// How long a push waits for its owner's handle; the post has the DID then.
const HANDLE_WITHIN: Duration = Duration::from_secs(3);

/// Posts about pushes. Clones share everything.
#[derive(Clone)]
pub struct PushPosts {
    inner: Arc<Inner>,
}

struct Inner {
    repo: HoldRepo,
    resolver: Arc<dyn IdentityResolver>,
    site: Option<Url>,
    of_account: RateLimit<Did>,
    of_all: RateLimit<()>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for PushPosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushPosts")
            .field("site", &self.inner.site)
            .finish_non_exhaustive()
    }
}

impl PushPosts {
    /// Writes into `repo`, names owners by the handles that `resolver` finds, and links to pages of the AppView at `site`, if there is one.
    #[must_use]
    pub fn new(
        repo: HoldRepo,
        resolver: Arc<dyn IdentityResolver>,
        site: Option<Url>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let time = Arc::clone(&clock);
        let now = Now::new(move || time.now());
        Self {
            inner: Arc::new(Inner {
                repo,
                resolver,
                site,
                of_account: RateLimit::new("posts_of_account", Rate::new(OF_ACCOUNT, HOUR), now.clone()),
                of_all: RateLimit::new("posts", Rate::new(OF_ALL, HOUR), now),
                clock,
            }),
        }
    }

    /// What a post about `notice` would be about; `None` without a tag.
    #[must_use]
    pub fn subject(notice: &Notice) -> Option<Subject> {
        Subject::of(notice)
    }

    /// Writes a post about a push that was accepted, if the captain record allows it and there were not too many. Its address.
    pub async fn post(&self, subject: &Subject) -> Option<AtUri> {
        match self.try_to(subject).await {
            Ok(written) => written,
            Err(error) => {
                tracing::warn!(did = %subject.owner, %error, "a push could not be posted about");
                None
            }
        }
    }

    async fn try_to(&self, subject: &Subject) -> Result<Option<AtUri>, RepoError> {
        let inner = &*self.inner;
        let captain = inner.repo.captain().await?;
        if !captain.is_some_and(|captain| captain.enable_bluesky_posts)
            || inner.of_account.take(&subject.owner).is_err()
            || inner.of_all.take(&()).is_err()
        {
            return Ok(None);
        }
        let resolving = inner.resolver.resolve_did(&subject.owner);
        let resolved = tokio::time::timeout(HANDLE_WITHIN, resolving).await;
        let handle = match resolved {
            Ok(Ok(identity)) => identity.handle.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let now = inner.clock.now_datetime();
        let value = subject.record(handle.as_ref(), inner.site.as_ref(), &now);
        let write = RecordWrite::Create {
            collection: COLLECTION.parse()?,
            rkey: None,
            value,
        };
        let outcome = inner.repo.write(vec![write]).await?;
        Ok(outcome.records.into_iter().next().map(|record| record.uri))
    }
}
