//! `io.atcr.hold.*`, one file per method.
//!
//! `uploadPart` is not served: both stores hand out URLs, so no AppView is ever told to use it.

pub mod abort_upload;
pub mod complete_upload;
pub mod delete_user_data;
pub mod export_user_data;
pub mod get_part_upload_url;
pub mod get_quota;
pub mod initiate_upload;
pub mod list_tiers;
pub mod notify_manifest;
pub mod request_crew;
pub mod subscribe_scan_jobs;
pub mod update_crew_tier;
