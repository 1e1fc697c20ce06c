//! `io.atcr.hold.requestCrew`.

use atcr_atproto::lexicon::hold_crew::{CrewStatus, RequestCrewInput, RequestCrewOutput};
use atcr_hold_pds::records::crew::Ensured;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::crew::Enlistment;
use crate::edge::auth::SignedInDirectly;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;

/// Makes the caller crew, if the hold takes every account: 201 for a new member, 200 for one that is there already.
pub async fn request_crew(
    State(enlistment): State<Enlistment>,
    SignedInDirectly(did): SignedInDirectly,
    XrpcJson(input): XrpcJson<RequestCrewInput>,
) -> Result<(StatusCode, Json<RequestCrewOutput>), EdgeError> {
    let joined = enlistment
        .join(&did, input.role.as_deref(), input.permissions.as_deref())
        .await?;
    let (code, status, record, message) = match joined {
        Ensured::Created(record) => (
            StatusCode::CREATED,
            CrewStatus::Created,
            record,
            "welcome to the crew",
        ),
        Ensured::Existed(record) => (
            StatusCode::OK,
            CrewStatus::AlreadyMember,
            record,
            "you are a member of the crew already",
        ),
    };
    let output = RequestCrewOutput {
        status,
        uri: Some(record.uri),
        cid: Some(record.cid.into()),
        message: Some(message.to_owned()),
    };
    Ok((code, Json(output)))
}
