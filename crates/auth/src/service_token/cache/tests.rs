use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atcr_atproto::clock::ManualClock;
use atcr_atproto::crypto::{Curve, SigningKey};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::ServiceTokenCache;
use crate::fixtures::{ALICE, HOLD, did, forge, header, now, seconds};
use crate::service_token::ServiceTokenError;

struct Pds {
    clock: Arc<ManualClock>,
    cache: ServiceTokenCache,
    minted: AtomicUsize,
}

impl Pds {
    fn new() -> Self {
        let clock = ManualClock::standing();
        Self {
            cache: ServiceTokenCache::new(clock.clone()),
            clock,
            minted: AtomicUsize::new(0),
        }
    }

    async fn token(&self, aud: &str, life: i64) -> String {
        let mint = async {
            let serial = self.minted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let exp = atcr_atproto::clock::Clock::now(&*self.clock).timestamp() + life;
            let claims = json!({"iss": ALICE, "aud": aud, "exp": exp, "jti": serial.to_string()});
            let key = SigningKey::generate(Curve::K256);
            Ok::<_, ServiceTokenError>(SecretString::from(forge(&header(&key), &claims, &key)))
        };
        self.cache
            .get_or_mint(&did(ALICE), &did(aud), mint)
            .await
            .unwrap()
            .expose_secret()
            .to_owned()
    }

    fn minted(&self) -> usize {
        self.minted.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_token_is_minted_once_per_service_and_reused_for_fifty_seconds() {
    let pds = Pds::new();
    let tokens = futures(&pds, 20).await;
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(pds.minted(), 1);
    assert_ne!(pds.token("did:web:other.example.com", 60).await, tokens[0]);
    assert_eq!(pds.minted(), 2);
    pds.clock.advance(TimeDelta::seconds(49));
    assert_eq!(pds.token(HOLD, 60).await, tokens[0]);
    pds.clock.advance(TimeDelta::seconds(1));
    assert_ne!(pds.token(HOLD, 60).await, tokens[0]);
    assert_eq!(pds.minted(), 3);
}

async fn futures(pds: &Pds, count: usize) -> Vec<String> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        tasks.push(Box::pin(pds.token(HOLD, 60)));
    }
    let mut tokens = Vec::new();
    // Start all before waiting for any.
    for task in &mut tasks {
        let _ = std::future::poll_fn(|context| std::task::Poll::Ready(task.as_mut().poll(context))).await;
    }
    for task in tasks {
        tokens.push(task.await);
    }
    tokens
}

#[tokio::test]
async fn a_short_token_is_not_used_in_its_last_ten_seconds() {
    let pds = Pds::new();
    let first = pds.token(HOLD, 30).await;
    pds.clock.advance(TimeDelta::seconds(19));
    assert_eq!(pds.token(HOLD, 30).await, first);
    pds.clock.advance(TimeDelta::seconds(1));
    assert_ne!(pds.token(HOLD, 30).await, first);
    // One that is almost over is used once and not kept.
    pds.cache.invalidate(&did(ALICE), &did(HOLD)).await;
    assert_ne!(pds.token(HOLD, 10).await, pds.token(HOLD, 10).await);
}

#[tokio::test]
async fn all_tokens_of_an_account_can_be_forgotten_also_those_on_their_way() {
    let pds = Pds::new();
    let other = "did:web:other.example.com";
    let (first, second) = (pds.token(HOLD, 60).await, pds.token(other, 60).await);
    pds.cache.forget(&did(ALICE));
    assert_ne!(pds.token(HOLD, 60).await, first);
    assert_ne!(pds.token(other, 60).await, second);
    // A caller waits for one while the session ends.
    pds.cache.forget(&did(ALICE));
    let mut on_its_way = Box::pin(pds.token(HOLD, 60));
    let _ = std::future::poll_fn(|context| std::task::Poll::Ready(on_its_way.as_mut().poll(context))).await;
    pds.cache.forget(&did(ALICE));
    let late = on_its_way.await;
    assert_ne!(pds.token(HOLD, 60).await, late);
}

#[tokio::test]
async fn a_refused_token_can_be_forgotten_and_a_failure_is_not_kept() {
    let pds = Pds::new();
    let first = pds.token(HOLD, 60).await;
    pds.cache.invalidate(&did(ALICE), &did(HOLD)).await;
    let failure = pds
        .cache
        .get_or_mint(&did(ALICE), &did(HOLD), async {
            Err(ServiceTokenError::BadSignature)
        })
        .await;
    assert!(matches!(*failure.unwrap_err(), ServiceTokenError::BadSignature));
    assert_ne!(pds.token(HOLD, 60).await, first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_token_s_end_is_a_hint_and_nothing_else(exp in seconds()) {
        let token = {
            let key = SigningKey::generate(Curve::P256);
            forge(&header(&key), &json!({"iss": ALICE, "aud": HOLD, "exp": exp}), &key)
        };
        let until = super::reuse_until(&token, now());
        prop_assert!(until <= now() + TimeDelta::seconds(50));
        prop_assert!(until.timestamp() <= exp.saturating_sub(10).max(DateTime::<Utc>::MIN_UTC.timestamp()));
    }
}
