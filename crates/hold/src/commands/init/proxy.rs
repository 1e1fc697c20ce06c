//! What a reverse proxy has to be told: TLS, WebSockets, bodies of any size, and who the client is.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;

/// A reverse proxy in front of the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proxy {
    /// Caddy, which also gets the certificate.
    Caddy,
    /// nginx.
    Nginx,
    /// Traefik, with a file of dynamic configuration.
    Traefik,
    /// None of these, or one that is set up already.
    None,
}

impl Proxy {
    /// What is asked for, as it is written.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::from_str(text, true).map_err(|_| "say caddy, nginx, traefik or none".to_owned())
    }

    /// The stanza for `host`, and where it belongs; `None` where there is none.
    pub(super) fn stanza(self, host: &str, listen: SocketAddr) -> Option<(&'static str, String)> {
        let hold = upstream(listen);
        match self {
            Self::None => None,
            Self::Caddy => Some(("/etc/caddy/Caddyfile", caddy(host, &hold))),
            Self::Nginx => Some(("/etc/nginx/conf.d/atcr-hold.conf", nginx(host, &hold))),
            Self::Traefik => Some(("a file of Traefik's dynamic configuration", traefik(host, &hold))),
        }
    }
}

/// Where a proxy on this machine reaches the hold.
fn upstream(listen: SocketAddr) -> String {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(here, listen.port()).to_string()
}

fn caddy(host: &str, hold: &str) -> String {
    format!(
        "{host} {{
\treverse_proxy {hold}
}}
"
    )
}

fn nginx(host: &str, hold: &str) -> String {
    format!(
        "server {{
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name {host};
    ssl_certificate /etc/letsencrypt/live/{host}/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/{host}/privkey.pem;

    # Layers have any size, and are passed on as they come.
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;

    location / {{
        proxy_pass http://{hold};
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $atcr_connection;
        # Followers of the hold stay for days; it pings them every 30 s.
        proxy_read_timeout 10m;
        proxy_send_timeout 10m;
    }}
}}

# WebSockets, for who follows the hold.
map $http_upgrade $atcr_connection {{
    default upgrade;
    '' '';
}}
"
    )
}

fn traefik(host: &str, hold: &str) -> String {
    format!(
        "# In the static configuration: entryPoints.websecure.transport.respondingTimeouts.readTimeout: 0
# (Traefik 3 cuts an upload off after 60 s otherwise), and the certificatesResolver that is named here.
http:
  routers:
    atcr-hold:
      rule: Host(`{host}`)
      entryPoints: [websecure]
      service: atcr-hold
      tls: {{certResolver: letsencrypt}}
  services:
    atcr-hold:
      loadBalancer:
        servers:
          - url: http://{hold}
"
    )
}
