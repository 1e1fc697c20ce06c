//! The proof of an image: made by the server from the owner's own server, shown, and given away.

use atcr_atproto::clock::Clock as _;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::identity::DidDocument;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::syntax::Did;
use atcr_repo::provenance::{RecordClaim, record};

use crate::browser::Browser;
use crate::harness::{TestAppView, sha256};
use crate::image_pages::{catch_up, push};

const PROOF: &str = "com.atproto.sync.getRecord";

#[tokio::test]
async fn a_page_proves_an_image_and_says_when_it_is_not_proven() {
    let mut appview = TestAppView::start().await;
    let digest = push(&appview).await;
    let host = appview.url.trim_start_matches("http://").to_owned();
    let visitor = Browser::new(&appview);
    let page = format!("/r/alice.test/tools/app/-/proof/{digest}");
    // The image's page asks for no proof; it says where there is one, with and without a script.
    let text = visitor.get("/r/alice.test/tools/app:1.4.2").await.text();
    assert_eq!(appview.pds.count(PROOF), 0);
    for part in [format!("hx-get=\"{page}\""), format!("<a href=\"{page}\">")] {
        assert!(text.contains(&part), "no {part} in {text}");
    }

    let shown = visitor.get(&page).await;
    shown.assert_status(200);
    let text = shown.text();
    let key = appview.pds.signing_key(&appview.alice);
    for part in [
        "Signed by the account of <bdi>alice.test</bdi>".to_owned(),
        key.clone(),
        appview.pds.rev(&appview.alice).unwrap(),
        format!("at://{}/io.atcr.manifest/{}", appview.alice, digest.hex()),
        format!("href=\"{page}.car\" download"),
        // This network has its own directory and resolver, and its accounts are found only there.
        format!(
            "docker-credential-atcr verify --local {host}/alice.test/tools/app@{digest} --plc-directory-url {0} \
             --handle-resolver-url {0}<",
            appview.pds.url()
        ),
        "<code>--save-proof FILE</code> keeps a file for".to_owned(),
    ] {
        assert!(text.contains(&part), "no {part} in {text}");
    }

    // Nobody makes the server ask for manifests that the repository does not have.
    let asked = appview.pds.count(PROOF);
    let other = format!("/r/alice.test/tools/app/-/proof/sha256:{}", "0".repeat(64));
    for path in [other.clone(), format!("{other}.car")] {
        visitor.get(&path).await.assert_status(404);
    }
    assert_eq!(appview.pds.count(PROOF), asked);

    // What is downloaded proves the same to others. The check is not made again for it.
    let car = visitor.get(&format!("{page}.car")).await;
    car.assert_status(200);
    assert_eq!(car.header("content-type"), "application/vnd.ipld.car");
    assert_eq!(appview.pds.count(PROOF), 1);
    let alice: Did = appview.alice.parse().unwrap();
    let document = DidDocument::of_key(&alice, PublicKey::from_did_key(&key).unwrap());
    let claim = RecordClaim {
        document: &document,
        rkey: &digest.hex().parse().unwrap(),
        not_before: None,
        now: appview.clock.now(),
    };
    let proven = record::<ManifestRecord>(&car.body.clone(), &claim).unwrap();
    assert_eq!(proven.value.digest, digest.as_str());

    // A server that signs with another key, and one that is silent.
    let name = "alice.test/tools/app";
    let sailor = appview.sailor("alice.test", &[name]).await;
    let (forged, unheard) = (appview.image("forged"), appview.image("unheard"));
    sailor.push(name, "forged", &forged).await;
    sailor.push(name, "unheard", &unheard).await;
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
    appview.pds.forge(&appview.alice);
    let page = format!("/r/alice.test/tools/app/-/proof/{}", sha256(&forged));
    let text = visitor.get(&page).await.text();
    assert!(
        text.contains("Not proven: the commit is not signed by the key of") && !text.contains("Signed by"),
        "{text}"
    );
    visitor.get(&format!("{page}.car")).await.assert_status(404);
    appview.pds.stop().await;
    let visitor = Browser::new(&appview);
    let page = format!("/r/alice.test/tools/app/-/proof/{}", sha256(&unheard));
    let text = visitor.get(&page).await.text();
    assert!(
        text.contains("cannot be checked now") && !text.contains("Signed by"),
        "{text}"
    );
    visitor.get(&format!("{page}.car")).await.assert_status(502);
}
