//! Every page, in both themes and as narrow as a phone, has no violation that axe-core knows of.

use std::process::Command;

use atcr_test_support::tools::Workspace;

use crate::browser::Browser;
use crate::clients::write_multi_arch_layout;
use crate::{World, succeed};

/// Pages that everyone sees; the repository is `alice.test/tools/app` with the tags `1.4` and `latest`.
const PAGES: [&str; 20] = [
    "/",
    "/search",
    "/search?q=tools",
    "/search?q=nothing-has-this-name",
    "/u/alice.test",
    "/u/alice.test/-/stars",
    "/u/bob.test",
    "/r/alice.test/tools/app",
    "/r/alice.test/tools/app/-/tags",
    "/r/alice.test/tools/app/-/tags?filter=none",
    "/r/alice.test/tools/app/-/manifests",
    "/r/alice.test/tools/app/-/referrers",
    "/r/alice.test/tools/app/-/activity",
    "/r/alice.test/tools/app/-/stars",
    "/r/alice.test/tools/app:1.4",
    "/r/alice.test/tools/app/-/diff?from=1.4&to=latest",
    "/r/alice.test/nothing",
    "/install",
    "/learn-more",
    "/auth/oauth/login",
];

/// Pages that an account sees.
const OWN_PAGES: [&str; 12] = [
    "/",
    "/u/alice.test",
    "/r/alice.test/tools/app",
    "/r/alice.test/tools/app/-/tags",
    "/r/alice.test/tools/app/-/manifests",
    "/r/alice.test/tools/app/-/edit",
    "/r/alice.test/tools/app/-/delete?tag=1.4&untagged=true",
    "/settings",
    "/settings/storage",
    "/settings/appearance",
    "/settings/data",
    "/device",
];

/// Checks the pages in `browser` as they are now, at two widths; returns what is wrong.
async fn check(browser: &Browser, axe: &str, site: &str, theme: &str, pages: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (width, height) in [(1280, 900), (320, 800)] {
        browser.resize(width, height).await;
        for page in pages {
            browser.open(&format!("{site}{page}")).await;
            browser.set_theme(theme).await;
            let violations = browser.violations(axe).await;
            found.extend(
                violations
                    .into_iter()
                    .map(|violation| format!("{page} ({theme}, {width} px): {violation}")),
            );
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_violation_in_either_theme() {
    let world = World::start().await;
    let workspace = Workspace::locate().expect("the workspace");
    let axe = workspace
        .network_folder()
        .join("node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("axe-core: `cargo xtask test` installs it");
    let layout = world.folder("layout");
    write_multi_arch_layout(&layout);
    for tag in ["1.4", "latest"] {
        succeed(
            Command::new("skopeo")
                .args(["copy", "--all", "--dest-tls-verify=false", "--dest-creds"])
                .arg(world.credentials("alice.test"))
                .arg(format!("oci:{}:multi", layout.display()))
                .arg(format!(
                    "docker://{}/alice.test/tools/app:{tag}",
                    world.registry()
                )),
        );
    }
    // Where sign-ins come back to: cookies of one name are not those of the other.
    let site = world.appview().replace("localhost", "127.0.0.1");
    let browser = Browser::start(&world.folder("browser"), &[]).await;
    let mut found = Vec::new();
    for theme in ["light", "dark"] {
        found.extend(check(&browser, &axe, &site, theme, &PAGES).await);
    }
    browser.resize(1280, 900).await;
    browser
        .open(&format!("{site}/auth/oauth/login?return_to=/settings"))
        .await;
    browser.fill("handle", "alice.test").await;
    browser.press("Continue at your account server").await;
    browser.authorize_at_pds(world.account("alice.test")).await;
    browser.wait_for_text("Sign out everywhere").await;
    for theme in ["light", "dark"] {
        found.extend(check(&browser, &axe, &site, theme, &OWN_PAGES).await);
    }
    // The confirmation, what it leaves, and what undoes it, as a person does it.
    browser.resize(1280, 900).await;
    browser
        .open(&format!("{site}/r/alice.test/tools/app/-/delete?tag=1.4"))
        .await;
    browser.press("Delete 1 tag").await;
    browser.wait_for_text("Deleted 1 tag of tools/app").await;
    found.extend(
        check(
            &browser,
            &axe,
            &site,
            "dark",
            &["/r/alice.test/tools/app/-/tags", "/u/alice.test"],
        )
        .await,
    );
    browser.resize(1280, 900).await;
    browser
        .open(&format!("{site}/r/alice.test/tools/app/-/tags"))
        .await;
    browser.follow_form(".notice form button").await;
    browser.wait_for("a[href='/r/alice.test/tools/app:1.4']").await;
    assert!(
        found.is_empty(),
        "{} violations:\n{}",
        found.len(),
        found.join("\n")
    );
}
