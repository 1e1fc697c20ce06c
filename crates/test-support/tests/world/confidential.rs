//! Behind a name with TLS the registry is a confidential client, and people sign in there just the same.

use std::path::Path;
use std::process::Command;

use atcr_test_support::network::{Account, Front, Ports};
use atcr_test_support::registry_client::{IMAGE_MANIFEST, RegistryClient, image_manifest};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::{World, succeed};

/// No reserved name: the reference PDS takes no client from one.
const HOST: &str = "registry.atcr.dev";

/// A certificate for [`HOST`] that is its own authority.
fn certify(folder: &Path) {
    succeed(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "2", "-subj", &format!("/CN={HOST}"), "-addext"])
            .arg(format!("subjectAltName=DNS:{HOST}"))
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder),
    );
}

/// SHA-256 of the certificate's public key, in base64.
fn public_key_hash(folder: &Path) -> String {
    let openssl = "openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary";
    let hash = succeed(
        Command::new("sh")
            .args(["-c", &format!("{openssl} | openssl base64 -A")])
            .current_dir(folder),
    );
    hash.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confidential_client_signs_people_in_behind_tls() {
    let certificates = tempfile::tempdir().expect("a temporary folder");
    certify(certificates.path());
    let front = Front {
        host: HOST.to_owned(),
        port: Ports::free().expect("a port").appview,
        folder: certificates.path().to_owned(),
    };
    let url = front.url();
    let mut world = World::start_with(|options| options.front = Some(front)).await;

    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let metadata: Value = http
        .get(format!("{}/oauth-client-metadata.json", world.appview()))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("metadata");
    assert_eq!(metadata["client_id"], format!("{url}/oauth-client-metadata.json"));
    assert_eq!(metadata["token_endpoint_auth_method"], "private_key_jwt");

    let arguments = [
        format!("--host-resolver-rules=MAP {HOST} 127.0.0.1"),
        // Trusts this certificate, and no other unsigned one.
        format!(
            "--ignore-certificate-errors-spki-list={}",
            public_key_hash(certificates.path())
        ),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let browser = Browser::start(&world.folder("browser"), &arguments).await;
    browser
        .open(&format!("{url}/auth/oauth/login?return_to=/settings"))
        .await;
    browser.fill("handle", "alice.test").await;
    browser.press("Continue at your account server").await;
    let alice = world.account("alice.test").clone();
    browser.authorize_at_pds(&alice).await;
    browser.wait_for("form[action='/auth/logout']").await;
    assert_eq!(browser.url().await, format!("{url}/settings"));
    let cookies = browser.cookie_names().await;
    assert!(
        cookies.iter().any(|name| name.starts_with("__Host-")),
        "the session is bound to the host: {cookies:?}"
    );

    // A device, so that something writes to the PDS in her name.
    let answer = |path: &str, body: Value| {
        let request = http.post(format!("{}{path}", world.appview())).json(&body);
        async move {
            let answer = request.send().await.expect("an answer");
            answer.json::<Value>().await.expect("JSON")
        }
    };
    let code = answer("/auth/device/code", json!({ "device_name": "a machine" })).await;
    let user_code = code["user_code"].as_str().expect("a code").to_owned();
    browser.open(&format!("{url}/device?user_code={user_code}")).await;
    browser.press("Approve").await;
    browser.wait_for_text("Device approved").await;
    let device = answer(
        "/auth/device/token",
        json!({ "device_code": code["device_code"] }),
    )
    .await;
    let secret = device["device_secret"].as_str().expect("a secret").to_owned();
    let signed_in = Account {
        app_password: secret,
        ..alice.clone()
    };

    // Written with the tokens that the sign-in gave.
    let pds = &world.network.file().pds.url;
    let profile = http
        .get(format!(
            "{pds}/xrpc/com.atproto.repo.getRecord?repo={}&collection=io.atcr.sailor.profile&rkey=self",
            alice.did
        ))
        .send()
        .await
        .expect("an answer");
    assert!(
        profile.status().is_success(),
        "alice has a profile: {}",
        profile.status()
    );

    // And with those that a refresh gives, for which this client proves its key as well.
    let name = "alice.test/confidential";
    let appview = world.appview().to_owned();
    let mut client = RegistryClient::new(&appview, &signed_in).expect("a client");
    client.authorize(name, "pull,push").await.expect("a token");
    let config = client.push_blob(name, b"{}".to_vec()).await.expect("a config");
    let manifest = image_manifest((&config, 2), &[]);
    for tag in ["given", "refreshed"] {
        if tag == "refreshed" {
            world
                .network
                .forget_access_tokens()
                .await
                .expect("the PDS starts");
        }
        client
            .push_manifest(name, tag, IMAGE_MANIFEST, manifest.clone())
            .await
            .unwrap_or_else(|error| panic!("a push with tokens that were {tag}: {error:#}"));
    }
}
