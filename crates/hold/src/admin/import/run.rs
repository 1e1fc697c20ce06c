//! A plan is done.

use atcr_atproto::syntax::{Datetime, Did};
use atcr_hold_pds::{Precondition, RepoError};

use super::{Plan, Step};
use crate::admin::AdminError;
use crate::admin::crew::{CaptainsCrew, collection, new_key, new_record};
use crate::admin::sign_in::Captain;
use crate::administration::{AdministrationError, ManualWrite};

/// Members that are written in one commit: below the repository's limit of writes.
const IN_ONE_COMMIT: usize = 100;

/// An import that stopped.
#[derive(Debug, thiserror::Error)]
#[error("the import stopped: {done} members were done, {left} were not")]
pub struct Unfinished {
    /// Members that were added or changed.
    pub done: u64,
    /// Members of whom nothing was changed.
    pub left: u64,
    /// Why.
    #[source]
    pub why: Box<AdminError>,
}

/// A change, and how the audit log calls it.
struct Due {
    did: Did,
    action: &'static str,
    detail: String,
    write: ManualWrite,
    unchanged: Option<Precondition>,
}

/// Does `plan`, in commits of some members each. Nothing is noted or written before every change is known, and a member whose record is
/// not the one that was planned for stays as it is, with all the others of its commit.
///
/// # Errors
/// [`AdminError::Import`]: what came before the failure is done. The audit log says so.
///
/// # Cancel safety
/// It goes on when its caller leaves.
pub async fn run(
    plan: &Plan,
    captain: &Captain,
    crew: &CaptainsCrew,
    now: &Datetime,
) -> Result<(), AdminError> {
    let due = due(plan, crew, now).await?;
    let (captain, crew) = (captain.clone(), crew.clone());
    let work = tokio::spawn(async move { write(due, &captain, &crew).await });
    work.await.unwrap_or(Err(AdminError::Repo(RepoError::Closed)))
}

async fn due(plan: &Plan, crew: &CaptainsCrew, now: &Datetime) -> Result<Vec<Due>, AdminError> {
    let mut due = Vec::new();
    for row in &plan.rows {
        let (Some(did), Some(terms)) = (&row.did, &row.terms) else {
            continue;
        };
        let (action, write, unchanged) = match &row.step {
            Step::Add => {
                let write = ManualWrite::Create {
                    collection: collection()?,
                    rkey: Some(new_key(did)?),
                    value: new_record(did, terms, now.clone())?,
                };
                ("crew.add", write, None)
            }
            Step::Change { version, .. } => {
                let member = crew.member(did).await.map_err(gone)?;
                let value = crew.changed(&member, terms, Some(version)).await.map_err(gone)?.0;
                let unchanged = Precondition::Record {
                    collection: collection()?,
                    rkey: member.rkey.clone(),
                    cid: Some(*version),
                };
                let write = ManualWrite::Put {
                    collection: collection()?,
                    rkey: member.rkey,
                    value,
                };
                ("crew.edit", write, Some(unchanged))
            }
            Step::Same | Step::Refused(_) => continue,
        };
        due.push(Due {
            did: did.clone(),
            action,
            detail: format!("import: {}", terms.in_words()),
            write,
            unchanged,
        });
    }
    Ok(due)
}

/// A member of the plan who is none any more.
fn gone(error: AdminError) -> AdminError {
    match error {
        AdminError::NoMember => AdminError::Crew(AdministrationError::Swapped),
        error => error,
    }
}

async fn write(due: Vec<Due>, captain: &Captain, crew: &CaptainsCrew) -> Result<(), AdminError> {
    let all = due.len();
    let mut done = 0;
    let mut due = due.into_iter();
    loop {
        let part: Vec<Due> = due.by_ref().take(IN_ONE_COMMIT).collect();
        if part.is_empty() {
            return Ok(());
        }
        let members = part.len();
        let mut noted = 0;
        if let Err(why) = write_part(part, captain, crew, &mut noted).await {
            if noted > 0 {
                let detail = format!("the last {noted} entries of the import were not done: {why}");
                let noting = crew.audit().note(captain, "crew.failed", "import", &detail);
                if let Err(error) = noting.await {
                    tracing::error!(%error, detail, "the end of an import is not in the audit log");
                }
            }
            return Err(AdminError::Import(Unfinished {
                done: done as u64,
                left: (all - done) as u64,
                why: Box::new(why),
            }));
        }
        done += members;
    }
}

/// Notes and writes some changes, in one commit; `noted` counts the entries.
async fn write_part(
    part: Vec<Due>,
    captain: &Captain,
    crew: &CaptainsCrew,
    noted: &mut usize,
) -> Result<(), AdminError> {
    let mut writes = Vec::with_capacity(part.len());
    let mut unchanged = Vec::new();
    for due in part {
        crew.audit()
            .note(captain, due.action, due.did.as_str(), &due.detail)
            .await?;
        *noted += 1;
        writes.push(due.write);
        unchanged.extend(due.unchanged);
    }
    crew.apply(captain, writes, unchanged).await
}
