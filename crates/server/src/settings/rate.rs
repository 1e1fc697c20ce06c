//! The setting of a limit: how many in what time.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::values::HumanDuration;

/// The longest time of a rate.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Word for a rate that limits nothing.
const OFF: &str = "off";

/// So many in a time, written `600/1m`; or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Option<(NonZeroU32, Duration)>);

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// `count` in each `per`; no limit if either is zero.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Self {
        match NonZeroU32::new(count) {
            Some(count) if !per.is_zero() => Self(Some((count, per))),
            _ => Self::OFF,
        }
    }

    /// The number and the time, if there is a limit.
    #[must_use]
    pub const fn get(self) -> Option<(NonZeroU32, Duration)> {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == OFF {
            return Ok(Self::OFF);
        }
        let wrong = || format!("{text:?} is no rate; write 600/1m, or off");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| wrong())?;
        let per = humantime::parse_duration(per.trim()).map_err(|_| wrong())?;
        if per.is_zero() || per > LONGEST {
            return Err(wrong());
        }
        Ok(Self(Some((count, per))))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((count, per)) => write!(f, "{count}/{}", HumanDuration(per)),
            None => f.write_str(OFF),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_they_are_read() {
        for text in ["600/1m", "1/1s", "60/10m", "off"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("off".parse(), Ok(Rate::new(0, Duration::from_secs(1))));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "600",
            "0/1m",
            "600/0s",
            "600/1000days",
            "-1/1m",
            "600/m",
            "5000000000/1m",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
