//! A browser, as far as pages need one: it keeps cookies, says where its requests come from, and follows nothing by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{Answer, TestAppView};

/// A browser with its cookies.
pub(crate) struct Browser<'a> {
    appview: &'a TestAppView,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// A device that waits for an approval.
pub(crate) struct Waiting {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(appview: &'a TestAppView) -> Self {
        Self {
            appview,
            cookies: Mutex::default(),
        }
    }

    /// One that went all the way through a sign-in.
    pub(crate) async fn signed_in(appview: &'a TestAppView, handle: &str, did: &str) -> Self {
        let browser = Self::new(appview);
        browser.sign_in(handle, did, "/settings").await.assert_status(303);
        browser
    }

    pub(crate) async fn alice(appview: &'a TestAppView) -> Self {
        Self::signed_in(appview, "alice.test", &appview.alice).await
    }

    /// Begins and finishes a sign-in; the answer is the callback's.
    pub(crate) async fn sign_in(&self, handle: &str, did: &str, return_to: &str) -> Answer {
        let callback = self.approved(handle, did, return_to).await;
        self.get(&callback).await
    }

    /// Begins a sign-in and approves it at the account's server; where that sends the browser.
    pub(crate) async fn approved(&self, handle: &str, did: &str, return_to: &str) -> String {
        let form = [("handle", handle), ("return_to", return_to)];
        let started = self.post("/auth/oauth/authorize", &form).await;
        started.assert_status(303);
        let answer = self.appview.pds.approve(started.header("location"), did).unwrap();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer.iter());
        format!("/auth/oauth/callback?{}", query.finish())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = self.appview.get(path).header("accept", "text/html");
        self.send(request).await
    }

    /// Sends a form from one of the site's own pages.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self
            .appview
            .request(Method::POST, path)
            .header("origin", &self.appview.url)
            .header("sec-fetch-site", "same-origin");
        self.send(request.form(form)).await
    }

    /// The same with the session's token.
    pub(crate) async fn submit(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let token = self.csrf_token().await;
        let mut form = form.to_vec();
        form.push(("csrf_token", &token));
        self.post(path, &form).await
    }

    /// Sends `request` with the cookies, and keeps those it is answered with.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let cookies: Vec<String> = {
            let kept = self.cookies.lock().unwrap();
            kept.iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        let request = if cookies.is_empty() {
            request
        } else {
            request.header("cookie", cookies.join("; "))
        };
        let answer = Answer::of(request).await;
        for cookie in answer
            .header("set-cookie")
            .split(", ")
            .filter(|text| !text.is_empty())
        {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.lock().unwrap().remove(name);
            } else {
                self.set_cookie(name, value);
            }
        }
        answer
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.cookies
            .lock()
            .unwrap()
            .insert(name.to_owned(), value.to_owned());
    }

    /// The cookie whose name begins so: the rest is a port.
    pub(crate) fn cookie(&self, prefix: &str) -> Option<(String, String)> {
        let cookies = self.cookies.lock().unwrap();
        let found = cookies.iter().find(|(name, _)| name.starts_with(prefix));
        found.map(|(name, value)| (name.clone(), value.clone()))
    }

    /// The CSRF token in the forms of the account that is signed in.
    pub(crate) async fn csrf_token(&self) -> String {
        let page = self.get("/").await.text();
        let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// A device of this name begins, is approved here, and gets its secret.
    pub(crate) async fn device(&self, name: &str) -> String {
        let waiting = wait_for_approval(self.appview, name).await;
        self.approve(&waiting).await.assert_status(200);
        let answer = poll(self.appview, &waiting.device_code).await;
        answer.assert_status(200);
        answer.json()["device_secret"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn approve(&self, waiting: &Waiting) -> Answer {
        let form = [("user_code", waiting.user_code.as_str()), ("approve", "true")];
        self.submit("/device/approve", &form).await
    }

    /// The ids of the account's devices.
    pub(crate) async fn device_ids(&self) -> Vec<String> {
        let answer = self.get("/api/devices").await;
        answer.assert_status(200);
        let devices = answer.json()["devices"].as_array().unwrap().clone();
        devices
            .iter()
            .map(|device| device["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Sends a body to one of the device flow's endpoints.
pub(crate) async fn device_request(appview: &TestAppView, endpoint: &str, body: Value) -> Answer {
    let path = format!("/auth/device/{endpoint}");
    Answer::of(appview.request(Method::POST, &path).json(&body)).await
}

/// A device asks to be signed in.
pub(crate) async fn wait_for_approval(appview: &TestAppView, name: &str) -> Waiting {
    let answer = device_request(appview, "code", json!({ "device_name": name })).await;
    answer.assert_status(200);
    let text = |key: &str| answer.json()[key].as_str().unwrap().to_owned();
    Waiting {
        device_code: text("device_code"),
        user_code: text("user_code"),
    }
}

/// A device asks whether the user has decided.
pub(crate) async fn poll(appview: &TestAppView, device_code: &str) -> Answer {
    device_request(appview, "token", json!({ "device_code": device_code })).await
}
