//! Parsers for common kinds of values. `None`: not allowed.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::key::Refused;

/// Sets `place` to `value`.
///
/// # Errors
/// `value` is `None`: not allowed.
pub fn put<T>(place: &mut T, value: Option<T>) -> Result<(), Refused> {
    put_or(place, value.ok_or(Refused { why: None }))
}

/// Like [`put`], for a value that is refused with a reason.
///
/// # Errors
/// Those of `value`.
pub fn put_or<T>(place: &mut T, value: Result<T, Refused>) -> Result<(), Refused> {
    *place = value?;
    Ok(())
}

/// A string.
///
/// # Errors
/// It is something else.
pub fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Refused> {
    value.as_str().ok_or(Refused { why: None })
}

/// A number from `least` to `most`.
#[must_use]
pub fn number(value: &DeValue<'_>, least: f64, most: f64) -> Option<f64> {
    let number = match value {
        // All limits are well within i32, and every i32 is exact as f64.
        DeValue::Integer(integer) => i32::from_str_radix(integer.as_str(), integer.radix()).ok()?.into(),
        DeValue::Float(float) => float.as_str().parse().ok()?,
        _ => return None,
    };
    (least..=most).contains(&number).then_some(number)
}

/// Seconds, from `least` to `most`.
#[must_use]
pub fn seconds(value: &DeValue<'_>, least: f64, most: f64) -> Option<Duration> {
    number(value, least, most).map(Duration::from_secs_f64)
}

/// `number` minutes.
#[must_use]
pub fn minutes(number: f64) -> Duration {
    Duration::from_secs_f64(number * 60.0)
}

/// From `least` to 16 ports, each from 1 to 65535.
#[must_use]
pub fn ports<C: FromIterator<u16>>(value: &DeValue<'_>, least: usize) -> Option<C> {
    let ports = value.as_array()?;
    if !(least..=16).contains(&ports.len()) {
        return None;
    }
    ports
        .iter()
        .map(|port| match port.get_ref() {
            DeValue::Integer(integer) => {
                u16::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|port| *port != 0)
            }
            _ => None,
        })
        .collect()
}

/// Addresses and CIDR blocks, IPv4 and IPv6.
#[must_use]
pub fn networks(value: &DeValue<'_>) -> Option<Vec<IpNet>> {
    value.as_array()?.iter().map(|net| network(net.get_ref().as_str()?)).collect()
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(canonical)
}

/// Peers are compared in canonical form, so an IPv4-mapped block becomes the IPv4 block that it stands for.
fn canonical(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(mapped) if mapped.prefix_len() >= 96 => mapped
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| IpNet::new(v4.into(), mapped.prefix_len() - 96).ok())
            .unwrap_or(net),
        _ => net,
    }
}
