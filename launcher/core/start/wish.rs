//! A wish: a start that waits until the instance before has stopped. Pure.
//!
//! It is served once: it names the evening that it waits out, and a served one is overwritten.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::server::instance::{Instance, InstanceState};

/// A wish is kept for this long.
pub const LIVES: Duration = Duration::from_mins(10);

/// A start that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub instance_id: String,
    /// The evening that it waits out.
    #[serde(with = "mc_heartbeat::time::required")]
    pub launch_time: Timestamp,
    #[serde(with = "mc_heartbeat::time::required")]
    pub wished_at: Timestamp,
    /// Whose wish it is, as the broker says; `None`: of whoever has the key.
    pub by: Option<Player>,
}

/// A player, as the broker names him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Player {
    pub name: String,
    pub uuid: String,
}

/// What becomes of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The instance is still going down, or about to, or cannot be seen.
    Waits,
    /// Delete it, then start as if somebody pressed the button now.
    Serve,
    /// Delete it: it is too old, or of another evening, or somebody has started the instance.
    Drop,
}

/// What becomes of `wish` at `now`. `allowed` says whether [`Wish::by`] may still start.
#[must_use]
pub fn fate(wish: &Wish, instances: Result<&[Instance], &str>, allowed: bool, now: Timestamp) -> Fate {
    let lives_until = wish.wished_at.checked_add(LIVES).unwrap_or(Timestamp::MAX);
    if now > lives_until || !allowed {
        return Fate::Drop;
    }
    // What cannot be seen now may be seen in time.
    let Ok(instances) = instances else { return Fate::Waits };
    let of_this_evening =
        |instance: &&Instance| instance.id == wish.instance_id && instance.launch_time == wish.launch_time;
    match instances.iter().find(of_this_evening).map(|instance| instance.state) {
        // What still runs is about to stop: its agent has said so. If that takes it back, the wish grows old.
        Some(InstanceState::Running | InstanceState::Stopping | InstanceState::ShuttingDown) => Fate::Waits,
        Some(InstanceState::Stopped | InstanceState::Terminated) => Fate::Serve,
        // EC2 shows what is terminated for an hour, so what does not show was started again.
        Some(InstanceState::Pending) | None => Fate::Drop,
    }
}

/// The wish in the parameter `wanted`; `None`: there is none, or the text is not this program's.
#[must_use]
pub fn parse(text: &str) -> Option<Wish> {
    serde_json::from_str(text).ok()
}

/// The text for the parameter `wanted`. A parameter cannot be empty, and the launcher may delete none.
#[must_use]
pub fn text(wish: Option<&Wish>) -> String {
    // Nothing in it can fail to be written.
    wish.map_or_else(|| "none".to_owned(), |wish| serde_json::to_string(wish).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn instance(state: InstanceState) -> Instance {
        let (stopped_at, reason) = (None, None);
        Instance { id: "i-1".to_owned(), state, launch_time: at(0), v4: None, v6: None, stopped_at, reason }
    }

    fn wish() -> Wish {
        let by = Some(Player { name: "Alex".to_owned(), uuid: "0".repeat(32) });
        Wish { instance_id: "i-1".to_owned(), launch_time: at(0), wished_at: at(5000), by }
    }

    #[test]
    fn it_is_served_when_its_evening_is_over_and_within_ten_minutes() {
        let fate = |state, now| fate(&wish(), Ok(&[instance(state)]), true, at(now));
        for state in [InstanceState::Running, InstanceState::Stopping, InstanceState::ShuttingDown] {
            assert_eq!((fate(state, 5600), fate(state, 5601)), (Fate::Waits, Fate::Drop));
        }
        for state in [InstanceState::Stopped, InstanceState::Terminated] {
            assert_eq!((fate(state, 5600), fate(state, 5601)), (Fate::Serve, Fate::Drop));
        }
        assert_eq!(fate(InstanceState::Pending, 5010), Fate::Drop);
    }

    #[test]
    fn it_is_dropped_with_its_evening_and_with_the_permission() {
        for state in [InstanceState::Running, InstanceState::Stopping] {
            let again = Instance { launch_time: at(5005), ..instance(state) };
            assert_eq!(fate(&wish(), Ok(&[again]), true, at(5010)), Fate::Drop);
        }
        assert_eq!(fate(&wish(), Ok(&[]), true, at(5010)), Fate::Drop);
        let stopped = [instance(InstanceState::Stopped)];
        assert_eq!(fate(&wish(), Ok(&stopped), false, at(5010)), Fate::Drop);
        assert_eq!(fate(&wish(), Err("timed out"), true, at(5010)), Fate::Waits);
    }

    #[test]
    fn it_is_text_in_a_parameter() {
        assert_eq!(parse(&text(Some(&wish()))), Some(wish()));
        for none in [text(None).as_str(), "", "{}", "null"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
