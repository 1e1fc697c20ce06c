//! Asks holds about scans, and reads their documents: each once for all who may see it, in memory that is counted.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::egress::{SharedBudget, party};
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use atcr_registry::error::{AccessError, RegistryError};
use atcr_registry::hold::credentials::{CallError, HoldAccess};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldDirectory;
use atcr_server::{KeyedLocks, Shutdown};
use moka::sync::Cache;
use secrecy::SecretString;

use super::document::{Download, ReadDocument};
use super::{
    DocumentPlace, Findings, HoldWord, MAX_READ, NoDocument, Packages, ScanSource, Silence, Unreadable,
};

/// How long a page waits for what a hold says.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it waits for a document.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(20);
/// How long a document waits for others that are read.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// Memory for documents from their first byte to the end of their parse or download: four of the longest. A quarter is for the holds below
/// one registered name.
const ROOM: usize = 4 * MAX_READ;
/// Bytes of findings that are remembered, and of packages.
const REMEMBERED_BYTES: u64 = 64 * 1024 * 1024;

/// Asks holds about scans.
pub struct Scans {
    source: Arc<dyn ScanSource>,
    directory: Arc<dyn HoldDirectory>,
    access: HoldAccess,
    tasks: Shutdown,
    room: SharedBudget,
    flights: KeyedLocks<DocumentKey>,
    findings: Remembered<Findings>,
    packages: Remembered<Packages>,
}

/// Documents by hold and place, since who may see one is the hold's to say: what is beside its records is asked for by visitors to whom the
/// hold gave the view that names it; what is in its records is remembered only when it was read without a token.
type DocumentKey = (Did, DocumentPlace);
type Remembered<T> = Cache<DocumentKey, Arc<T>>;

impl std::fmt::Debug for Scans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scans").finish_non_exhaustive()
    }
}

impl Scans {
    /// Asks `source`, where `directory` says, with the tokens of `access`; downloads are `tasks`.
    #[must_use]
    pub fn new(
        source: Arc<dyn ScanSource>,
        directory: Arc<dyn HoldDirectory>,
        access: HoldAccess,
        tasks: Shutdown,
    ) -> Self {
        Self {
            source,
            directory,
            access,
            tasks,
            room: SharedBudget::new(ROOM),
            flights: KeyedLocks::default(),
            findings: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .weigher(|_, findings: &Arc<Findings>| findings.weight())
                .build(),
            packages: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .weigher(|_, packages: &Arc<Packages>| packages.weight())
                .build(),
        }
    }

    /// What `hold` says to `visitor` of the scan of an image.
    pub async fn ask(&self, visitor: &Principal, hold: &Did, digest: &Digest) -> HoldWord {
        let asking = async {
            let hold = self
                .directory
                .resolve(hold)
                .await
                .map_err(|_| Silence::NoAnswer)?;
            let call =
                async |token: Option<SecretString>| self.source.view(&hold, token.as_ref(), digest).await;
            let answer = self.access.read(visitor, &hold, call).await;
            answer.map_err(|error| silence(&error))
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Some(view))) if view.digest == *digest => HoldWord::Said(Box::new(view)),
            Ok(Ok(Some(_))) => HoldWord::Silent(Silence::Nonsense),
            Ok(Ok(None)) => HoldWord::HasNone,
            Ok(Err(silence)) => HoldWord::Silent(silence),
            Err(_) => HoldWord::Silent(Silence::NoAnswer),
        }
    }

    /// The findings in the document at `place`.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn findings(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Arc<Findings>, NoDocument> {
        self.parsed(visitor, hold, place, &self.findings, Findings::parse)
            .await
    }

    /// The packages in the document at `place`.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn packages(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Arc<Packages>, NoDocument> {
        self.parsed(visitor, hold, place, &self.packages, Packages::parse)
            .await
    }

    /// What `parse` makes of the document at `place`, which one caller at a time reads for all.
    async fn parsed<T: Send + Sync + 'static>(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
        remembered: &Remembered<T>,
        parse: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<Arc<T>, NoDocument> {
        let key = (hold.clone(), place.clone());
        if let Some(found) = remembered.get(&key) {
            return Ok(found);
        }
        let flight = tokio::time::timeout(TURN_PATIENCE, self.flights.lock(&key)).await;
        let _flight = flight.map_err(|_| NoDocument::Busy)?;
        if let Some(found) = remembered.get(&key) {
            return Ok(found);
        }
        let read = self.fetch(visitor, hold, place).await?;
        let is_for_all = read.is_public || matches!(place, DocumentPlace::Beside { .. });
        let parsed = blocking(move || {
            let read = read.checked()?;
            parse(&read.bytes).map_err(|Unreadable| NoDocument::Unreadable)
        });
        let parsed = Arc::new(parsed.await?);
        if is_for_all {
            remembered.insert(key, Arc::clone(&parsed));
        }
        Ok(parsed)
    }

    /// The document at `place`, whose bytes hash to what names it.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn download(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Download, NoDocument> {
        let read = self.fetch(visitor, hold, place).await?;
        let read = blocking(move || read.checked()).await?;
        Ok(Download::start(read, &self.tasks))
    }

    async fn fetch(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<ReadDocument, NoDocument> {
        let silent = || NoDocument::Silent(Silence::NoAnswer);
        let resolved = tokio::time::timeout(PATIENCE, self.directory.resolve(hold)).await;
        let Ok(Ok(hold)) = resolved else {
            return Err(silent());
        };
        // A hold's slow documents are in the way of its own only; and that others wait says nothing of the hold.
        let party = party(hold.endpoint.host_str().unwrap_or_default());
        let room = self.room.acquire(&party, MAX_READ, TURN_PATIENCE).await;
        let mut room = room.map_err(|_| NoDocument::Busy)?;
        let call = async |token: Option<SecretString>| {
            let read = self.source.document(&hold, token.as_ref(), place, MAX_READ);
            Ok((read.await?, token.is_none()))
        };
        let reading = self.access.read(visitor, &hold, call);
        let read = tokio::time::timeout(DOCUMENT_PATIENCE, reading).await;
        match read.map_err(|_| silent())? {
            Ok((bytes, _)) if bytes.len() > MAX_READ => Err(NoDocument::TooLong),
            Ok((bytes, is_public)) => {
                room.shrink_to(bytes.len());
                Ok(ReadDocument {
                    bytes,
                    is_public,
                    cid: *place.cid(),
                    hold: hold.did.clone(),
                    room,
                })
            }
            Err(CallError::Hold(HoldError::BlobNotFound)) => Err(NoDocument::None),
            Err(error) => Err(NoDocument::Silent(silence(&error))),
        }
    }
}

fn silence(error: &CallError) -> Silence {
    match error {
        CallError::Token(RegistryError::Access(AccessError::SignInRequired))
        | CallError::Hold(HoldError::Unauthorized | HoldError::Forbidden { .. } | HoldError::UrlRefused) => {
            Silence::MembersOnly
        }
        CallError::Token(_) => Silence::NoToken,
        CallError::Hold(HoldError::Malformed { .. }) => Silence::Nonsense,
        CallError::Hold(_) => Silence::NoAnswer,
    }
}

/// Long documents take as long as tasks must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NoDocument> + Send + 'static,
) -> Result<T, NoDocument> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(NoDocument::Unreadable))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use atcr_atproto::data_model::{RAW, cid_of};
    use atcr_auth::principal::AuthMethod;
    use atcr_registry::Granted;
    use atcr_registry::access::Push;
    use atcr_registry::context::RequestContext;
    use atcr_registry::hold::ports::{HoldRef, HoldTokens};
    use atcr_scan_protocol::ScanView;
    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use tokio::sync::Notify;

    use super::*;

    /// Holds of which some do not answer.
    #[derive(Default)]
    struct Holds {
        reads: Mutex<Vec<String>>,
        asked: Notify,
        has_silent_server: bool,
    }

    const REPORT: &str = r#"{"matches":[]}"#;

    #[async_trait]
    impl ScanSource for Holds {
        async fn view(
            &self,
            _: &HoldRef,
            token: Option<&SecretString>,
            _: &Digest,
        ) -> Result<Option<ScanView>, HoldError> {
            token.map_or(Err(HoldError::Unauthorized), |_| Ok(None))
        }

        async fn document(
            &self,
            hold: &HoldRef,
            _: Option<&SecretString>,
            _: &DocumentPlace,
            _: usize,
        ) -> Result<Bytes, HoldError> {
            self.reads.lock().unwrap().push(hold.did.to_string());
            self.asked.notify_one();
            if hold.did.as_str().contains("silent") {
                std::future::pending::<()>().await;
            }
            Ok(Bytes::from_static(REPORT.as_bytes()))
        }
    }

    #[async_trait]
    impl HoldDirectory for Holds {
        async fn for_push(&self, _: &Granted<Push>) -> Result<HoldRef, RegistryError> {
            Err(RegistryError::internal("not asked for"))
        }

        async fn for_blob(&self, _: &RequestContext, _: &Digest) -> Result<Vec<Did>, RegistryError> {
            Ok(Vec::new())
        }

        async fn resolve(&self, hold: &Did) -> Result<HoldRef, RegistryError> {
            let host = hold.as_str().trim_start_matches("did:web:");
            Ok(HoldRef {
                did: hold.clone(),
                endpoint: format!("https://{host}").parse().unwrap(),
            })
        }

        async fn of_pushes(&self, _: &RequestContext) -> Result<Option<HoldRef>, RegistryError> {
            Ok(None)
        }

        async fn admit(&self, _: &Principal, _: &HoldRef) -> bool {
            false
        }
    }

    #[async_trait]
    impl HoldTokens for Holds {
        async fn token_for(
            &self,
            principal: &Principal,
            _: &Did,
        ) -> Result<Option<SecretString>, RegistryError> {
            match principal {
                Principal::Anonymous => Ok(None),
                Principal::Sailor { .. } if self.has_silent_server => {
                    Err(RegistryError::internal("its server says nothing"))
                }
                Principal::Sailor { .. } => Ok(Some("token".into())),
            }
        }

        async fn invalidate(&self, _: &Principal, _: &Did) {}
    }

    fn scans(holds: &Arc<Holds>) -> Arc<Scans> {
        let access = HoldAccess::new(Arc::clone(holds) as _);
        let (source, directory) = (Arc::clone(holds) as _, Arc::clone(holds) as _);
        Arc::new(Scans::new(source, directory, access, Shutdown::new()))
    }

    fn did(name: &str) -> Did {
        format!("did:web:{name}").parse().unwrap()
    }

    fn place() -> DocumentPlace {
        DocumentPlace::Record(cid_of(RAW, REPORT.as_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_does_not_answer_is_in_the_way_of_its_own_documents_only() {
        let holds = Arc::default();
        let scans = scans(&holds);
        let mut waiting: Vec<_> = ["silent.one.test", "silent.two.test", "silent.three.test"]
            .map(|name| {
                let scans = Arc::clone(&scans);
                tokio::spawn(async move { scans.findings(&Principal::Anonymous, &did(name), &place()).await })
            })
            .into();
        while holds.reads.lock().unwrap().len() < waiting.len() {
            holds.asked.notified().await;
        }
        let others = scans
            .findings(&Principal::Anonymous, &did("good.test"), &place())
            .await;
        assert!(others.unwrap().all.is_empty());
        // Another document of a silent one waits for its turn: that is no word of the hold.
        let other = DocumentPlace::Record(cid_of(RAW, b"other"));
        let busy = scans
            .findings(&Principal::Anonymous, &did("silent.one.test"), &other)
            .await;
        assert_eq!(busy.unwrap_err(), NoDocument::Busy);
        for waiting in waiting.drain(..) {
            let silent = waiting.await.unwrap();
            assert_eq!(silent.unwrap_err(), NoDocument::Silent(Silence::NoAnswer));
        }
        assert_eq!(scans.room.in_flight(), 0);
    }

    #[tokio::test]
    async fn one_reads_a_document_for_all() {
        let holds = Arc::default();
        let scans = scans(&holds);
        let (name, place) = (did("good.test"), place());
        let (one, other) = tokio::join!(
            scans.findings(&Principal::Anonymous, &name, &place),
            scans.findings(&Principal::Anonymous, &name, &place)
        );
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
        assert_eq!(holds.reads.lock().unwrap().len(), 1);
        assert_eq!(scans.room.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_keeps_no_memory() {
        let scans = scans(&Arc::default());
        let start = async || {
            let read = scans
                .download(&Principal::Anonymous, &did("good.test"), &place())
                .await;
            read.unwrap()
        };
        // What fits into one piece is the client's at once.
        let taken: Vec<_> = start().await.into_stream().collect().await;
        assert_eq!(taken.len(), 1);
        let room = scans
            .room
            .acquire("party", MAX_READ, Duration::ZERO)
            .await
            .unwrap();
        let long = ReadDocument {
            bytes: Bytes::from(vec![0; 10 * 64 * 1024]),
            is_public: true,
            cid: *place().cid(),
            hold: did("good.test"),
            room,
        };
        let stalled = Download::start(long, &scans.tasks);
        assert_eq!(scans.room.in_flight(), MAX_READ);
        // It begins its minute.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(61)).await;
        let taken: Vec<_> = stalled.into_stream().collect().await;
        assert!(taken.len() < 10, "{}", taken.len());
        assert_eq!(scans.room.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_visitor_whose_server_says_nothing_is_no_stranger() {
        let holds = Arc::new(Holds {
            has_silent_server: true,
            ..Holds::default()
        });
        let scans = scans(&holds);
        let (hold, digest) = (did("good.test"), format!("sha256:{:064}", 0).parse().unwrap());
        let alice = Principal::Sailor {
            did: did("alice.test"),
            auth_method: AuthMethod::OAuth,
        };
        for (visitor, expected) in [
            (alice, Silence::NoToken),
            (Principal::Anonymous, Silence::MembersOnly),
        ] {
            let word = scans.ask(&visitor, &hold, &digest).await;
            assert!(
                matches!(&word, HoldWord::Silent(silence) if *silence == expected),
                "{word:?}"
            );
        }
    }
}
