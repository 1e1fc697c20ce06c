use std::time::Duration;

use super::*;

async fn body(response: Response) -> serde_json::Value {
    use http_body_util::BodyExt as _;
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn a_fault_of_our_own_is_not_described() {
    let error = EdgeError::from(RegistryError::Internal {
        what: "the secret of the house".to_owned(),
    });
    let answer = body(response(&error, None)).await;
    assert_eq!(answer["errors"][0]["code"], "UNKNOWN");
    assert!(!answer.to_string().contains("secret"));
}

#[tokio::test]
async fn a_401_carries_the_challenge_and_says_what_is_wrong_with_the_token() {
    let challenge = || Some(BearerChallenge::new("https://r.example/auth/token", "r.example"));
    let header = |error: EdgeError| {
        let response = response(&error, challenge());
        response.headers()[http::header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert!(!header(RegistryError::Access(AccessError::SignInRequired).into()).contains("error="));
    assert!(
        header(RegistryError::Access(AccessError::NotCovered).into())
            .ends_with("error=\"insufficient_scope\"")
    );
    assert!(!header(SessionError::SignInRequired.into()).contains("error="));
    assert!(header(SessionError::rejected("wrong").into()).ends_with("error=\"invalid_token\""));
    let denied = response(&RegistryError::NoHold.into(), challenge());
    assert!(!denied.headers().contains_key(http::header::WWW_AUTHENTICATE));
}

#[tokio::test]
async fn waiting_is_told_in_whole_seconds() {
    let error = EdgeError::from(RegistryError::TooManyRequests {
        retry_after: Duration::from_millis(20),
    });
    assert_eq!(response(&error, None).headers()[http::header::RETRY_AFTER], "1");
    let error = EdgeError::from(RegistryError::TooManyRequests {
        retry_after: Duration::from_secs(90),
    });
    assert_eq!(response(&error, None).headers()[http::header::RETRY_AFTER], "90");
}
