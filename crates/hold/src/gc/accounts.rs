//! Which accounts may name blobs: none is forgotten, and whoever may push is known before the first promise.

use std::collections::HashSet;
use std::io;
use std::sync::{MutexGuard, PoisonError};

use atcr_atproto::syntax::Did;
use atcr_hold_pds::{Newcomers, RepoError};
use atcr_oci::Digest;
use futures_util::FutureExt as _;

use super::reading::PAGE;
use super::{Gc, GcError, Inner};
use crate::blobs::SessionsError;

/// Accounts of which this process has written down that they push.
#[derive(Debug, Default)]
pub(super) struct Noted {
    dids: HashSet<Did>,
    /// And of which that they were promised something. Nothing takes that back.
    promised: HashSet<Did>,
    /// How often one was taken out of `dids`.
    forgotten: u64,
    /// The captain is judging so many accounts: nobody is remembered, so that who pushes meanwhile is written down after it or before.
    judging: u32,
}

/// While there is one, who pushes is written down each time.
struct Judging<'a>(&'a Inner);

impl<'a> Judging<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.noted().judging += 1;
        Self(inner)
    }
}

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        let mut noted = self.0.noted();
        noted.judging -= 1;
        noted.forgotten += 1;
    }
}

impl Gc {
    /// The captain says that an account needs nothing any more (`released`), or that what it lacks is gone indeed (`accepted`). A release
    /// is over when the account pushes, joins again, or is a member that can be read.
    ///
    /// # Errors
    /// `NotNow` for an account that is not known here; the tables'.
    ///
    /// # Cancel safety
    /// It goes on when its caller leaves.
    pub async fn judge(&self, did: &Did, released: bool, accepted: bool) -> Result<(), GcError> {
        let (gc, did) = (self.clone(), did.clone());
        let judging = tokio::spawn(async move { gc.judge_to_the_end(&did, released, accepted).await });
        judging.await.unwrap_or(Err(GcError::Interrupted))
    }

    async fn judge_to_the_end(&self, did: &Did, released: bool, accepted: bool) -> Result<(), GcError> {
        let _judging = Judging::begin(&self.inner);
        self.inner.forget_noted(did);
        if !self.inner.table.judge_account(did, released, accepted).await? {
            return Err(GcError::NotNow(format!("{did} is not known here")));
        }
        tracing::info!(%did, released, accepted, "the captain has judged an account");
        Ok(())
    }

    /// Notes the members that there are, and from now on those that come, before they are members: they may name blobs, whatever was said
    /// of them before.
    ///
    /// Whoever is a member when nothing is known yet may have pushed before.
    pub(super) async fn meet_newcomers(&self, is_first_time: bool) -> Result<(), GcError> {
        let table = self.inner.table.clone();
        self.inner.repo.tell_newcomers_to(Newcomers::new(move |dids| {
            let table = table.clone();
            async move { table.note_members(&dids, true).await.map_err(io::Error::other) }.boxed()
        }));
        let members: Vec<Did> = self.inner.members().await?.into_iter().collect();
        self.inner.table.note_members(&members, false).await?;
        if is_first_time {
            for member in &members {
                self.inner.table.mark_pushed(member).await?;
            }
        }
        Ok(())
    }

    /// Notes an account that pushes, before it is promised anything. Written once in the life of a process.
    ///
    /// # Errors
    /// The tables'.
    pub async fn note_account(&self, did: &Did) -> Result<(), SessionsError> {
        let forgotten = {
            let noted = self.inner.noted();
            if noted.judging == 0 && noted.dids.contains(did) {
                return Ok(());
            }
            noted.forgotten
        };
        let dids = std::slice::from_ref(did);
        self.inner.table.note_members(dids, true).await?;
        self.inner.table.mark_pushed(did).await?;
        let mut noted = self.inner.noted();
        // What was said of an account meanwhile may have come after this row.
        if noted.judging == 0 && noted.forgotten == forgotten {
            noted.dids.insert(did.clone());
        }
        Ok(())
    }

    /// Notes that a blob is promised in the name of an account, if that is known here.
    ///
    /// # Errors
    /// The tables'.
    pub async fn note_promise(&self, did: &Did) -> Result<(), SessionsError> {
        if self.inner.noted().promised.contains(did) {
            return Ok(());
        }
        if self.inner.table.mark_pushed(did).await? {
            self.inner.noted().promised.insert(did.clone());
        }
        Ok(())
    }

    /// Notes what a manifest names, before anything is said of its blobs.
    ///
    /// # Errors
    /// The tables'.
    pub async fn note_manifest(
        &self,
        did: &Did,
        rkey: &str,
        repository: &str,
        digests: &[Digest],
    ) -> Result<(), SessionsError> {
        self.note_account(did).await?;
        let table = &self.inner.table;
        if let Some(account) = table.account(did).await? {
            table
                .add_names(account.id, rkey, repository, digests, None)
                .await?;
        }
        Ok(())
    }
}

impl Inner {
    /// Whoever may push now is written down as that, whoever may not any more as having left, and whoever has layer records is known.
    /// Returns the members.
    pub(super) async fn note_everybody(&self) -> Result<HashSet<Did>, GcError> {
        let members = self.members().await?;
        let all: Vec<Did> = members.iter().cloned().collect();
        self.table.note_members(&all, false).await?;
        self.table.note_leavers(&all, self.uptime.now()).await?;
        self.table.note_erased(&all).await?;
        self.note_owners().await?;
        Ok(members)
    }

    /// The captain and the crew: whoever may push now.
    pub(super) async fn members(&self) -> Result<HashSet<Did>, RepoError> {
        let mut members: HashSet<Did> = self
            .repo
            .captain()
            .await?
            .map(|captain| captain.owner)
            .into_iter()
            .collect();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.repo.crew_page(PAGE as usize, cursor.as_deref()).await?;
            members.extend(page.members.into_iter().map(|member| member.record.member));
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(members),
            }
        }
    }

    /// Accounts that have layer records here, members or not.
    async fn note_owners(&self) -> Result<(), GcError> {
        let mut after: Option<Did> = None;
        loop {
            let owners = self.repo.layer_owners(PAGE, after.as_ref()).await?;
            let Some(last) = owners.last() else { return Ok(()) };
            after = Some(last.clone());
            self.table.note_accounts(&owners).await?;
        }
    }

    /// What was noted of an account does not stand any more.
    pub(super) fn forget_noted(&self, did: &Did) {
        let mut noted = self.noted();
        noted.dids.remove(did);
        noted.forgotten += 1;
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
