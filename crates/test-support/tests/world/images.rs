//! What a client pushed is on the pages at once, and the commands there pull it.

use std::process::Command;
use std::time::Duration;

use crate::browser::Browser;
use crate::clients::write_multi_arch_layout;
use crate::{World, succeed};

/// How long the count of a pull may take to be published and read.
const COUNTED_WITHIN: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_is_found_read_and_pulled_by_the_command_of_its_page() {
    let world = World::start().await;
    let registry = world.registry();
    let layout = world.folder("layout");
    let digest = write_multi_arch_layout(&layout);
    succeed(
        Command::new("skopeo")
            .args([
                "copy",
                "--all",
                "--preserve-digests",
                "--dest-tls-verify=false",
                "--dest-creds",
            ])
            .arg(world.credentials("alice.test"))
            .arg(format!("oci:{}:multi", layout.display()))
            .arg(format!("docker://{registry}/alice.test/tools/app:1.4")),
    );

    let browser = Browser::start(&world.folder("browser"), &[]).await;
    let site = world.appview();
    browser.open(site).await;
    browser.wait_for("a[href='/r/alice.test/tools/app']").await;
    browser.open(&format!("{site}/search?q=tools")).await;
    browser.wait_for("a[href='/r/alice.test/tools/app']").await;
    browser.open(&format!("{site}/u/alice.test")).await;
    browser.follow("a[href='/r/alice.test/tools/app']").await;
    browser.wait_for_text("linux/amd64").await;
    let command = browser
        .content(".pull [data-client='skopeo'][data-by='tag'] code")
        .await;
    browser.follow("a[href='/r/alice.test/tools/app/-/tags']").await;
    browser
        .follow("a.table__main[href='/r/alice.test/tools/app:1.4']")
        .await;
    browser.wait_for_text(&digest).await;
    browser.wait_for("#layers").await;

    // The name of the image behind the site's address leads to the image.
    browser.open(&format!("{site}/alice.test/tools/app:1.4")).await;
    assert!(browser.url().await.ends_with("/r/alice.test/tools/app:1.4"));

    // A person pastes the command.
    let pulled = world.folder("pulled");
    succeed(Command::new("sh").arg("-c").arg(&command).current_dir(&pulled));
    assert!(pulled.join("app/index.json").is_file(), "{command}");

    // The hold counts the pulls of accounts in a record of its own, which the page follows.
    succeed(
        Command::new("skopeo")
            .args(["copy", "--src-tls-verify=false", "--src-creds"])
            .arg(world.credentials("alice.test"))
            .arg(format!("docker://{registry}/alice.test/tools/app:1.4"))
            .arg(format!("dir:{}", world.folder("pulled-by-alice").display())),
    );
    let counted = async {
        loop {
            browser.open(&format!("{site}/r/alice.test/tools/app")).await;
            if !browser.content("main").await.contains("not recorded") {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(COUNTED_WITHIN, counted)
        .await
        .expect("the pull is on the page");
}
