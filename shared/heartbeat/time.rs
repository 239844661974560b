//! Times in JSON: RFC 3339 in UTC, in whole seconds.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// `time` in whole seconds, rounded down: `2026-11-22T21:26:01Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let floor = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    time.round(floor).unwrap_or(time).to_string()
}

fn parse<E: Error>(text: &str) -> Result<Timestamp, E> {
    text.parse().map_err(|_| E::custom(format_args!("{text:?} is no RFC 3339 time")))
}

/// A time that is always present.
pub mod required {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, parse, rfc3339};

    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*time))
    }

    /// # Errors
    /// It is no RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }
}

/// A time that may be null.
pub mod optional {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, parse, rfc3339};

    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&rfc3339(*time)),
            None => serializer.serialize_none(),
        }
    }

    /// # Errors
    /// It is no RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| parse(&text)).transpose()
    }
}
