//! Stars: records in the account of the person who gives them.

use atcr_atproto::lexicon::star::{self, StarRecord};
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::pds::Write;
use atcr_atproto::syntax::{Datetime, Did};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_registry::error::RegistryError;

use super::{Browse, BrowseError};

impl Browse {
    /// Whether `visitor` has starred the repository.
    ///
    /// # Errors
    /// The index's.
    pub async fn is_starred(
        &self,
        visitor: &Did,
        owner: &Did,
        repository: &str,
    ) -> Result<bool, BrowseError> {
        let given = self.index.stars_given(visitor, owner, repository).await?;
        Ok(!given.is_empty())
    }

    /// Gives or takes back `visitor`'s star for the repository: a record in the visitor's own account. What is so already stays so.
    ///
    /// # Errors
    /// The PDS's, `AccessError::SessionEnded`; the index's.
    pub async fn set_star(
        &self,
        visitor: &Did,
        owner: &Did,
        repository: &str,
        is_starred: bool,
    ) -> Result<(), BrowseError> {
        let given = self.index.stars_given(visitor, owner, repository).await?;
        let writes = if is_starred {
            if !given.is_empty() {
                return Ok(());
            }
            vec![self.star(owner, repository)?]
        } else {
            let deletions = given.into_iter().map(|rkey| Write::Delete {
                collection: nsid::SAILOR_STAR.to_owned(),
                rkey,
            });
            deletions.collect()
        };
        if writes.is_empty() {
            return Ok(());
        }
        let principal = Principal::Sailor {
            did: visitor.clone(),
            auth_method: AuthMethod::OAuth,
        };
        self.records.commit(&principal, writes, None).await?;
        Ok(())
    }

    fn star(&self, owner: &Did, repository: &str) -> Result<Write, RegistryError> {
        let internal = |error: &dyn std::fmt::Display| RegistryError::Internal {
            what: error.to_string(),
        };
        let now = Datetime::from(self.clock.now());
        let record = StarRecord::new(owner, repository, now).map_err(|error| internal(&error))?;
        Ok(Write::Create {
            collection: nsid::SAILOR_STAR.to_owned(),
            rkey: Some(star::rkey(owner, repository).map_err(|error| internal(&error))?),
            value: record.to_value().map_err(|error| internal(&error))?,
        })
    }
}
