//! The captain's calls of the hold's XRPC methods.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use atcr_test_support::network::{Account, NetworkFile};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// How long a token lives: the hold takes none that lives longer than 5 minutes.
const TOKEN_LIFE: Duration = Duration::from_mins(4);
/// How old a token is when it is replaced.
const TOKEN_AGE: Duration = Duration::from_mins(2);

/// Writes to the hold with service tokens of the account that owns it.
#[derive(Debug)]
pub(crate) struct Captain {
    client: Client,
    pds: String,
    hold: String,
    hold_did: String,
    access_token: String,
    /// By method.
    tokens: Mutex<HashMap<&'static str, (String, Instant)>>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done.
    Done(Value),
    /// The hold refused it for now, or was away: whether it was done is not known.
    Unsure,
}

impl Captain {
    /// Signs in at the network's PDS.
    pub(crate) async fn sign_in(file: &NetworkFile, account: &Account) -> Result<Self> {
        let client = Client::builder().no_proxy().build()?;
        let session: Value = client
            .post(format!("{}/xrpc/com.atproto.server.createSession", file.pds.url))
            .json(&json!({ "identifier": account.did, "password": account.password }))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        Ok(Self {
            client,
            pds: file.pds.url.clone(),
            hold: file.hold.url.clone(),
            hold_did: file.hold.did.clone(),
            access_token: session["accessJwt"].as_str().context("no token")?.to_owned(),
            tokens: Mutex::default(),
        })
    }

    /// The DID of the hold.
    pub(crate) fn hold_did(&self) -> &str {
        &self.hold_did
    }

    async fn token(&self, method: &'static str) -> Result<String> {
        // Held while the PDS is asked, so that one caller asks for all.
        let mut tokens = self.tokens.lock().await;
        if let Some((token, since)) = tokens.get(method)
            && since.elapsed() < TOKEN_AGE
        {
            return Ok(token.clone());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let answer: Value = self
            .client
            .get(format!("{}/xrpc/com.atproto.server.getServiceAuth", self.pds))
            .query(&[
                ("aud", self.hold_did.as_str()),
                ("lxm", method),
                ("exp", &(now + TOKEN_LIFE).as_secs().to_string()),
            ])
            .bearer_auth(&self.access_token)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let token = answer["token"].as_str().context("no token")?.to_owned();
        tokens.insert(method, (token.clone(), Instant::now()));
        Ok(token)
    }

    /// Calls a method with `input`, which is given the hold's `repo`.
    ///
    /// # Errors
    /// If the hold refuses the call for a reason that will not pass.
    pub(crate) async fn call(&self, method: &'static str, mut input: Value) -> Result<Answer> {
        input["repo"] = json!(self.hold_did);
        let request = self
            .client
            .post(format!("{}/xrpc/{method}", self.hold))
            .bearer_auth(self.token(method).await?)
            .json(&input);
        let Ok(answer) = request.send().await else {
            return Ok(Answer::Unsure);
        };
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Answer::Unsure);
        }
        let Ok(body) = answer.bytes().await else {
            return Ok(Answer::Unsure);
        };
        anyhow::ensure!(
            status.is_success(),
            "{method}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(Answer::Done(serde_json::from_slice(&body)?))
    }

    /// The writes of one `applyWrites`, which has to be done.
    pub(crate) async fn apply(&self, writes: &[Value]) -> Result<Value> {
        let input = json!({ "writes": writes });
        match self.call("com.atproto.repo.applyWrites", input).await? {
            Answer::Done(output) => Ok(output),
            Answer::Unsure => anyhow::bail!("the hold refuses writes"),
        }
    }

    /// The revision of the hold's newest commit; `None` while the hold is away.
    pub(crate) async fn newest_rev(&self) -> Option<String> {
        let url = format!("{}/xrpc/com.atproto.sync.getLatestCommit", self.hold);
        let request = self.client.get(url).query(&[("did", &self.hold_did)]);
        let answer: Value = request.send().await.ok()?.json().await.ok()?;
        answer["rev"].as_str().map(str::to_owned)
    }

    /// The whole repository as a CAR.
    pub(crate) async fn repository(&self) -> Result<Vec<u8>> {
        let url = format!("{}/xrpc/com.atproto.sync.getRepo", self.hold);
        let request = self.client.get(url).query(&[("did", &self.hold_did)]);
        let answer = request.send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }
}
