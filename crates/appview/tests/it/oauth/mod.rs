//! Signing in through the account's own server, and the sessions that come of it; the server is a fake that is strict about
//! proofs and fails on request.

mod attacks;
mod client;
mod scopes;
mod sessions;
mod sign_in;

use std::collections::HashMap;

use atcr_atproto::syntax::Did;
use atcr_sessions::oauth::{
    BrowserBinding, CallbackQuery, FinishedSignIn, FlowStart, OAuthFlowError, SignInFlow,
};
use atcr_test_support::fakes::FakePds;

use crate::harness::TestAppView;

pub(super) const APP: &str = "alice.test/app";

pub(super) fn browser() -> BrowserBinding {
    BrowserBinding("this browser".to_owned())
}

pub(super) fn start() -> FlowStart {
    FlowStart {
        return_to: "/settings".to_owned(),
        browser: browser(),
    }
}

pub(super) fn callback(mut query: HashMap<String, String>) -> CallbackQuery {
    CallbackQuery {
        code: query.remove("code"),
        state: query.remove("state"),
        iss: query.remove("iss"),
        error: query.remove("error"),
        error_description: query.remove("error_description"),
    }
}

pub(super) fn did(text: &str) -> Did {
    text.parse().unwrap()
}

/// The whole dance.
pub(super) async fn sign_in(
    flow: &dyn SignInFlow,
    pds: &FakePds,
    handle: &str,
    did: &str,
) -> Result<FinishedSignIn, OAuthFlowError> {
    let url = flow.start(handle, start()).await?;
    let answer = pds.approve(url.as_str(), did).unwrap();
    flow.finish(callback(answer), &browser()).await
}

pub(super) async fn alice_signed_in() -> TestAppView {
    let appview = TestAppView::start().await;
    sign_in(appview.sign_in(), &appview.pds, "alice.test", &appview.alice)
        .await
        .unwrap();
    appview.pds.forget_calls();
    appview
}
