//! The ports of a network.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

/// What [`Ports::free`] chooses from: below the range that Linux takes ports of connections from, so that no connection gets one before
/// it is listened on.
const FREE: Range<u16> = 10_000..32_000;

/// How long a listener of this machine may take to answer; a port without one refuses at once.
const ANSWER: Duration = Duration::from_millis(500);

/// The ports of the four parts, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The PLC directory.
    pub plc: u16,
    /// The reference PDS.
    pub pds: u16,
    /// The hold.
    pub hold: u16,
    /// The appview.
    pub appview: u16,
}

/// The ports of those that follow the network's hosts, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPorts {
    /// The relay.
    pub relay: u16,
    /// The relay's metrics.
    pub relay_metrics: u16,
    /// The collection directory.
    pub collections: u16,
    /// The collection directory's metrics.
    pub collections_metrics: u16,
    /// tap.
    pub tap: u16,
}

impl Default for FollowerPorts {
    fn default() -> Self {
        Self {
            relay: 2470,
            relay_metrics: 2471,
            collections: 2510,
            collections_metrics: 2511,
            tap: 2480,
        }
    }
}

impl FollowerPorts {
    /// Five ports on which no program listens now, and that this process was not given before.
    ///
    /// # Errors
    /// If no port is free.
    pub fn free() -> Result<Self> {
        Ok(Self {
            relay: free_port()?,
            relay_metrics: free_port()?,
            collections: free_port()?,
            collections_metrics: free_port()?,
            tap: free_port()?,
        })
    }

    /// Refuses ports that are taken.
    ///
    /// # Errors
    /// One sentence about the first port in use.
    pub fn require_free(&self) -> Result<()> {
        for port in [
            self.relay,
            self.relay_metrics,
            self.collections,
            self.collections_metrics,
            self.tap,
        ] {
            if is_taken(port) {
                bail!("port {port} is in use by another program; stop that program, or leave out --network");
            }
        }
        Ok(())
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            plc: 2582,
            pds: 2583,
            hold: 8080,
            appview: 5000,
        }
    }
}

impl Ports {
    /// Four ports on which no program listens now. The same process is never given one of them twice.
    ///
    /// # Errors
    /// If no port is free.
    pub fn free() -> Result<Self> {
        Ok(Self {
            plc: free_port()?,
            pds: free_port()?,
            hold: free_port()?,
            appview: free_port()?,
        })
    }

    /// Refuses ports that are taken, naming the option that chooses another.
    ///
    /// # Errors
    /// One sentence about the first port in use.
    pub fn require_free(&self) -> Result<()> {
        for (name, port) in [
            ("plc", self.plc),
            ("pds", self.pds),
            ("hold", self.hold),
            ("appview", self.appview),
        ] {
            if is_taken(port) {
                bail!(
                    "port {port} is in use by another program; stop that program, or choose another port with --{name}-port"
                );
            }
        }
        Ok(())
    }
}

/// Whether a program listens. Not tested by listening: a process that is forked meanwhile would keep the port for a moment.
pub(super) fn is_taken(port: u16) -> bool {
    TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), ANSWER).is_ok()
}

fn free_port() -> Result<u16> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Chosen at random once: two processes that run at once should not meet.
    let next = NEXT.get_or_init(|| {
        let random = RandomState::new().build_hasher().finish();
        AtomicU16::new(u16::try_from(random % u64::from(u16::MAX)).unwrap_or_default())
    });
    for _ in FREE {
        let port = FREE.start + next.fetch_add(1, Ordering::Relaxed) % (FREE.end - FREE.start);
        if !is_taken(port) {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
