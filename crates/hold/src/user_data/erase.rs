//! Erasing a user: membership, layer records and counts go at once. Bytes that no other user keeps are left to garbage collection, as are
//! results of scans, which are about manifests and go with them.

use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{Did, Nsid, RecordKey};
use atcr_hold_pds::writer::limits::MAX_OPS;
use atcr_hold_pds::{RecordWrite, RepoError};

use super::{UserData, UserDataError};

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The user is the captain, and stays it.
    pub is_captain: bool,
    /// The membership; never the captain's.
    pub crew: bool,
    /// Layer records.
    pub layers: u64,
    /// Records of counts.
    pub stats: u64,
}

impl UserData {
    /// Erases what the hold's records and counts say of `user`. The captain stays captain. Repeating it erases what is there by then.
    ///
    /// # Errors
    /// [`UserDataError`]: a part may be gone already; repeating it goes on.
    ///
    /// # Cancel safety
    /// It goes on when its caller leaves.
    pub async fn erase(&self, user: &Did) -> Result<Erased, UserDataError> {
        let (this, user) = (self.clone(), user.clone());
        let work = tokio::spawn(async move { this.erase_all(&user).await });
        work.await.unwrap_or(Err(UserDataError::Stopped))
    }

    async fn erase_all(&self, user: &Did) -> Result<Erased, UserDataError> {
        let _one = self.erasing.lock(user).await;
        if !self.is_known(user).await? {
            // Nothing is written for whoever asks.
            return Ok(Erased::default());
        }
        // First: what is about to be recorded for this user is no more, and whoever makes records anew knows that it shall not.
        self.erasures.note(user, self.clock.now()).await?;
        let captain = self.repo.captain().await?;
        let is_captain = captain.is_some_and(|captain| captain.owner == *user);
        // Before the layers, so that no push brings new ones meanwhile.
        let crew = if is_captain {
            self.erasures.note(user, self.clock.now()).await?;
            false
        } else {
            self.erase_membership(user).await?
        };
        // What was about to be written without knowing of that is there now.
        self.notices.settle().await;
        let erased = Erased {
            is_captain,
            crew,
            layers: self.erase_layers(user).await?,
            stats: self.counts.erase(user).await?,
        };
        tracing::info!(
            did = %user, crew = erased.crew, layers = erased.layers, stats = erased.stats,
            "a user was erased"
        );
        Ok(erased)
    }

    async fn is_known(&self, user: &Did) -> Result<bool, UserDataError> {
        let captain = self.repo.captain().await?;
        Ok(captain.is_some_and(|captain| captain.owner == *user)
            || self.repo.crew_by_member(user).await?.is_some()
            || !self.repo.layers_of_user(user, 1, None).await?.is_empty()
            || !self.repo.stats_of_owner(user, 1, None).await?.is_empty()
            || self.counts.has_counts_of(user).await?)
    }

    /// Deletes every crew record of `user`, of which an imported repository may have several. Whether there was one.
    async fn erase_membership(&self, user: &Did) -> Result<bool, UserDataError> {
        let _turn = self.turns.take([user]).await;
        let mut was_there = false;
        while let Some(member) = self.repo.crew_by_member(user).await? {
            self.delete(nsid::HOLD_CREW, vec![member.rkey]).await?;
            was_there = true;
        }
        // Again: a push that came in between was still a member's. From now on none is recorded that came before. Within the turn: who
        // joins again does so after this, and what they push then is not erased.
        self.erasures.note(user, self.clock.now()).await?;
        Ok(was_there)
    }

    async fn erase_layers(&self, user: &Did) -> Result<u64, UserDataError> {
        let mut erased = 0;
        loop {
            let keys = self.repo.layers_of_user(user, MAX_OPS, None).await?;
            if keys.is_empty() {
                return Ok(erased);
            }
            erased += keys.len() as u64;
            self.delete(nsid::HOLD_LAYER, keys).await?;
        }
    }

    async fn delete(&self, collection: &str, keys: Vec<RecordKey>) -> Result<(), RepoError> {
        let collection: Nsid = collection.parse()?;
        let delete = |rkey| RecordWrite::Delete {
            collection: collection.clone(),
            rkey,
        };
        self.repo.write(keys.into_iter().map(delete).collect()).await?;
        Ok(())
    }
}
