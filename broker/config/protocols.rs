//! Protocols that are newer than the program: a table of tables, by number.

use mc_broker_core::protocol::versions::{ConfigurationIds, ProtocolTable, SuccessTail};
use mc_service::config::Refused;
use toml::de::DeValue;

/// What is allowed.
pub const ALLOWED: &str = "a table for each number of a protocol: either like, the number of another protocol that has the \
     same ids; or disconnect, keep_alive and transfer, the ids of the packets to the client in the configuration state, \
     and success, which is \"nothing\", \"strict\" or \"session\": what follows the properties in Login Success";

/// Adds what `value` has to `table`.
///
/// # Errors
/// It is something else; with the reason.
pub fn add(table: &mut ProtocolTable, value: &DeValue<'_>) -> Result<(), Refused> {
    let refused = |why| Refused { why: Some(why) };
    let protocols = value.as_table().ok_or(Refused { why: None })?;
    for (number, entry) in protocols {
        let number: u32 = number.get_ref().parse().map_err(|_| refused("a protocol has a number"))?;
        let entry = entry.get_ref().as_table().ok_or(refused("each protocol is a table"))?;
        let mut ids = None;
        let (mut disconnect, mut keep_alive, mut transfer, mut tail) = (None, None, None, None);
        for (name, value) in entry {
            let (name, value) = (name.get_ref().as_ref(), value.get_ref());
            match name {
                "like" => {
                    let like = small(value).ok_or(refused("like is the number of a protocol"))?;
                    ids = Some(table.ids(like).ok_or(refused("like is a protocol that is not known"))?);
                }
                "disconnect" => disconnect = small(value),
                "keep_alive" => keep_alive = small(value),
                "transfer" => transfer = small(value),
                "success" => tail = success(value),
                _ => return Err(refused("it has another key than like, disconnect, keep_alive, transfer and success")),
            }
        }
        let own =
            disconnect.zip(keep_alive).zip(transfer).zip(tail).map(|(((disconnect, keep_alive), transfer), tail)| {
                ConfigurationIds { disconnect, keep_alive, transfer, success_tail: tail }
            });
        let ((Some(ids), None, 1) | (None, Some(ids), 4)) = (ids, own, entry.len()) else {
            return Err(refused("a protocol has like alone, or the four others"));
        };
        table.set(number, ids);
    }
    Ok(())
}

fn small(value: &DeValue<'_>) -> Option<u32> {
    match value {
        DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    }
}

fn success(value: &DeValue<'_>) -> Option<SuccessTail> {
    match value.as_str()? {
        "nothing" => Some(SuccessTail::Nothing),
        "strict" => Some(SuccessTail::StrictErrorHandling),
        "session" => Some(SuccessTail::SessionId),
        _ => None,
    }
}
