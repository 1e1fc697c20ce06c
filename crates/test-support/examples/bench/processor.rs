//! Processor time of both servers, which says more than a rate where the disk's speed drifts.

use anyhow::{Context as _, Result};
use atcr_test_support::network::{Network, Part};

/// Seconds that the servers have used since they started, as (user, system).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessorTime {
    appview: (f64, f64),
    hold: (f64, f64),
}

impl ProcessorTime {
    pub(crate) fn of(network: &Network) -> Result<Self> {
        let of = |part| used(network.pid(part).context("a server does not run")?);
        Ok(Self {
            appview: of(Part::AppView)?,
            hold: of(Part::Hold)?,
        })
    }

    pub(crate) fn since(self, before: &Self) -> Self {
        let less = |now: (f64, f64), then: (f64, f64)| (now.0 - then.0, now.1 - then.1);
        Self {
            appview: less(self.appview, before.appview),
            hold: less(self.hold, before.hold),
        }
    }

    /// The figures for each GiB of `mib` MiB.
    pub(crate) fn per_gib(self, mib: u64) -> String {
        let gib = mib as f64 / 1024.0;
        let show = |name, (user, system): (f64, f64)| {
            format!("{name} {:.2} s user + {:.2} s system", user / gib, system / gib)
        };
        format!("{}, {}", show("appview", self.appview), show("hold", self.hold))
    }
}

/// `utime` and `stime` of proc(5), in ticks of 10 ms.
fn used(pid: u32) -> Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = text.rsplit_once(')').context("no process name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let seconds = |index: usize| -> Result<f64> {
        let ticks: f64 = fields.get(index).context("a field is missing")?.parse()?;
        Ok(ticks / 100.0)
    };
    Ok((seconds(11)?, seconds(12)?))
}
