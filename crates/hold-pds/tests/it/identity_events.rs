//! What followers are told when the identity changes.

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_hold_pds::{EventStart, HoldRepo, Message, RepoError, RepoOptions};

use crate::consumer::Consumer;
use crate::repository::{TestClock, did, open, options, put, scratch, signing_key, texts};

async fn messages_after(repo: &HoldRepo, seq: u64) -> Vec<Message> {
    let events = repo.events_after(seq, 1000).await.unwrap();
    events.iter().map(|event| event.decode().unwrap()).collect()
}

fn newest_seq(repo: &HoldRepo) -> u64 {
    *repo.watch_seq().borrow()
}

async fn open_with(options: RepoOptions) -> HoldRepo {
    HoldRepo::open(options, TestClock::new()).await.unwrap()
}

#[tokio::test]
async fn a_key_that_changes_while_the_repository_is_open_keeps_the_chain() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    let mut follower = Consumer::default();
    repo.write(vec![put("a", "one"), put("b", "two")]).await.unwrap();
    for event in repo.events_after(0, 1000).await.unwrap() {
        follower.take(&event.frame, &signing_key().public_key()).unwrap();
    }
    let before = newest_seq(&repo);
    let next = SigningKey::generate(Curve::K256);
    repo.pause_writes("the key is being changed").await.unwrap();
    repo.change_key(next.clone()).await.unwrap();
    repo.resume_writes().await.unwrap();
    repo.write(vec![put("c", "three")]).await.unwrap();
    // The same key again tells no one anything.
    let after = newest_seq(&repo);
    repo.change_key(next.clone()).await.unwrap();
    assert_eq!(newest_seq(&repo), after);
    repo.verify().await.unwrap();

    let [
        Message::Identity(_),
        Message::Commit(commit),
        Message::Sync(sync),
        Message::Commit(_),
    ] = &messages_after(&repo, before).await[..]
    else {
        panic!("other events");
    };
    assert_eq!((&commit.rev, commit.ops.len()), (&sync.rev, 0));
    for event in repo.events_after(before, 1000).await.unwrap() {
        follower.take(&event.frame, &next.public_key()).unwrap();
    }
    assert_eq!(follower.records.len(), 3);

    // No one can verify what the old key signed: it is not served to those who come now.
    assert_eq!(repo.events_after(0, 1000).await.unwrap().len(), 4);
    let EventStart::Outdated(cursor) = repo.event_cursor(Some(before - 1)) else {
        panic!("older events are served");
    };
    let (page, _) = repo.next_events(cursor).await.unwrap();
    assert!(matches!(page[0].decode().unwrap(), Message::Identity(_)));
    assert!(matches!(repo.event_cursor(Some(before)), EventStart::At(_)));

    repo.close().await;
    let refused = HoldRepo::open(options(dir.path()), TestClock::new()).await;
    assert!(matches!(refused, Err(RepoError::OtherKey)), "the old key is over");
    let mut options = options(dir.path());
    options.signing_key = next;
    let repo = open_with(options).await;
    assert_eq!(newest_seq(&repo), after, "the new one goes on without a word");
    assert_eq!(repo.events_after(0, 1000).await.unwrap().len(), 4);
}

#[tokio::test]
async fn paused_writes_are_refused_and_reads_go_on() {
    let dir = scratch();
    let repo = open(dir.path()).await;
    repo.write(vec![put("a", "one")]).await.unwrap();
    let commit = repo.latest_commit();
    repo.pause_writes("the document names another key").await.unwrap();
    let error = repo.write(vec![put("b", "two")]).await.unwrap_err();
    assert!(matches!(error, RepoError::Paused { .. }));
    assert!(error.to_string().contains("names another key"), "{error}");
    assert!(
        repo.write(Vec::new()).await.is_err(),
        "readiness asks with an empty write"
    );
    assert_eq!(texts(&repo).await.len(), 1);
    assert_eq!(repo.latest_commit(), commit);
    repo.resume_writes().await.unwrap();
    repo.write(vec![put("b", "two")]).await.unwrap();
}

#[tokio::test]
async fn another_handle_or_url_is_told_once() {
    let dir = scratch();
    let named = |handle: &str, endpoint: &str| {
        let mut options = options(dir.path());
        options.handle = Some(handle.to_owned());
        options.endpoint = Some(endpoint.to_owned());
        options
    };
    let first = named("a.example.com", "https://a.example.com");
    let repo = open_with(first.clone()).await;
    assert_eq!(
        messages_after(&repo, 0).await.len(),
        4,
        "those of a new repository"
    );
    let mut seq = newest_seq(&repo);
    repo.close().await;
    let repo = open_with(first).await;
    assert_eq!(newest_seq(&repo), seq);
    repo.close().await;

    for changed in [
        named("b.example.com", "https://a.example.com"),
        named("b.example.com", "https://b.example.com"),
    ] {
        let repo = open_with(changed.clone()).await;
        let [Message::Identity(identity)] = &messages_after(&repo, seq).await[..] else {
            panic!("one #identity");
        };
        assert_eq!(identity.handle.as_deref(), Some("b.example.com"));
        seq = newest_seq(&repo);
        repo.close().await;
        let repo = open_with(changed).await;
        assert_eq!(newest_seq(&repo), seq, "it is told once");
        repo.write(vec![put("a", &seq.to_string())]).await.unwrap();
        repo.verify().await.unwrap();
        seq = newest_seq(&repo);
        repo.close().await;
    }
}

#[tokio::test]
async fn a_repository_in_the_place_of_another_says_first_that_the_other_ended() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.replaces = Some("did:web:old.example.com".parse().unwrap());
    let repo = open_with(options.clone()).await;
    let [
        Message::Account(old),
        Message::Identity(_),
        Message::Account(new),
        Message::Commit(commit),
        Message::Sync(_),
    ] = &messages_after(&repo, 0).await[..]
    else {
        panic!("other events");
    };
    assert_eq!((old.did.as_str(), old.active), ("did:web:old.example.com", false));
    assert_eq!(old.status.as_deref(), Some("deactivated"));
    assert_eq!((&new.did, new.active), (&did(), true));
    assert_eq!(commit.repo, did());
    let seq = newest_seq(&repo);
    repo.close().await;
    let repo = open_with(options).await;
    assert_eq!(newest_seq(&repo), seq, "only a new repository says so");
    assert_eq!(
        HoldRepo::did_in(&dir.path().join("repo")).unwrap().as_deref(),
        Some(did().as_str())
    );
    assert!(!HoldRepo::is_closed_in(&dir.path().join("repo")).unwrap());
    repo.close().await;
    assert!(HoldRepo::is_closed_in(&dir.path().join("repo")).unwrap());
    assert_eq!(HoldRepo::did_in(&dir.path().join("none")).unwrap(), None);
}
