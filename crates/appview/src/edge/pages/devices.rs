//! `/api/devices`: an account's devices, for programs in a browser.

use std::net::IpAddr;

use atcr_sessions::devices::ports::Device;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::visit::Visit;
use crate::edge::dialect::json::refused;
use crate::edge::dialect::page::PageError;
use crate::edge::response::{empty, json};
use crate::state::AppState;
use atcr_web::form::Form;
use atcr_web::moment::Moment;

/// A device on a page.
#[derive(Clone, Debug)]
pub struct DeviceView {
    /// The public part of its secret.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// Where it was last seen, or, unused, signed in; `None` if that is not known.
    pub address: Option<IpAddr>,
    /// When it signed in.
    pub created: Moment,
    /// When it last got a token.
    pub last_used: Option<Moment>,
}

impl DeviceView {
    /// `device`, seen from `now`.
    #[must_use]
    pub fn new(device: &Device, now: DateTime<Utc>) -> Self {
        Self {
            id: device.id.clone(),
            name: device.name.to_string(),
            address: if device.last_used_at.is_some() {
                device.last_address
            } else {
                device.address
            },
            created: Moment::new(device.created_at, now),
            last_used: device.last_used_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// A device in JSON; times are RFC 3339 in UTC.
#[derive(Serialize)]
struct DeviceBody<'a> {
    id: &'a str,
    name: &'a str,
    address: Option<IpAddr>,
    created_at: String,
    last_used_at: Option<String>,
    last_address: Option<IpAddr>,
}

/// `GET /api/devices`.
pub async fn list(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = async {
        let signed_in = visit.signed_in()?;
        let devices = state.devices.list(&signed_in.session.did).await?;
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let devices: Vec<DeviceBody<'_>> = devices
            .iter()
            .map(|device| DeviceBody {
                id: &device.id,
                name: device.name.as_str(),
                address: device.address,
                created_at: text(device.created_at),
                last_used_at: device.last_used_at.map(text),
                last_address: device.last_address,
            })
            .collect();
        Ok(json(StatusCode::OK, &json!({ "devices": devices })))
    };
    outcome.await.unwrap_or_else(|error| refused(&error))
}

/// `DELETE /api/devices/{id}`, with the session's token in `X-CSRF-Token`.
pub async fn revoke(visit: Visit, State(state): State<AppState>, Path(id): Path<String>) -> Response {
    let outcome = async {
        let signed_in = visit.submitted(&Form::default())?;
        if state.sign_out.device(&signed_in.session.did, &id).await? {
            Ok(empty(StatusCode::NO_CONTENT, Vec::new()))
        } else {
            Err(PageError::NotFound)
        }
    };
    outcome.await.unwrap_or_else(|error| refused(&error))
}
