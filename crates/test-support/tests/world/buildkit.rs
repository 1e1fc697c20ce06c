//! BuildKit keeps its cache in the registry, in both of its forms, and finds it there again.

use std::path::Path;

use atcr_test_support::buildkit::BuildKit;
use base64::Engine as _;
use serde_json::Value;

use crate::docker::context;
use crate::{World, client, succeed};

/// The configuration of a cache, in place of an image's.
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The steps of a build from [`context`].
const STEPS: usize = 3;

/// Builds and pushes `image`, with `more` arguments; returns what it printed.
fn build(buildkit: &BuildKit, folder: &Path, image: &str, more: &[&str]) -> String {
    succeed(
        buildkit
            .command()
            .args(["build", "--progress=plain", "--frontend=dockerfile.v0", "--local"])
            .arg(format!("context={}", folder.display()))
            .arg("--local")
            .arg(format!("dockerfile={}", folder.display()))
            .arg("--output")
            .arg(format!("type=image,name={image},push=true"))
            .args(more),
    )
}

/// The manifest that `tag` of `name` names, without credentials.
async fn manifest(world: &World, name: &str, tag: &str) -> Value {
    let token: Value = client()
        .get(format!("{}/auth/token", world.appview()))
        .query(&[
            ("service", world.registry().as_str()),
            ("scope", &format!("repository:{name}:pull")),
        ])
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    client()
        .get(format!("{}/v2/{name}/manifests/{tag}", world.appview()))
        .header(
            "accept",
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json",
        )
        .bearer_auth(token["token"].as_str().expect("a token"))
        .send()
        .await
        .expect("an answer")
        .error_for_status()
        .expect("the manifest")
        .json()
        .await
        .expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_finds_the_steps_that_an_earlier_one_exported_to_the_registry() {
    let world = World::start().await;
    let registry = world.registry();
    let buildkit = BuildKit::start(&world.folder("buildkit"), &registry).expect("a BuildKit daemon");
    let credentials = base64::engine::general_purpose::STANDARD.encode(world.credentials("alice.test"));
    let config = serde_json::json!({ "auths": { &registry: { "auth": credentials } } });
    std::fs::write(buildkit.config_file(), config.to_string()).expect("a file");

    for (form, is_manifest) in [("index", false), ("manifest", true)] {
        let folder = world.folder(form);
        context(&folder, form);
        let image = format!("{registry}/alice.test/built:{form}");
        let cache = format!("type=registry,ref={registry}/alice.test/cache:{form}");
        let export = format!("{cache},mode=max,oci-mediatypes=true,image-manifest={is_manifest}");
        build(&buildkit, &folder, &image, &["--export-cache", &export]);

        let kept = manifest(&world, "alice.test/cache", form).await;
        if is_manifest {
            assert_eq!(kept["config"]["mediaType"], CACHE_CONFIG, "{kept}");
        } else {
            let children = kept["manifests"].as_array().expect("an index");
            let is_config = |child: &&Value| child["mediaType"] == CACHE_CONFIG;
            assert_eq!(children.iter().filter(is_config).count(), 1, "{kept}");
            // The others are layers and not manifests.
            assert_eq!(children.len(), STEPS + 1, "{kept}");
        }

        succeed(buildkit.command().args(["prune", "--all"]));
        let again = format!("{image}-again");
        let printed = build(&buildkit, &folder, &again, &["--import-cache", &cache]);
        assert_eq!(printed.matches("CACHED").count(), STEPS, "{printed}");
        let layers = |manifest: Value| manifest["layers"].clone();
        let (first, second) = (
            manifest(&world, "alice.test/built", form).await,
            manifest(&world, "alice.test/built", &format!("{form}-again")).await,
        );
        assert_eq!(layers(first), layers(second));
    }
}
