//! A real Docker engine pushes and pulls.

use std::path::Path;

use atcr_test_support::docker_engine::Engine;
use atcr_test_support::network::Part;

use crate::World;

/// Writes a build context of three layers from nothing, their content told apart by `mark`.
pub(crate) fn context(folder: &Path, mark: &str) {
    for name in ["one", "two", "three"] {
        std::fs::write(folder.join(name), format!("{mark} {name}\n")).expect("a file");
    }
    std::fs::write(
        folder.join("Dockerfile"),
        "FROM scratch\nCOPY one /\nCOPY two /\nCOPY three /\nCMD [\"/one\"]\n",
    )
    .expect("a Dockerfile");
}

/// The digest under which the engine knows `image` at its registry.
pub(crate) fn repo_digest(engine: &Engine, image: &str) -> String {
    let text = engine
        .run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", image])
        .expect("inspect");
    text.trim().split_once('@').expect("a digest").1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_pushes_and_pulls_with_equal_digests_and_rights_hold() {
    let mut world = World::start().await;
    let engine = Engine::find_or_start(&world.folder("docker"), &mut |line| println!("{line}"))
        .expect("a folder")
        .expect("a Docker engine: `cargo xtask test` installs one");
    let registry = world.registry();
    let image = format!("{registry}/alice.test/app:1");
    let folder = world.folder("context");
    context(&folder, "app");
    engine
        .run(&["build", "--tag", &image, &folder.to_string_lossy()])
        .expect("build");

    let refused = engine
        .run(&["push", &image])
        .expect_err("a push needs a sign-in")
        .to_string();
    assert!(
        refused.contains("denied") || refused.contains("unauthorized"),
        "{refused}"
    );

    let alice = world.account("alice.test").clone();
    engine
        .run(&["login", &registry, "-u", &alice.handle, "-p", &alice.app_password])
        .expect("login");
    let wrong = engine.run(&["login", &registry, "-u", &alice.handle, "-p", "not-the-password"]);
    assert!(wrong.is_err(), "a wrong password is refused");
    engine
        .run(&["login", &registry, "-u", &alice.handle, "-p", &alice.app_password])
        .expect("login");

    engine.run(&["push", &image]).expect("push");
    let pushed = repo_digest(&engine, &image);

    let again = format!("{registry}/alice.test/app:2");
    engine.run(&["tag", &image, &again]).expect("tag");
    let output = engine.run(&["push", &again]).expect("a second push");
    assert_eq!(
        output.matches("Layer already exists").count(),
        3,
        "no layer is uploaded again:\n{output}"
    );

    let foreign = format!("{registry}/bob.test/app:1");
    engine.run(&["tag", &image, &foreign]).expect("tag");
    let refused = engine
        .run(&["push", &foreign])
        .expect_err("alice does not push to bob's name")
        .to_string();
    assert!(refused.contains("denied"), "{refused}");

    engine.run(&["logout", &registry]).expect("logout");
    engine
        .run(&["rmi", "--force", &image, &again, &foreign])
        .expect("rmi");
    engine
        .run(&["pull", &image])
        .expect("a pull from a public hold needs no sign-in");
    assert_eq!(repo_digest(&engine, &image), pushed);
    engine.run(&["rmi", "--force", &image]).expect("rmi");

    world.network.stop(Part::Hold).await.expect("the hold stops");
    world.network.set_public(false);
    world
        .network
        .start_hold()
        .await
        .expect("the hold starts, private");
    // The appview hands out a URL that it was given a moment ago once more; a new one remembers none.
    world
        .network
        .stop(Part::AppView)
        .await
        .expect("the appview stops");
    world.network.start_appview().await.expect("the appview starts");
    let refused = engine
        .run(&["pull", &image])
        .expect_err("a pull from a private hold needs a sign-in");
    assert!(
        refused.to_string().contains("denied") || refused.to_string().contains("unauthorized"),
        "{refused}"
    );
    engine
        .run(&["login", &registry, "-u", &alice.handle, "-p", &alice.app_password])
        .expect("login");
    engine
        .run(&["pull", &image])
        .expect("the captain pulls from her private hold");
    assert_eq!(repo_digest(&engine, &image), pushed);
    engine.run(&["rmi", "--force", &image]).expect("rmi");
}
