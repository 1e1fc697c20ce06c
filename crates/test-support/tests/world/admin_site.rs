//! The captain signs in at the admin site through the reference PDS's own page, adds a member by handle, sees the member and removes them; the
//! same is refused for everyone else. Every page, in both themes and as narrow as a phone, has no violation that axe-core knows of.

use std::process::Command;

use atcr_test_support::tools::Workspace;

use crate::browser::Browser;
use crate::clients::write_multi_arch_layout;
use crate::{World, run, succeed};

/// Pages of the site; the crew is alice, the captain, and bob.
const PAGES: [&str; 12] = [
    "/admin",
    "/admin/crew",
    "/admin/crew?q=nobody-has-this-name",
    "/admin/crew/add",
    "/admin/crew/add?account=carol.test",
    "/admin/crew/import",
    "/admin/storage",
    "/admin/scans",
    "/admin/relays",
    "/admin/backup",
    "/admin/identity",
    "/admin/settings",
];

/// Opens each page at two widths in both themes; what axe-core finds, and pictures where `ATCR_SCREENSHOTS` names a folder.
async fn look_at(browser: &Browser, axe: &str, site: &str, pages: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let pictures = std::env::var_os("ATCR_SCREENSHOTS").map(std::path::PathBuf::from);
    for (width, height) in [(1280, 900), (320, 800)] {
        browser.resize(width, height).await;
        for page in pages {
            browser.open(&format!("{site}{page}")).await;
            for theme in ["light", "dark"] {
                browser.set_theme(theme).await;
                for violation in browser.violations(axe).await {
                    found.push(format!("{page} ({theme}, {width} px): {violation}"));
                }
                if let Some(folder) = &pictures {
                    let name = page.replace(['/', '?', '=', ':', '%'], "_");
                    browser
                        .picture(&folder.join(format!("{name}-{theme}-{width}.png")))
                        .await;
                }
            }
        }
    }
    browser.resize(1280, 900).await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_captain_manages_the_crew_in_a_browser_and_nobody_else_does() {
    let world = World::start_with(|options| options.allow_all_crew = false).await;
    let workspace = Workspace::locate().expect("the workspace");
    let axe = workspace
        .network_folder()
        .join("node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("axe-core: `cargo xtask test` installs it");
    let layout = world.folder("layout");
    write_multi_arch_layout(&layout);
    let push_as = |handle: &str| {
        let mut command = Command::new("skopeo");
        command
            .args(["copy", "--all", "--dest-tls-verify=false", "--dest-creds"])
            .arg(world.credentials(handle))
            .arg(format!("oci:{}:multi", layout.display()))
            .arg(format!("docker://{}/{handle}/tools/app:1", world.registry()));
        command
    };
    assert!(!run(&mut push_as("bob.test")).success, "bob is no member yet");

    // Where sign-ins come back to.
    let site = world.network.file().hold.url.replace("localhost", "127.0.0.1");
    let browser = Browser::start(&world.folder("browser"), &[]).await;
    browser.open(&format!("{site}/admin")).await;
    // Somebody else is not even asked for a password.
    browser.fill("handle", "bob.test").await;
    browser.press("Continue at your account server").await;
    browser.wait_for_text("This site is for the captain only").await;
    browser.open(&format!("{site}/admin/crew")).await;
    browser.wait_for_text("Only the owner of this hold").await;

    browser.fill("handle", "alice.test").await;
    browser.press("Continue at your account server").await;
    browser.authorize_at_pds(world.account("alice.test")).await;
    browser.wait_for_text("Who and what takes the room").await;

    // Added by handle, after a look.
    browser.press("Add one").await;
    browser.fill("account", "@bob.test").await;
    browser.press("Look up").await;
    browser.wait_for_text(&world.account("bob.test").did).await;
    browser.press("Add bob.test").await;
    browser.wait_for_text("The member was added.").await;
    succeed(&mut push_as("bob.test"));
    browser.open(&format!("{site}/admin/crew?q=bob")).await;
    browser.press("bob.test").await;
    // What bob pushed is counted.
    browser.wait_for_text("tools/app").await;
    let bob = browser.url().await.replace(&site, "");

    let mut pages: Vec<String> = PAGES.map(str::to_owned).to_vec();
    pages.extend([
        bob.clone(),
        format!("{bob}/delete"),
        "/admin/audit".to_owned(),
        "/".to_owned(),
    ]);
    let mut found = look_at(&browser, &axe, &site, &pages).await;

    browser.open(&format!("{site}{bob}")).await;
    browser.press("Remove…").await;
    browser.press("Remove this member").await;
    browser
        .wait_for_text("The member was removed. What they stored stays.")
        .await;
    browser.open(&format!("{site}/admin/audit")).await;
    browser.wait_for_text("The chain of 2 entries is whole").await;

    browser.follow_form("summary").await;
    browser.press("Sign out").await;
    browser.wait_for_text("You are signed out").await;
    found.extend(look_at(&browser, &axe, &site, &["/admin/auth/login".to_owned()]).await);
    browser.open(&format!("{site}/admin/crew")).await;
    browser.wait_for_text("Only the owner of this hold").await;
    assert!(
        found.is_empty(),
        "{} violations:\n{}",
        found.len(),
        found.join("\n")
    );
}
