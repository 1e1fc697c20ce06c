//! One commit to an account: planned by what the account has, and planned anew when another client wrote meanwhile.

use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::Write;
use atcr_auth::principal::Principal;
use atcr_oci::{Digest, Tag};
use futures_util::future::BoxFuture;

use super::Accounts;
use super::listing::OwnWrite;
use super::ports::{AccountChange, CommitOutcome};
use crate::error::RegistryError;

/// Times a write is planned anew because another client wrote to the account meanwhile. After that it is written as planned
/// last: an account that is written to all the time must still take a push.
const CONDITIONAL_ATTEMPTS: usize = 4;

/// Writes to make in one commit, and what they mean for the index and the caches.
#[derive(Debug)]
pub struct Plan {
    /// The writes; none means that nothing is to be done.
    pub writes: Vec<Write>,
    /// The same for the index.
    pub change: AccountChange,
    /// Manifests that the repository no longer has.
    pub removed: Vec<Digest>,
    /// Tags that no longer point where they did.
    pub moved: Vec<Tag>,
    /// Tags that were to be changed and are not, since they are no longer where the writer saw them.
    pub left: Vec<Tag>,
    /// Every manifest record that is written names what its manifest does; see [`Plan::fit`].
    pub names_content: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            writes: Vec::new(),
            change: AccountChange::default(),
            removed: Vec::new(),
            moved: Vec::new(),
            left: Vec::new(),
            names_content: true,
        }
    }
}

/// How well an account has to be known before something is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As it is indexed.
    Any,
    /// As it is now, if that can be had without delay; a write that goes by less is right all the same.
    IfQuick,
    /// As it is now.
    Required,
}

/// Says what to write, given what the account has when it is asked.
pub type Planner<'p> = &'p (dyn Fn() -> BoxFuture<'p, Result<Plan, RegistryError>> + Send + Sync + 'p);

impl Accounts {
    /// Plans and makes one commit to the account of `owner`, who is `principal`.
    ///
    /// Returns the plan that was carried out, its writes taken out.
    ///
    /// Writers to one account queue here. `plan` reads what it needs and says what to write; it is asked again if another
    /// client wrote meanwhile. `freshness` says whether the index is of the account's newest commit when it is asked; it is complete if
    /// [`Accounts::is_whole`].
    ///
    /// # Errors
    /// What `plan` says, the PDS's, the database's. The index failing after the commit is logged and mended by the next
    /// listing.
    ///
    /// # Cancel safety
    /// The commit is one call: it was made or not. If the future is dropped after it, the index is behind until the next
    /// listing.
    pub async fn write(
        &self,
        principal: &Principal,
        owner: &ResolvedIdentity,
        freshness: Freshness,
        plan: Planner<'_>,
    ) -> Result<Plan, RegistryError> {
        let did = &owner.did;
        let lane = self.lanes.lock(did).await;
        // A plan that goes by the index has to notice what other writers did.
        let mut known = self.heads.get(did).filter(|_| freshness != Freshness::Required);
        for attempt in 1.. {
            let head = match known.take() {
                Some(head) => Some(head),
                None => self.head_for_write(owner, freshness).await?,
            };
            let head = match (head, freshness) {
                (Some(head), Freshness::Required) => Some(self.sync_for_write(owner, head, &lane).await?),
                (Some(head), Freshness::IfQuick) => Some(self.sync_if_quick(owner, head, &lane).await?),
                (head, _) => head,
            };
            let mut planned = plan().await?;
            let writes = std::mem::take(&mut planned.writes);
            if writes.is_empty() {
                return Ok(planned);
            }
            let expected = head.as_ref().filter(|_| attempt <= CONDITIONAL_ATTEMPTS);
            self.heads.invalidate(did);
            // Whatever becomes of it, also of its answer: the head is another one.
            self.checked.invalidate(did);
            match self.store.commit(principal, writes, expected).await? {
                CommitOutcome::Moved => {
                    tracing::debug!(%did, attempt, "the account was written to meanwhile");
                }
                CommitOutcome::Committed(commit) => {
                    let from = expected.map_or("", |head| head.rev.as_str());
                    if let Err(error) = self
                        .index
                        .apply(did, &planned.change, from, commit.rev.as_str())
                        .await
                    {
                        tracing::error!(%did, error = &error as &dyn std::error::Error, "the index missed a write");
                    }
                    self.running.note(did, || OwnWrite {
                        change: planned.change.clone(),
                        from: from.to_owned(),
                        to: commit.rev.as_str().to_owned(),
                    });
                    if let Err(error) = self.revisions.remember(did, &commit.rev).await {
                        tracing::error!(%did, error = &error as &dyn std::error::Error, "a revision is not remembered");
                    }
                    self.checked.insert(did.clone(), commit.rev.clone());
                    self.heads.insert(did.clone(), commit);
                    return Ok(planned);
                }
            }
        }
        Ok(Plan::default())
    }
}
