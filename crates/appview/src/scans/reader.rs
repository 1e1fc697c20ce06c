//! Asks holds about scans, and reads their documents: each once for all who may see it, in memory that is counted.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::egress::{SharePermit, SharedBudget, party};
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use atcr_registry::error::{AccessError, RegistryError};
use atcr_registry::hold::credentials::{CallError, HoldAccess};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldDirectory, HoldRef};
use atcr_server::client_address::ClientAddress;
use atcr_server::{KeyedLocks, Shutdown};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use moka::sync::Cache;
use secrecy::SecretString;

use super::document::{Download, ReadDocument, Sending};
use super::{
    DocumentPlace, Findings, HoldWord, MAX_READ, NoDocument, OpenDocument, Packages, ScanSource, Silence,
    Unreadable,
};

/// How long a page waits for what a hold says.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a hold has to begin with a document.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a document may take after that.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(20);
/// How long a document waits for others that are read.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// Memory for documents from their first byte to the end of their parse. The holds below one registered name have a quarter: one of the
/// longest, and some of the usual length beside it.
const ROOM: usize = 6 * MAX_READ;
/// Memory for downloads, of which one client has a quarter.
const DOWNLOADS: usize = 2 * MAX_READ;
/// How long a document is remembered: a hold may become private.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Bytes of findings that are remembered, and of packages.
const REMEMBERED_BYTES: u64 = 64 * 1024 * 1024;

/// Asks holds about scans.
pub struct Scans {
    source: Arc<dyn ScanSource>,
    directory: Arc<dyn HoldDirectory>,
    access: HoldAccess,
    tasks: Shutdown,
    room: SharedBudget,
    downloads: SharedBudget,
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
            downloads: SharedBudget::new(DOWNLOADS),
            flights: KeyedLocks::default(),
            findings: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .time_to_live(REMEMBERED)
                .weigher(|_, findings: &Arc<Findings>| findings.weight())
                .build(),
            packages: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .time_to_live(REMEMBERED)
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
        let _flight = flight.map_err(|_| NoDocument::BeingRead)?;
        if let Some(found) = remembered.get(&key) {
            return Ok(found);
        }
        let (hold, opened, is_public) = self.open(visitor, hold, place).await?;
        let read = self.read(&hold, place, opened).await?;
        let is_for_all = is_public || matches!(place, DocumentPlace::Beside { .. });
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

    /// The document at `place`, whose bytes hash to what names it, for `client`.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn download(
        &self,
        visitor: &Principal,
        client: &ClientAddress,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Download, NoDocument> {
        let (hold, opened, _) = self.open(visitor, hold, place).await?;
        // The client's first: one that does not take what it asked for waits for itself, with no memory of the hold's in hand.
        let client = client.key().to_string();
        let mut sending = room(&self.downloads, &client, announced(&opened)?).await?;
        let read = self.read(&hold, place, opened).await?;
        let ReadDocument { bytes, .. } = blocking(move || read.checked()).await?;
        sending.shrink_to(bytes.len());
        Ok(Download::start(bytes, sending, &self.tasks))
    }

    /// Waits for memory for an answer of at most `bytes` to `client`.
    ///
    /// # Errors
    /// [`NoDocument::Busy`].
    pub async fn room_to_send(&self, client: &ClientAddress, bytes: usize) -> Result<Sending, NoDocument> {
        let room = room(&self.downloads, &client.key().to_string(), bytes).await?;
        Ok(Sending::new(room, self.tasks.clone()))
    }

    /// Asks for the document at `place`; says of it whether everybody may see it.
    async fn open(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<(HoldRef, OpenDocument, bool), NoDocument> {
        let silent = || NoDocument::Silent(Silence::NoAnswer);
        let resolved = tokio::time::timeout(PATIENCE, self.directory.resolve(hold)).await;
        let Ok(Ok(hold)) = resolved else {
            return Err(silent());
        };
        let call = async |token: Option<SecretString>| {
            let opened = self.source.document(&hold, token.as_ref(), place);
            Ok((opened.await?, token.is_none()))
        };
        let opening = self.access.read(visitor, &hold, call);
        let opened = tokio::time::timeout(BEGIN_PATIENCE, opening).await;
        match opened.map_err(|_| silent())? {
            Ok((opened, is_public)) => Ok((hold, opened, is_public)),
            Err(CallError::Hold(HoldError::BlobNotFound)) => Err(NoDocument::None),
            Err(error) => Err(NoDocument::Silent(silence(&error))),
        }
    }

    /// Reads `opened` to its end, in memory that is counted.
    async fn read(
        &self,
        hold: &HoldRef,
        place: &DocumentPlace,
        opened: OpenDocument,
    ) -> Result<ReadDocument, NoDocument> {
        let most = announced(&opened)?;
        // A hold's slow documents are in the way of its own only; and that others wait says nothing of the hold.
        let party = party(hold.endpoint.host_str().unwrap_or_default());
        let mut room = room(&self.room, &party, most).await?;
        let mut pieces = opened.bytes;
        let reading = async {
            let mut bytes = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|_| NoDocument::Silent(Silence::NoAnswer))?;
                if bytes.len() + piece.len() > most {
                    return Err(NoDocument::TooLong);
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        };
        let bytes = tokio::time::timeout(DOCUMENT_PATIENCE, reading).await;
        let bytes = bytes.unwrap_or(Err(NoDocument::Silent(Silence::NoAnswer)))?;
        room.shrink_to(bytes.len());
        Ok(ReadDocument {
            bytes,
            cid: *place.cid(),
            hold: hold.did.clone(),
            _room: room,
        })
    }
}

/// How much of a document is read at most: what its hold announced, else the longest.
fn announced(opened: &OpenDocument) -> Result<usize, NoDocument> {
    match opened.length {
        Some(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_READ)
            .ok_or(NoDocument::TooLong),
        None => Ok(MAX_READ),
    }
}

async fn room(budget: &SharedBudget, party: &str, bytes: usize) -> Result<SharePermit, NoDocument> {
    let room = budget.acquire(party, bytes, TURN_PATIENCE).await;
    room.map_err(|_| NoDocument::Busy)
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
    use atcr_registry::hold::ports::HoldTokens;
    use atcr_scan_protocol::ScanView;
    use bytes::Bytes;
    use futures_util::stream;
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
        ) -> Result<OpenDocument, HoldError> {
            self.reads.lock().unwrap().push(hold.did.to_string());
            self.asked.notify_one();
            if hold.did.as_str().contains("silent") {
                return Ok(OpenDocument {
                    length: None,
                    bytes: stream::pending().boxed(),
                });
            }
            Ok(OpenDocument {
                length: Some(REPORT.len() as u64),
                bytes: stream::iter([Ok(Bytes::from_static(REPORT.as_bytes()))]).boxed(),
            })
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

    fn client(number: u8) -> ClientAddress {
        let counted = std::net::IpAddr::from([192, 0, 2, number]);
        ClientAddress {
            counted,
            own: Some(counted),
        }
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
        // The same document is being read for another visitor.
        let same = scans
            .findings(&Principal::Anonymous, &did("silent.two.test"), &place())
            .await;
        assert_eq!(same.unwrap_err(), NoDocument::BeingRead);
        for waiting in waiting.drain(..) {
            let silent = waiting.await.unwrap();
            assert_eq!(silent.unwrap_err(), NoDocument::Silent(Silence::NoAnswer));
        }
        assert_eq!(scans.room.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_hangs_leaves_room_for_others_below_its_name() {
        let holds = Arc::default();
        let scans = scans(&holds);
        let hangs = tokio::spawn({
            let scans = Arc::clone(&scans);
            async move {
                let hold = did("silent.one.test");
                scans.findings(&Principal::Anonymous, &hold, &place()).await
            }
        });
        while scans.room.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        let before = tokio::time::Instant::now();
        let other = scans
            .findings(&Principal::Anonymous, &did("good.one.test"), &place())
            .await;
        assert!(other.unwrap().all.is_empty());
        assert_eq!(before.elapsed(), Duration::ZERO);
        hangs.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_in_its_own_way_only() {
        let scans = scans(&Arc::default());
        let (slow, other) = (client(1), client(2));
        let held = room(&scans.downloads, &slow.key().to_string(), MAX_READ).await;
        let download = async |client: &ClientAddress| {
            scans
                .download(&Principal::Anonymous, client, &did("good.test"), &place())
                .await
        };
        assert_eq!(download(&slow).await.unwrap_err(), NoDocument::Busy);
        assert_eq!(scans.room.in_flight(), 0);
        download(&other).await.unwrap();
        drop(held);
        download(&slow).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_counts_until_its_client_has_it() {
        let scans = scans(&Arc::default());
        let sending = scans.room_to_send(&client(1), MAX_READ / 8).await.unwrap();
        assert_eq!(scans.downloads.in_flight(), MAX_READ / 8);
        let answer = sending.start(Bytes::from(vec![b' '; 256 * 1024]));
        assert_eq!(scans.downloads.in_flight(), 256 * 1024);
        let taken: Vec<_> = answer.into_stream().collect().await;
        assert_eq!(taken.len(), 4);
        while scans.downloads.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
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
        // What fits into one piece is the client's at once.
        let short = scans
            .download(&Principal::Anonymous, &client(1), &did("good.test"), &place())
            .await;
        let taken: Vec<_> = short.unwrap().into_stream().collect().await;
        assert_eq!(taken.len(), 1);
        let long = Bytes::from(vec![0; 10 * 64 * 1024]);
        let held = room(&scans.downloads, "client", long.len()).await.unwrap();
        let stalled = Download::start(long, held, &scans.tasks);
        assert_eq!(scans.downloads.in_flight(), 10 * 64 * 1024);
        // It begins its minute.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(61)).await;
        let taken: Vec<_> = stalled.into_stream().collect().await;
        assert!(taken.len() < 10, "{}", taken.len());
        assert_eq!((scans.room.in_flight(), scans.downloads.in_flight()), (0, 0));
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
