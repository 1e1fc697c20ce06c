use super::ReturnTo;

#[test]
fn places_at_this_site_are_kept() {
    for path in [
        "/",
        "/settings",
        "/device?user_code=BCDF-1234",
        "/r/alice.test/app",
        "/u/did:plc:abc",
    ] {
        assert_eq!(ReturnTo::read(Some(path)).as_str(), path);
    }
    assert_eq!(ReturnTo::read(Some("/settings#devices")).as_str(), "/settings");
}

#[test]
fn everything_else_is_home() {
    for text in [
        "",
        "settings",
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\u{0}//evil.example",
        " //evil.example",
        "/..//evil.example",
        "/.//evil.example",
        "/a/..//evil.example",
        "javascript:alert(1)",
        "/auth/oauth/login",
        "/auth/logout",
        "/x/../auth/logout",
        &format!("/{}", "x".repeat(2000)),
    ] {
        assert_eq!(ReturnTo::read(Some(text)).as_str(), "/", "{text:?}");
    }
    assert_eq!(ReturnTo::read(None).as_str(), "/");
}
