use std::time::Duration;

use super::*;
use crate::hold::error::HoldError;

fn hold() -> Did {
    "did:web:hold.example.com".parse().unwrap()
}

/// A hold that is told everything, a PDS whose token makes the sending panic for one account, and an outbox in memory.
#[derive(Default)]
struct Outside {
    waiting: Mutex<Vec<PendingNotice>>,
    told: Mutex<Vec<Did>>,
    poisoned: Mutex<u32>,
    changed: Notify,
}

fn account(name: &str) -> Principal {
    Principal::Sailor {
        did: format!("did:web:{name}.example.com").parse().unwrap(),
        auth_method: atcr_auth::principal::AuthMethod::OAuth,
    }
}

fn pending(id: i64, name: &str) -> PendingNotice {
    PendingNotice {
        id: NoticeId(id),
        principal: account(name),
        notice: NotifyManifestInput {
            repository: "app".to_owned(),
            user_did: account(name).did().unwrap().clone(),
            manifest_digest: String::new(),
            manifest: atcr_atproto::lexicon::notify_manifest::ManifestInfo::default(),
            tag: None,
            operation: "push".to_owned(),
        },
    }
}

#[async_trait]
impl NoticeOutbox for Outside {
    async fn add(
        &self,
        principal: &Principal,
        _: &Did,
        notice: &NotifyManifestInput,
        _: DateTime<Utc>,
    ) -> Result<u64, RegistryError> {
        let mut waiting = self.waiting.lock().unwrap();
        let id = NoticeId(i64::try_from(waiting.len()).unwrap() + 100);
        waiting.push(PendingNotice {
            id,
            principal: principal.clone(),
            notice: notice.clone(),
        });
        Ok(0)
    }

    async fn holds(&self) -> Result<Vec<Did>, RegistryError> {
        Ok(vec![hold()])
    }

    async fn waiting(
        &self,
        _: &Did,
        after: Option<NoticeId>,
        _: u32,
    ) -> Result<Vec<PendingNotice>, RegistryError> {
        let waiting = self.waiting.lock().unwrap();
        let after = after.map_or(i64::MIN, |after| after.0);
        Ok(waiting
            .iter()
            .filter(|notice| notice.id.0 > after)
            .cloned()
            .collect())
    }

    async fn remove(&self, notices: &[NoticeId]) -> Result<(), RegistryError> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|notice| !notices.contains(&notice.id));
        Ok(())
    }

    async fn remove_older(&self, _: &Did, _: DateTime<Utc>) -> Result<u64, RegistryError> {
        Ok(0)
    }
}

#[async_trait]
impl crate::hold::ports::HoldTokens for Outside {
    async fn token_for(
        &self,
        principal: &Principal,
        _: &Did,
    ) -> Result<Option<secrecy::SecretString>, RegistryError> {
        if *principal == account("mallory") {
            *self.poisoned.lock().unwrap() += 1;
            self.changed.notify_one();
            panic!("a token that nothing was prepared for");
        }
        Ok(Some("token".to_owned().into()))
    }

    async fn invalidate(&self, _: &Principal, _: &Did) {}
}

#[async_trait]
impl crate::hold::ports::HoldGateway for Outside {
    async fn find_captain(
        &self,
        _: &crate::hold::ports::HoldRef,
    ) -> Result<Option<atcr_atproto::lexicon::captain::CaptainRecord>, HoldError> {
        Ok(None)
    }

    async fn request_crew(
        &self,
        _: &crate::hold::ports::HoldRef,
        _: &secrecy::SecretString,
    ) -> Result<(), HoldError> {
        Ok(())
    }

    async fn notify_manifest(
        &self,
        _: &crate::hold::ports::HoldRef,
        _: &secrecy::SecretString,
        notice: &NotifyManifestInput,
    ) -> Result<(), HoldError> {
        self.told.lock().unwrap().push(notice.user_did.clone());
        self.changed.notify_one();
        Ok(())
    }

    async fn find_quota(
        &self,
        _: &crate::hold::ports::HoldRef,
        _: &Did,
    ) -> Result<crate::hold::ports::Quota, HoldError> {
        unreachable!("notices ask for no quota")
    }

    async fn export_user_data(
        &self,
        _: &crate::hold::ports::HoldRef,
        _: &secrecy::SecretString,
    ) -> Result<bytes::Bytes, HoldError> {
        unreachable!("notices ask for nobody's data")
    }

    async fn delete_user_data(
        &self,
        _: &crate::hold::ports::HoldRef,
        _: &secrecy::SecretString,
    ) -> Result<(), HoldError> {
        unreachable!("notices erase nothing")
    }
}

#[async_trait]
impl atcr_atproto::identity::IdentityResolver for Outside {
    async fn resolve(
        &self,
        _: &atcr_atproto::syntax::AtIdentifier,
    ) -> Result<Arc<atcr_atproto::identity::ResolvedIdentity>, atcr_atproto::identity::IdentityError> {
        unreachable!("only documents are asked for")
    }

    async fn resolve_did(
        &self,
        did: &Did,
    ) -> Result<Arc<atcr_atproto::identity::ResolvedIdentity>, atcr_atproto::identity::IdentityError> {
        let document = format!(
            r##"{{"id":"{did}","service":[{{"id":"#atcr_hold","type":"AtcrHoldService","serviceEndpoint":"https://hold.example.com"}}]}}"##
        );
        let document = atcr_atproto::identity::DidDocument::parse(did, document.as_bytes())?;
        Ok(Arc::new(atcr_atproto::identity::ResolvedIdentity::new(
            Arc::new(document),
            None,
        )))
    }

    async fn invalidate_did(&self, _: &Did) {}

    async fn invalidate_handle(&self, _: &atcr_atproto::syntax::Handle) {}
}

impl Outside {
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            self.changed.notified().await;
        }
    }
}

fn push_notices(outside: &Arc<Outside>) -> PushNotices {
    let resolver = crate::hold::discovery::HoldResolver::new(Arc::clone(outside) as _);
    PushNotices::new(
        NoticeSender::new(Arc::clone(outside) as _, Arc::clone(outside) as _, resolver),
        Arc::clone(outside) as _,
        Arc::new(atcr_atproto::clock::SystemClock),
        Shutdown::new(),
    )
}

#[tokio::test]
async fn one_owner_of_many_holds_and_one_account_leave_trials_to_others() {
    let notices = push_notices(&Arc::default());
    let hold = |name: &str| format!("did:web:{name}").parse::<Did>().unwrap();
    let mut held = Vec::new();
    let mut is_free = async |name: &str, pusher: &str| {
        let slot = notices.0.slot(&hold(name), &account(pusher)).now_or_never();
        let is_free = slot.is_some();
        held.extend(slot.flatten());
        is_free
    };
    for n in 0..TRIALS_OF_PARTY {
        assert!(is_free(&format!("h{n}.evil.example"), &format!("sybil{n}")).await);
    }
    assert!(!is_free("other.evil.example%3A8443", "sybil").await);
    for n in 0..TRIALS_OF_PARTY {
        assert!(is_free(&format!("hold.of{n}.example"), "mallory").await);
    }
    assert!(!is_free("hold.more.example", "mallory").await);
    assert!(is_free("hold.good.example", "alice").await);
    assert_eq!(
        party_of(&"did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap()),
        "did:plc"
    );
}

#[tokio::test(start_paused = true)]
async fn d2_a_notice_whose_sending_panics_does_not_keep_the_others_of_its_hold() {
    let outside = Arc::new(Outside::default());
    *outside.waiting.lock().unwrap() = vec![pending(1, "mallory"), pending(2, "alice")];
    let notices = push_notices(&outside);
    notices.resume().await.unwrap();
    outside
        .until(|outside| outside.told.lock().unwrap().len() == 1)
        .await;
    // The poisoned one is tried some times and then set aside; later pushes are told all the same.
    outside
        .until(|outside| *outside.poisoned.lock().unwrap() == TRIES)
        .await;
    tokio::time::sleep(Duration::from_hours(2)).await;
    notices
        .add(&account("bob"), &hold(), pending(0, "bob").notice)
        .await;
    outside
        .until(|outside| outside.told.lock().unwrap().len() == 2)
        .await;
    let told: Vec<String> = outside
        .told
        .lock()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told, ["did:web:alice.example.com", "did:web:bob.example.com"]);
    assert_eq!(*outside.poisoned.lock().unwrap(), TRIES);
}
