//! The command line.

use clap::Parser;
use url::Url;

/// Signs in to a PDS by OAuth in the browser and prints what is needed to call endpoints by hand.
///
/// The tokens it prints are credentials: anyone who has them and the key can act as you. With --service-token the session is
/// revoked at once, and only a token for that one service, good for a minute, is printed.
#[derive(Clone, Debug, Parser)]
#[command(name = "oauth-helper", version)]
pub struct Options {
    /// Who signs in: a handle or a DID
    #[arg(long, required_unless_present = "pds")]
    pub handle: Option<String>,

    /// The PDS to sign in at, with any account there; its document must name a PDS of the same authorization server
    #[arg(long, value_name = "URL")]
    pub pds: Option<Url>,

    /// Scopes to ask for, separated by spaces [default: those of the registry]
    #[arg(long)]
    pub scopes: Option<String>,

    /// Port on 127.0.0.1 to which the browser returns; 0 takes any free port
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Print a service token for this DID (a hold's, for example) instead of the session
    #[arg(long, visible_alias = "aud", value_name = "DID")]
    pub service_token: Option<String>,

    /// The method that the service token is for [default: com.atproto.repo.getRecord, with which holds give and take blobs]
    #[arg(long, requires = "service_token", value_name = "NSID")]
    pub lxm: Option<String>,

    /// The request that headers are printed for [default: com.atproto.server.getSession at the PDS]
    #[arg(long, conflicts_with = "service_token")]
    pub url: Option<Url>,

    /// Its HTTP method
    #[arg(long, default_value = "GET")]
    pub method: String,

    /// Print JSON, with the session's key in it
    #[arg(long)]
    pub json: bool,

    /// Directory of did:plc documents
    #[arg(long, default_value = "https://plc.directory")]
    pub plc_directory_url: Url,

    /// Server that resolves handles, for networks without public DNS
    #[arg(long)]
    pub handle_resolver_url: Option<Url>,

    /// For development: allow servers on this machine, over plain HTTP
    #[arg(long)]
    pub local: bool,
}
