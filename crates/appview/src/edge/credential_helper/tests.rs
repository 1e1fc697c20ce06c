use super::Releases;

#[test]
fn a_release_is_read_from_its_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let hash = "AB".repeat(32);
    let text = format!(
        "{hash}  docker-credential-atcr_0.2.0_Linux_x86_64.tar.gz\n\
         {hash} *docker-credential-atcr_0.2.0_Darwin_arm64.tar.gz\n\
         {hash}  docker-credential-atcr_0.2.0_Windows_x86_64.zip\n\
         {hash}  docker-credential-atcr_0.2.0_Plan9_x86_64.tar.gz\n\
         {hash}  README.md\n\n"
    );
    std::fs::write(folder.path().join("checksums.txt"), text).unwrap();
    let releases = Releases::load(folder.path(), "https://here/dist/", None, None).unwrap();
    let release = releases.newest().unwrap();
    assert_eq!(release.version, "0.2.0");
    let archives: Vec<_> = release
        .archives
        .iter()
        .map(|a| (a.os, a.arch, a.file()))
        .collect();
    assert_eq!(
        archives,
        [
            (
                "linux",
                "amd64",
                "docker-credential-atcr_0.2.0_Linux_x86_64.tar.gz"
            ),
            (
                "darwin",
                "arm64",
                "docker-credential-atcr_0.2.0_Darwin_arm64.tar.gz"
            ),
            (
                "windows",
                "amd64",
                "docker-credential-atcr_0.2.0_Windows_x86_64.zip"
            ),
        ]
    );
    assert_eq!(release.archives[0].sha256, hash.to_lowercase());
    assert!(release.archives[0].url.starts_with("https://here/dist/"));
    assert!(releases.files.contains_key("README.md"));

    let elsewhere = Releases::load(folder.path(), "https://here/", Some("https://cdn/x/"), None).unwrap();
    assert!(
        elsewhere.newest().unwrap().archives[0]
            .url
            .starts_with("https://cdn/x/")
    );
    assert!(elsewhere.files.is_empty());
}

#[test]
fn what_is_no_release_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let load = || Releases::load(folder.path(), "/", None, None).unwrap_err();
    assert!(load().contains("checksums.txt"));
    let hash = "0".repeat(64);
    for text in [
        String::new(),
        "nothing".to_owned(),
        format!("{hash}  ../../etc/passwd"),
        format!("{hash}  .hidden"),
        format!(
            "{hash}  docker-credential-atcr_1.0.0_Linux_x86_64.tar.gz\n\
             {hash}  docker-credential-atcr_2.0.0_Linux_x86_64.tar.gz"
        ),
    ] {
        std::fs::write(folder.path().join("checksums.txt"), &text).unwrap();
        assert!(load().contains("checksums.txt"), "{text:?}");
    }
}
