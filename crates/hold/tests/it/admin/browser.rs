//! A browser, as far as pages need one: it keeps cookies, says where its requests come from, and follows nothing by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::{Method, RequestBuilder, Response};

use super::Site;

/// An answer to a browser.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Page {
    async fn of(response: Response) -> Self {
        let header = |name| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |value| value.to_str().expect("text").to_owned())
        };
        Self {
            status: response.status().as_u16(),
            location: header("location"),
            headers: response.headers().clone(),
            text: response.text().await.expect("a page"),
        }
    }

    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.text
    }

    /// Where it leads.
    #[track_caller]
    pub(super) fn leads_to(&self, place: &str) {
        assert_eq!(
            (self.status, self.location.as_str()),
            (303, place),
            "{}",
            self.text
        );
    }

    /// The value of the hidden field `name`.
    #[track_caller]
    pub(super) fn field(&self, name: &str) -> String {
        let before = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.text.split_once(&before).expect("a field");
        rest.split('"').next().expect("a value").to_owned()
    }

    #[track_caller]
    pub(super) fn says(&self, status: u16, text: &str) {
        assert!(
            self.status == status && self.text.contains(text),
            "{} {} has no {text:?}:\n{}",
            self.status,
            self.location,
            self.text
        );
    }
}

/// A browser with its cookies.
pub(super) struct Browser<'a> {
    site: &'a Site,
    /// How it calls itself, and the address that a proxy names.
    pub(super) name: String,
    pub(super) address: String,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(site: &'a Site) -> Self {
        Self {
            site,
            name: "Test browser".to_owned(),
            address: "192.0.2.7".to_owned(),
            cookies: Mutex::default(),
        }
    }

    /// The captain's, signed in.
    pub(super) async fn of_captain(site: &'a Site) -> Self {
        let browser = Self::new(site);
        browser
            .sign_in("captain.test", site.hold.captain.did.as_str())
            .await
            .leads_to("/admin");
        browser
    }

    /// A browser with the same cookies, of another name or at another address.
    pub(super) fn copied(&self, name: &str, address: &str) -> Browser<'a> {
        Browser {
            site: self.site,
            name: name.to_owned(),
            address: address.to_owned(),
            cookies: Mutex::new(self.cookies.lock().expect("not poisoned").clone()),
        }
    }

    /// Begins and finishes a sign-in as `handle`, at whose server `did` says yes.
    pub(super) async fn sign_in(&self, handle: &str, did: &str) -> Page {
        let callback = self.approved(handle, did).await;
        self.get(&callback).await
    }

    /// Where the account's server sends the browser.
    pub(super) async fn approved(&self, handle: &str, did: &str) -> String {
        let started = self
            .post("/admin/auth/oauth/authorize", &[("handle", handle)])
            .await;
        assert_eq!(started.status, 303, "{}", started.text);
        let answer = self.site.pds.approve(&started.location, did).expect("a request");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer.iter());
        format!("/admin/auth/oauth/callback?{}", query.finish())
    }

    pub(super) async fn get(&self, path: &str) -> Page {
        let request = self.site.hold.get(path).header("accept", "text/html");
        self.send(request).await
    }

    /// A part of a page, as a script asks for it.
    pub(super) async fn part(&self, path: &str) -> Page {
        let request = self.site.hold.get(path).header("hx-request", "true");
        self.send(request).await
    }

    /// Sends a form from one of the site's own pages.
    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let origin = self.site.hold.settings.public_url.origin().ascii_serialization();
        self.post_from(&origin, path, form).await
    }

    /// Sends a form from a page of `origin`.
    pub(super) async fn post_from(&self, origin: &str, path: &str, form: &[(&str, &str)]) -> Page {
        let request = self
            .site
            .hold
            .request(Method::POST, path)
            .header("origin", origin)
            .form(form);
        self.send(request).await
    }

    /// Sends a form with the session's token.
    pub(super) async fn submit(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let token = self.csrf_token().await;
        let mut form = form.to_vec();
        form.push(("csrf_token", &token));
        self.post(path, &form).await
    }

    /// The token in the forms of who is signed in.
    pub(super) async fn csrf_token(&self) -> String {
        let page = self.get("/admin").await.ok();
        let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").expect("a form");
        rest.split('"').next().expect("a token").to_owned()
    }

    async fn send(&self, request: RequestBuilder) -> Page {
        let cookies: Vec<String> = {
            let kept = self.cookies.lock().expect("not poisoned");
            kept.iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        let mut request = request
            .header("user-agent", &self.name)
            .header("x-forwarded-for", &self.address);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let response = request.send().await.expect("an answer");
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let pair = cookie.split(';').next().expect("a cookie");
            let (name, value) = pair.split_once('=').expect("a pair");
            let mut kept = self.cookies.lock().expect("not poisoned");
            if value.is_empty() {
                kept.remove(name);
            } else {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
        Page::of(response).await
    }

    /// The cookies' names.
    pub(super) fn cookie_names(&self) -> Vec<String> {
        self.cookies
            .lock()
            .expect("not poisoned")
            .keys()
            .cloned()
            .collect()
    }
}
