//! `verify` against an account's own server: what is proven, what is refused, what cannot be checked.

use std::fs;

use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::lexicon::{BlobRef, Record as _};
use atcr_atproto::syntax::{Datetime, Tid};
use atcr_credential_helper::verification::image_name::{ImageName, InvalidImageName};
use atcr_credential_helper::verification::policy::Policy;
use atcr_oci::{Algorithm, Descriptor, Digest, ImageIndex, ImageManifest, Manifest, MediaType};
use atcr_test_support::fakes::FakePds;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake_appview::{Answer, FakeAppView};
use crate::home::{Home, Run};

const LAYER: &[u8] = b"a layer";
const CONFIG: &[u8] = b"{}";

/// `alice.test` at a PDS, and the helper.
struct Verifier {
    pds: FakePds,
    did: String,
    home: Home,
    runtime: Runtime,
}

impl Verifier {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let pds = runtime.block_on(FakePds::start()).unwrap();
        Self {
            did: pds.add_account("alice.test", "password"),
            home: Home::new(),
            pds,
            runtime,
        }
    }

    /// Alice's account has `manifest` as `app:<tag>`, as a push writes it.
    fn push(&self, tag: &str, manifest: &Manifest) -> Digest {
        let now: Datetime = "2026-11-30T10:00:00.000Z".parse().unwrap();
        let digest = manifest.digest(Algorithm::Sha256);
        let media_type = manifest.media_type().as_str();
        let mut record = ManifestRecord::new("app", digest.as_str(), media_type, now.clone());
        record.manifest_blob = Some(BlobRef::of(manifest.bytes(), media_type));
        record.hold_did = "did:web:hold.example".parse().ok();
        self.pds.put_blob(&self.did, media_type, manifest.bytes().clone());
        let key = manifest::rkey(digest.as_str()).unwrap();
        self.put("io.atcr.manifest", key.as_str(), record.to_value().unwrap());
        let record = TagRecord::new(&self.did.parse().unwrap(), "app", tag, digest.as_str(), now).unwrap();
        let key = tag::rkey("app", tag).unwrap();
        self.put("io.atcr.tag", key.as_str(), record.to_value().unwrap());
        digest
    }

    fn put(&self, collection: &str, rkey: &str, value: Value) {
        self.pds.put_record(&self.did, collection, rkey, value);
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let url = self.pds.url();
        let network = [
            "--local",
            "--plc-directory-url",
            &url,
            "--handle-resolver-url",
            &url,
        ];
        self.home.run(&[&["verify"], arguments, &network].concat(), "")
    }

    /// What `--json` says, after the exit code.
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let run = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(run.code, code, "{run}");
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
    }

    fn refused(&self, code: &str, arguments: &[&str]) {
        let said = self.json(3, arguments);
        assert_eq!(
            (said["verdict"].as_str(), said["code"].as_str()),
            (Some("refused"), Some(code)),
            "{said}"
        );
    }
}

fn descriptor(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        media_type,
        Digest::of(Algorithm::Sha256, bytes),
        bytes.len() as u64,
    )
}

fn image() -> Manifest {
    let config = descriptor(MediaType::OCI_IMAGE_CONFIG, CONFIG);
    let layer = descriptor(MediaType::OCI_LAYER_TAR_GZIP, LAYER);
    Manifest::from_image(&ImageManifest::new(config, vec![layer])).unwrap()
}

#[test]
fn an_image_is_proven_by_its_authors_server_and_by_nothing_else() {
    let verifier = Verifier::new();
    let digest = verifier.push("1", &image());
    let run = verifier.run(&["alice.test/app:1"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
    for part in [
        "Proven: alice.test/app:1 is signed by alice.test\n".to_owned(),
        format!("  account  {}\n", verifier.did),
        format!("  digest   {digest}\n"),
        "  tag      1, moved 2026-11-30 10:00:00 UTC as its record says\n".to_owned(),
        format!(
            "key      {} (from the account's DID document)\n",
            verifier.pds.signing_key(&verifier.did)
        ),
        "  covers   its own bytes, and by digest 2 blobs of 9 bytes (not read)\n".to_owned(),
    ] {
        assert!(run.stdout.contains(&part), "no {part} in {run}");
    }
    // The tag may be moved before the pull: the last line is what is safe to run.
    let pull = format!("docker pull atcr.io/alice.test/app@{digest}");
    assert!(run.stdout.ends_with(&format!("\n  pull     {pull}\n")), "{run}");
    let both = format!("atcr.io/alice.test/app:9@{digest}");
    let run = verifier.run(&[&both]);
    assert!(
        run.code == 0
            && run
                .stdout
                .contains("  tag      9 was not checked, the digest was\n"),
        "{run}"
    );
    let said = verifier.json(0, &[&both]);
    assert_eq!(
        (&said["unchecked_tag"], &said["pull"]),
        (&json!("9"), &json!(pull))
    );
    let said = verifier.json(0, &[&format!("atcr.io/alice.test/app@{digest}")]);
    assert_eq!(said["unchecked_tag"], json!(null));
    assert_eq!(said["verdict"], "proven");
    assert_eq!(
        (&said["did"], &said["handle"]),
        (&json!(verifier.did), &json!("alice.test"))
    );
    assert_eq!(
        (&said["handle_confirmed"], &said["key_believed_by"]),
        (&json!(true), &json!("document"))
    );
    let rev = verifier.pds.rev(&verifier.did).unwrap();
    assert_eq!(
        (&said["manifest"]["rev"], &said["covers"]["blobs"]),
        (&json!(rev), &json!(2))
    );
    // By the permanent name, in both spellings.
    verifier.json(0, &[&format!("{}/app:1", verifier.did)]);
    verifier.json(0, &[&format!("atcr.io/{}/app:1", verifier.did.replace(':', "-"))]);

    verifier.refused("no_such_record", &["alice.test/app:2"]);
    verifier.refused("no_such_record", &["alice.test/other:1"]);
    verifier.refused("no_such_account", &["bob.test/app:1"]);
    verifier.json(0, &["alice.test/app:1", "--not-before", &rev]);
    let later: Tid = rev.parse().unwrap();
    let later = Tid::from_parts(later.micros() + 1, 0).to_string();
    verifier.refused("older_revision", &["alice.test/app:1", "--not-before", &later]);
}

#[test]
fn a_server_that_lies_is_refused_and_one_that_is_silent_is_not() {
    let mut verifier = Verifier::new();
    let digest = verifier.push("1", &image());
    let cid = BlobRef::of(image().bytes(), "any").cid.to_string();
    verifier.pds.damage_blob(&verifier.did, &cid, "other bytes");
    verifier.refused("bytes_differ", &["alice.test/app:1"]);
    verifier.push("1", &image());
    let mut record = verifier
        .pds
        .record(&verifier.did, "io.atcr.manifest", digest.hex())
        .unwrap();
    record["digest"] = json!(Digest::of(Algorithm::Sha256, b"other").as_str());
    verifier.put("io.atcr.manifest", digest.hex(), record);
    verifier.refused("another_image", &["alice.test/app:1"]);
    verifier.push("1", &image());
    verifier.json(0, &["alice.test/app:1"]);
    verifier.pds.forge(&verifier.did);
    verifier.refused("bad_signature", &["alice.test/app:1"]);
    verifier.runtime.block_on(verifier.pds.stop());
    let said = verifier.json(1, &["alice.test/app:1"]);
    assert_eq!(said["verdict"], "unchecked");
    // This machine is reached only where that is asked for.
    let run = verifier.home.run(&["verify", "alice.test/app", "--json"], "");
    assert_ne!(run.code, 0, "{run}");
}

#[test]
fn what_an_image_names_twice_counts_once() {
    let verifier = Verifier::new();
    let (config, layer) = (
        descriptor(MediaType::OCI_IMAGE_CONFIG, CONFIG),
        descriptor(MediaType::OCI_LAYER_TAR_GZIP, LAYER),
    );
    let twice = ImageManifest::new(config, vec![layer.clone(), layer]);
    verifier.push("twice", &Manifest::from_image(&twice).unwrap());
    let said = verifier.json(0, &["alice.test/app:twice"]);
    assert_eq!(
        (&said["covers"]["blobs"], &said["covers"]["size_bytes"]),
        (&json!(2), &json!(9))
    );
}

#[test]
fn a_policy_says_who_may_sign() {
    let verifier = Verifier::new();
    verifier.push("1", &image());
    let policy = |text: String| {
        let path = verifier.home.write("policy.yaml", &text);
        path.display().to_string()
    };
    let allow = policy(format!(
        "images:\n  - name: alice.test/*\n    signers: [{}]\n",
        verifier.did
    ));
    verifier.json(0, &["alice.test/app:1", "--policy", &allow]);
    // The rule is for the name as it is given.
    let did = format!("{}/app:1", verifier.did);
    verifier.refused("not_allowed_by_policy", &[&did, "--policy", &allow]);
    let others =
        policy("images:\n  - name: alice.test/app\n    signers: [did:web:other.example]\n".to_owned());
    let kept = verifier.home.path("refused.proof");
    let path = kept.display().to_string();
    verifier.refused(
        "not_allowed_by_policy",
        &["alice.test/app:1", "--policy", &others, "--save-proof", &path],
    );
    assert!(!kept.exists(), "what the policy refuses is kept");
    let allow = policy(format!(
        "images:\n  - name: alice.test/*\n    signers: [{}]\n",
        verifier.did
    ));
    // Characters in place of bad bytes would make another name of it.
    let mut text = fs::read(&allow).unwrap();
    text.extend(b"# \xff\n");
    fs::write(&allow, text).unwrap();
    let said = verifier.json(1, &["alice.test/app:1", "--policy", &allow]);
    assert!(said["reason"].as_str().unwrap().contains("not UTF-8"), "{said}");
    for text in [
        "images:\n  - name: a*b\n    signers: []\n",
        "images:\n  - name: a\n",
        "imagess: []\n",
        "images:\n  - name: a\n    signers: [alice]\n",
    ] {
        assert!(Policy::parse(text).is_err(), "{text}");
        let wrong = policy(text.to_owned());
        let said = verifier.json(1, &["alice.test/app:1", "--policy", &wrong]);
        assert_eq!(said["verdict"], "unchecked");
    }
}

#[test]
fn a_proof_in_a_file_is_checked_without_network() {
    let mut verifier = Verifier::new();
    verifier.push("1", &image());
    let path = verifier.home.path("app.proof").display().to_string();
    let key = verifier.pds.signing_key(&verifier.did);
    let run = verifier.run(&["alice.test/app:1", "--save-proof", &path]);
    assert!(
        run.code == 0 && run.stderr.contains(&format!("--key {key}")),
        "{run}"
    );
    verifier.runtime.block_on(verifier.pds.stop());

    let offline = |code: i32, arguments: &[&str]| {
        let run = verifier
            .home
            .run(&[&["verify", "--json", "--proof", &path], arguments].concat(), "");
        assert_eq!(run.code, code, "{run}");
        serde_json::from_str::<Value>(&run.stdout).unwrap()
    };
    // The little directory keeps no operations, so somebody has to vouch for the key.
    assert_eq!(offline(1, &[])["verdict"], "unchecked");
    let named = format!("{}/app:1", verifier.did);
    let said = offline(0, &["--key", &key, &named]);
    assert_eq!(
        (&said["verdict"], &said["key_believed_by"]),
        (&json!("proven"), &json!("given"))
    );
    assert_eq!((&said["image"], &said["handle"]), (&json!(named), &json!(null)));
    let other = FakePds::signing_key(&verifier.pds, "did:plc:other");
    assert_eq!(offline(3, &["--key", &other])["code"], "bad_signature");
    assert_eq!(
        offline(3, &["--key", &key, "alice.test/app:2"])["code"],
        "another_key"
    );
    // Whoever makes a file chooses its account and the handle that it is shown under: only a DID or a policy says whose it has to be.
    assert_eq!(offline(3, &["--key", &key])["code"], "handle_not_proven");
    for handle in ["alice.test/app:1", "bank.example/app:1"] {
        assert_eq!(offline(3, &["--key", &key, handle])["code"], "handle_not_proven");
    }
    let policy = |signer: &str| {
        let text = format!("images:\n  - name: alice.test/app\n    signers: [{signer}]\n");
        verifier.home.write("policy.yaml", &text).display().to_string()
    };
    let allowed = policy(&verifier.did);
    let said = offline(0, &["--key", &key, "--policy", &allowed, "alice.test/app:1"]);
    assert_eq!((&said["image"], &said["handle"]), (&json!(named), &json!(null)));
    let others = policy("did:web:other.example");
    assert_eq!(
        offline(3, &["--key", &key, "--policy", &others, "alice.test/app:1"])["code"],
        "not_allowed_by_policy"
    );
    let stranger = format!("did:plc:{}/app:1", "b".repeat(24));
    assert_eq!(offline(3, &["--key", &key, &stranger])["code"], "another_account");

    let kept: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = kept.clone();
        change(&mut file);
        fs::write(&path, file.to_string()).unwrap();
    };
    with(&|file| file["identity"] = json!("bank.example"));
    let run = verifier
        .home
        .run(&["verify", "--proof", &path, "--key", &key, &named], "");
    assert!(run.code == 0 && !run.stdout.contains("bank.example"), "{run}");
    with(&|file| file["repository"] = json!("app is signed by bank.example"));
    assert_eq!(offline(1, &["--key", &key])["verdict"], "unchecked");
    with(&|file| file["manifest_bytes"] = json!("e30="));
    assert_eq!(offline(3, &["--key", &key])["code"], "bytes_differ");
    with(&|file| file["tag"] = json!(null));
    assert_eq!(offline(3, &["--key", &key])["code"], "proof_malformed");
    with(&|file| file["operations"] = json!([]));
    assert_eq!(offline(3, &["--key", &key])["code"], "identity_not_proven");
    with(&|file| file["form"] = json!("atcr-proof/2"));
    assert_eq!(offline(1, &["--key", &key])["verdict"], "unchecked");
    let mut car = Vec::new();
    atcr_repo::car::write_header(&mut car, BlobRef::of(LAYER, "any").cid);
    fs::write(&path, car).unwrap();
    let said = offline(1, &["--key", &key]);
    assert!(said["reason"].as_str().unwrap().contains("it is a CAR"), "{said}");
}

#[test]
fn every_blob_is_hashed_at_the_registry_with_the_accounts_secret_for_it_alone() {
    let verifier = Verifier::new();
    let child = image();
    let index = ImageIndex::new(vec![Descriptor::new(
        child.media_type().clone(),
        child.digest(Algorithm::Sha256),
        child.size(),
    )]);
    let index = Manifest::from_index(&index).unwrap();
    verifier.push("1", &child);
    verifier.push("all", &index);
    let (registry, store) = (FakeAppView::start(), FakeAppView::start());
    let path = |kind: &str, digest: &Digest| format!("/v2/alice.test/app/{kind}/{digest}");
    let (config, layer) = (
        Digest::of(Algorithm::Sha256, CONFIG),
        Digest::of(Algorithm::Sha256, LAYER),
    );
    let challenge = format!("Bearer realm=\"{}/auth/token\",service=\"here\"", registry.url());
    registry.on(
        &path("manifests", &child.digest(Algorithm::Sha256)),
        [Answer::bytes(200, child.bytes().to_vec())],
    );
    registry.on(
        &path("blobs", &config),
        [
            Answer::bytes(401, "").header("www-authenticate", challenge),
            Answer::bytes(200, CONFIG),
        ],
    );
    registry.on("/auth/token", [Answer::json(200, json!({ "token": "granted" }))]);
    let location = format!("{}/stored?signature=1", store.url());
    registry.on(
        &path("blobs", &layer),
        [Answer::bytes(307, "").header("location", location)],
    );
    store.on("/stored", [Answer::bytes(200, LAYER)]);

    let name = |tag: &str| format!("{}/alice.test/app:{tag}", registry.host());
    let said = verifier.json(0, &["--layers", &name("1")]);
    assert_eq!(said["hashed"], json!({ "count": 2, "size_bytes": 9 }));
    let token = &registry.asked_of("/auth/token")[0];
    assert_eq!(
        token.line,
        "GET /auth/token?service=here&scope=repository%3Aalice.test%2Fapp%3Apull"
    );
    let with_token = registry.asked_of(&path("blobs", &config)).pop().unwrap();
    assert_eq!(with_token.authorization.as_deref(), Some("Bearer granted"));
    assert_eq!(
        store.asked_of("/stored")[0].authorization,
        None,
        "the token is the registry's"
    );
    let run = verifier.run(&["--layers", &name("all")]);
    assert!(
        run.code == 0
            && run
                .stdout
                .contains("1 manifest with all that they name (read and hashed)"),
        "{run}"
    );
    assert_eq!(
        verifier.json(0, &["--layers", &name("all")])["hashed"]["count"],
        3
    );

    // A token that ends in the middle of many layers is replaced, and one that is refused at once is not asked for again and again.
    let again = format!("Bearer realm=\"{}/auth/token\",service=\"here\"", registry.url());
    registry.on(
        &path("blobs", &config),
        [
            Answer::bytes(401, "").header("www-authenticate", again.clone()),
            Answer::bytes(200, CONFIG),
        ],
    );
    let location = format!("{}/stored?signature=2", store.url());
    registry.on(
        &path("blobs", &layer),
        [
            Answer::bytes(401, "").header("www-authenticate", again.clone()),
            Answer::bytes(307, "").header("location", location.clone()),
        ],
    );
    let before = registry.asked_of("/auth/token").len();
    assert_eq!(verifier.json(0, &["--layers", &name("1")])["hashed"]["count"], 2);
    assert_eq!(registry.asked_of("/auth/token").len(), before + 2);
    registry.on(
        &path("blobs", &layer),
        [Answer::bytes(401, "").header("www-authenticate", again)],
    );
    let said = verifier.json(1, &["--layers", &name("1")]);
    assert!(said["reason"].as_str().unwrap().contains("status 401"), "{said}");
    registry.on(
        &path("blobs", &layer),
        [Answer::bytes(307, "").header("location", location)],
    );

    // An index in an index is read as well, and a manifest that cannot be read is not taken for one that names nothing.
    let outer = Manifest::from_index(&ImageIndex::new(vec![Descriptor::new(
        index.media_type().clone(),
        index.digest(Algorithm::Sha256),
        index.size(),
    )]));
    let outer = outer.unwrap();
    verifier.push("outer", &outer);
    let inner = path("manifests", &index.digest(Algorithm::Sha256));
    registry.on(&inner, [Answer::bytes(200, index.bytes().to_vec())]);
    assert_eq!(
        verifier.json(0, &["--layers", &name("outer")])["hashed"]["count"],
        4
    );
    let broken = descriptor(MediaType::OCI_IMAGE_MANIFEST, b"broken");
    registry.on(
        &path("manifests", &broken.digest),
        [Answer::bytes(200, &b"broken"[..])],
    );
    let naming_it = Manifest::from_index(&ImageIndex::new(vec![broken])).unwrap();
    verifier.push("broken", &naming_it);
    let said = verifier.json(1, &["--layers", &name("broken")]);
    assert!(
        said["reason"].as_str().unwrap().contains("it is no manifest"),
        "{said}"
    );

    for wrong in [&b"a layeR"[..], b"a layer and more", b"a"] {
        store.on("/stored", [Answer::bytes(200, wrong)]);
        verifier.refused("blob_differs", &["--layers", &name("1")]);
        verifier.refused("blob_differs", &["--layers", &name("all")]);
    }
    store.off("/stored");
    let said = verifier.json(1, &["--layers", &name("1")]);
    assert!(said["reason"].as_str().unwrap().contains("status 404"), "{said}");
}

#[test]
fn an_image_is_named_as_for_docker_with_or_without_the_registry() {
    let default = "atcr.io".parse().unwrap();
    let parse = |text: &str| {
        ImageName::parse(text, &["https://known.example".parse().unwrap()], &default)
            .map(|image| format!("{} {image}", image.registry.authority()))
    };
    let plc = format!("did:plc:{}", "a".repeat(24));
    let digest = format!("sha256:{}", "1".repeat(64));
    for (given, read) in [
        ("alice.example/app", "atcr.io alice.example/app:latest".to_owned()),
        (
            "atcr.io/alice.example/app:1",
            "atcr.io alice.example/app:1".to_owned(),
        ),
        (
            "docker://atcr.io/alice.example/a/b:1",
            "atcr.io alice.example/a/b:1".to_owned(),
        ),
        (
            "other.example/alice.example/app:1",
            "other.example alice.example/app:1".to_owned(),
        ),
        (
            "known.example/alice.example/app",
            "known.example alice.example/app:latest".to_owned(),
        ),
        (
            "localhost:5000/alice.test/app:1",
            "localhost:5000 alice.test/app:1".to_owned(),
        ),
        (&format!("{plc}/app:1"), format!("atcr.io {plc}/app:1")),
        (
            &format!("atcr.io/{}/app", plc.replace(':', "-")),
            format!("atcr.io {plc}/app:latest"),
        ),
        (
            &format!("alice.example/app:1@{digest}"),
            format!("atcr.io alice.example/app@{digest}"),
        ),
    ] {
        assert_eq!(parse(given), Ok(read), "{given}");
    }
    for (given, error) in [
        ("app", InvalidImageName::Repository),
        ("alice/app", InvalidImageName::Identity),
        ("atcr.io/app", InvalidImageName::Repository),
        ("alice.example/App", InvalidImageName::Repository),
        ("alice.example/app:", InvalidImageName::Reference),
        ("alice.example/app@1", InvalidImageName::Reference),
        ("a b:1/alice.example/app", InvalidImageName::Registry),
    ] {
        assert_eq!(parse(given), Err(error), "{given}");
    }
}
