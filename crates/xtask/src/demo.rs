//! `demo`: a real image goes in, its record and its objects are looked at, it comes out equal.

use std::path::Path;

use anyhow::{Result, ensure};
use atcr_test_support::network::{Account, NetworkFile, NetworkOptions, Part, Ports};
use atcr_test_support::tools::Workspace;
use clap::Args;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::build::{self, BuildArguments};
use crate::image::{engine_needs, push_and_pull};
use crate::interrupt::{Interrupt, blocking};
use crate::network::{fresh_state, with_network};
use crate::progress::{print, say};
use crate::up::StateArguments;

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    build: BuildArguments,
}

const GET_BLOB: &str = "com.atproto.sync.getBlob";

/// Pushes and pulls an image and compares every digest: at the network that `up` started, or at a fresh one on free
/// ports, which is stopped afterwards.
pub(crate) async fn demo(arguments: DemoArguments, interrupt: &Interrupt) -> Result<()> {
    let workspace = Workspace::locate()?;
    let state = arguments.state.folder(&workspace);
    if let Some(file) = NetworkFile::read(&state)?
        && Part::ALWAYS
            .iter()
            .all(|part| file.running(*part, &state).is_some())
        && !file.accounts.is_empty()
    {
        say(&format!("using the network that runs at {}", file.appview.url));
        return interrupt.or(walk(&file, &state)).await;
    }
    build::prepare(&workspace, &arguments.build, engine_needs(), &[], interrupt).await?;
    let options = NetworkOptions::new(fresh_state(&state.join("demo-network"))?, Ports::free()?);
    with_network(&workspace, options, interrupt, async |file| {
        walk(file, &state).await
    })
    .await
}

async fn walk(file: &NetworkFile, state: &Path) -> Result<()> {
    let alice = file.account("alice.test")?;
    let registry = file.appview.url.trim_start_matches("http://").to_owned();
    let digests = {
        let (alice, folder) = (alice.clone(), state.to_owned());
        blocking(move || push_and_pull(&registry, &alice, &folder)).await?
    };

    let record = record_of(file, alice, "demo", &digests.pushed).await?;
    print(format_args!("\n  {}", record.uri));
    print(format_args!("  {:<10} {}", "pushed", digests.pushed));
    print(format_args!("  {:<10} {}", "recorded", record.value.digest));
    print(format_args!("  {:<10} {}", "pulled", digests.pulled));
    ensure!(
        digests.pushed == record.value.digest && digests.pushed == digests.pulled,
        "the manifest digests differ"
    );

    print(format_args!(
        "\n  objects behind {} (named in the record → hashed from the store)",
        file.hold.did
    ));
    let token = service_token(file, alice).await?;
    for blob in record.value.config.iter().chain(&record.value.layers) {
        let stored = hash_object(file, alice, &token, &blob.digest).await?;
        print(format_args!(
            "  {:>8} B  {}\n           →  {stored}",
            blob.size, blob.digest
        ));
        ensure!(stored == blob.digest, "the object differs from its name");
    }
    print("\nEvery digest is equal.");
    Ok(())
}

#[derive(Deserialize)]
struct Record {
    uri: String,
    value: Manifest,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
    repository: String,
    config: Option<Blob>,
    #[serde(default)]
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    size: u64,
}

/// The manifest's record, as the PDS hands it to anyone.
async fn record_of(file: &NetworkFile, alice: &Account, repository: &str, digest: &str) -> Result<Record> {
    let hex = digest.trim_start_matches("sha256:");
    let answer = client()?
        .get(format!("{}/xrpc/com.atproto.repo.getRecord", file.pds.url))
        .query(&[
            ("repo", alice.did.as_str()),
            ("collection", "io.atcr.manifest"),
            ("rkey", hex),
        ])
        .send()
        .await?;
    ensure!(
        answer.status().is_success(),
        "the PDS has no record of the manifest"
    );
    let record: Record = answer.json().await?;
    ensure!(
        record.value.repository == repository,
        "the record names another repository"
    );
    Ok(record)
}

#[derive(Deserialize)]
struct Session {
    #[serde(rename = "accessJwt")]
    access_token: String,
}

#[derive(Deserialize)]
struct ServiceToken {
    token: String,
}

/// A token with which alice reads at the hold: a private one asks for it.
async fn service_token(file: &NetworkFile, alice: &Account) -> Result<String> {
    let client = client()?;
    let session: Session = client
        .post(format!("{}/xrpc/com.atproto.server.createSession", file.pds.url))
        .json(&serde_json::json!({ "identifier": alice.handle, "password": alice.app_password }))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let answer: ServiceToken = client
        .get(format!("{}/xrpc/com.atproto.server.getServiceAuth", file.pds.url))
        .query(&[("aud", file.hold.did.as_str()), ("lxm", GET_BLOB)])
        .bearer_auth(session.access_token)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    Ok(answer.token)
}

/// The digest of what the hold hands out under `digest`.
async fn hash_object(file: &NetworkFile, alice: &Account, token: &str, digest: &str) -> Result<String> {
    let mut answer = client()?
        .get(format!("{}/xrpc/{GET_BLOB}", file.hold.url))
        .query(&[("did", alice.did.as_str()), ("cid", digest)])
        .bearer_auth(token)
        .send()
        .await?;
    ensure!(answer.status().is_success(), "the hold has no blob {digest}");
    let mut hasher = Sha256::new();
    while let Some(chunk) = answer.chunk().await? {
        hasher.update(&chunk);
    }
    Ok(format!(
        "sha256:{}",
        data_encoding::HEXLOWER.encode(&hasher.finalize())
    ))
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}
