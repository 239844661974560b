//! Which messages are still to be sent, by which channels, and when. Pure.
//!
//! A message is noted before it is sent, and struck out when it was taken: it is told at least once, and again only if that
//! could not be noted. A channel that fails is tried again, less and less often, and given up within bounds; the others tell of
//! it. None waits for another.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::time;
use serde::{Deserialize, Serialize};

/// The most messages that wait. The oldest gives way.
const MOST: usize = 6;
/// The longest message, in characters.
const LONGEST: usize = 400;
/// A message is tried this often by one channel.
const TRIES: u32 = 6;
/// The waits between its tries double from here.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// A channel whose failure lasts is left alone for this long, and then tried again: the owner may have mended it.
const MUTED: Duration = Duration::from_hours(24);

/// Messages, and channels that fail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outbox {
    pending: Vec<Pending>,
    muted: Vec<Muted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    text: String,
    /// By channel.
    left: BTreeMap<String, Attempt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    tries: u32,
    #[serde(with = "time::required")]
    next: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Muted {
    channel: String,
    #[serde(with = "time::required")]
    until: Timestamp,
}

/// A message that is due on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub channel: String,
    pub text: String,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Taken,
    /// The channel wants to be left alone for so long.
    Failed {
        lasting: bool,
        retry_after: Option<Duration>,
    },
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl Outbox {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes in `text` for each of `channels` at `now`.
    pub fn add<'a>(&mut self, text: &str, channels: impl IntoIterator<Item = &'a str>, now: Timestamp) {
        let open = |channel: &&str| !self.muted.iter().any(|muted| muted.channel == *channel && now < muted.until);
        let attempt = Attempt { tries: 0, next: now };
        let left: BTreeMap<String, Attempt> =
            channels.into_iter().filter(open).map(|channel| (channel.to_owned(), attempt)).collect();
        if left.is_empty() {
            return;
        }
        if self.pending.len() >= MOST {
            self.pending.remove(0);
        }
        let text = text.chars().take(LONGEST).map(|char| match char {
            // SSM would take two of them for a template, and refuse to keep anything (PutParameter, SSM API reference).
            '{' => '(',
            '}' => ')',
            other => other,
        });
        self.pending.push(Pending { text: text.collect(), left });
    }

    /// What is due at `now`: on each channel the oldest message that waits, and no other, so that order is kept.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<Due> {
        let mut due: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        for pending in &self.pending {
            for (channel, attempt) in &pending.left {
                due.entry(channel).or_insert_with(|| (attempt.next <= now).then_some(pending.text.as_str()));
            }
        }
        let due = due.into_iter().filter_map(|(channel, text)| Some((channel, text?)));
        due.map(|(channel, text)| Due { channel: channel.to_owned(), text: text.to_owned() }).collect()
    }

    /// Notes what became of `due` at `now`. Returns whether the channel is given up with it, which the others are to be told.
    pub fn note(&mut self, due: &Due, sent: Sent, now: Timestamp) -> bool {
        let Some(pending) =
            self.pending.iter_mut().find(|pending| pending.text == due.text && pending.left.contains_key(&due.channel))
        else {
            return false;
        };
        let gives_up = match (sent, pending.left.get_mut(&due.channel)) {
            (Sent::Failed { lasting, retry_after }, Some(attempt)) => {
                attempt.tries += 1;
                let doubled = FIRST_WAIT.saturating_mul(1 << attempt.tries.min(TRIES));
                attempt.next = after(now, retry_after.unwrap_or_default().max(doubled / 2));
                lasting || attempt.tries >= TRIES
            }
            _ => false,
        };
        if sent == Sent::Taken {
            pending.left.remove(&due.channel);
        }
        if gives_up {
            for pending in &mut self.pending {
                pending.left.remove(&due.channel);
            }
            self.muted.retain(|muted| muted.channel != due.channel);
            self.muted.push(Muted { channel: due.channel.clone(), until: after(now, MUTED) });
        }
        self.pending.retain(|pending| !pending.left.is_empty());
        gives_up
    }

    /// Forgets what is of no use any more: channels that are not there, and those that may be tried again.
    pub fn tidy(&mut self, channels: &[&str], now: Timestamp) {
        self.muted.retain(|muted| channels.contains(&muted.channel.as_str()) && now < muted.until);
        for pending in &mut self.pending {
            pending.left.retain(|channel, _| channels.contains(&channel.as_str()));
        }
        self.pending.retain(|pending| !pending.left.is_empty());
    }

    /// What is noted while what is due at `now` is being sent: a look that goes on beside this one leaves it alone for a while.
    #[must_use]
    pub fn claimed(&self, now: Timestamp) -> Self {
        let mut claimed = self.clone();
        for attempt in claimed.pending.iter_mut().flat_map(|pending| pending.left.values_mut()) {
            if attempt.next <= now {
                attempt.next = after(now, FIRST_WAIT);
            }
        }
        claimed
    }

    fn attempt(&self, text: &str, channel: &str) -> Option<Attempt> {
        let mut of_text = self.pending.iter().filter(|pending| pending.text == text);
        of_text.find_map(|pending| pending.left.get(channel).copied())
    }

    /// What is so where this look has brought `before` to `self`, and another one has noted `theirs` meanwhile: what either of them
    /// has told or taken in.
    #[must_use]
    pub fn merged(&self, before: &Self, mut theirs: Self) -> Self {
        for Pending { text, left } in &mut theirs.pending {
            left.retain(|channel, attempt| match (before.attempt(text, channel), self.attempt(text, channel)) {
                (Some(_), None) => false,
                (Some(was), Some(is)) if was != is => {
                    *attempt = is;
                    true
                }
                _ => true,
            });
        }
        theirs.pending.retain(|pending| !pending.left.is_empty());
        let is_known =
            |text: &str| [before, &theirs].iter().any(|outbox| outbox.pending.iter().any(|one| one.text == text));
        let new: Vec<Pending> = self.pending.iter().filter(|pending| !is_known(&pending.text)).cloned().collect();
        theirs.pending.extend(new);
        theirs.pending.drain(..theirs.pending.len().saturating_sub(MOST));
        theirs.muted.retain(|muted| self.muted.iter().all(|own| own.channel != muted.channel));
        theirs.muted.extend(self.muted.iter().cloned());
        theirs
    }

    /// Drops the oldest message; `false`: there is none.
    pub fn drop_oldest(&mut self) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        self.pending.remove(0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn failed(lasting: bool) -> Sent {
        Sent::Failed { lasting, retry_after: None }
    }

    #[test]
    fn one_channel_that_fails_holds_up_no_other() {
        let mut outbox = Outbox::default();
        outbox.add("up", ["discord", "sns"], at(0));
        outbox.add("stopped", ["discord", "sns"], at(1));
        for due in outbox.due(at(1)) {
            assert_eq!(due.text, "up");
            let sent = if due.channel == "sns" { Sent::Taken } else { failed(false) };
            assert!(!outbox.note(&due, sent, at(1)));
        }
        let due = outbox.due(at(2));
        assert_eq!(due, [Due { channel: "sns".to_owned(), text: "stopped".to_owned() }]);
        outbox.note(&due[0], Sent::Taken, at(2));
        // A minute later the other is tried again, with the older message first.
        assert_eq!(outbox.due(at(60)), []);
        assert_eq!(outbox.due(at(61)), [Due { channel: "discord".to_owned(), text: "up".to_owned() }]);
    }

    #[test]
    fn what_lasts_is_given_up_at_once_for_a_day_and_the_rest_after_six_tries() {
        let mut outbox = Outbox::default();
        outbox.add("up", ["discord"], at(0));
        assert!(outbox.note(&outbox.due(at(0))[0].clone(), failed(true), at(0)));
        assert!(outbox.is_empty());
        outbox.add("stopped", ["discord"], at(3600));
        assert!(outbox.is_empty());
        outbox.add("up", ["discord"], at(24 * 3600));
        assert!(!outbox.is_empty());
        let (mut now, mut tries) = (24 * 3600, 0);
        while !outbox.is_empty() {
            if let [due] = outbox.due(at(now)).as_slice() {
                tries += 1;
                assert_eq!(outbox.note(&due.clone(), failed(false), at(now)), tries == 6);
            }
            now += 30;
        }
        assert!(now < 26 * 3600, "within two hours");
    }

    #[test]
    fn a_limit_is_obeyed() {
        let mut outbox = Outbox::default();
        outbox.add("up", ["discord"], at(0));
        let long = Sent::Failed { lasting: false, retry_after: Some(Duration::from_secs(600)) };
        outbox.note(&outbox.due(at(0))[0].clone(), long, at(0));
        assert_eq!((outbox.due(at(599)).len(), outbox.due(at(600)).len()), (0, 1));
    }

    #[test]
    fn what_somebody_is_about_to_send_is_not_due_for_anybody_else() {
        let mut outbox = Outbox::default();
        outbox.add("up", ["discord"], at(0));
        outbox.note(&outbox.due(at(0))[0].clone(), failed(false), at(0));
        outbox.add("stopped", ["discord", "sns"], at(30));
        let noted = outbox.claimed(at(30));
        assert_eq!((outbox.due(at(30)).len(), noted.due(at(30)).len(), noted.due(at(89)).len()), (1, 0, 1));
        // Unless it comes to nothing.
        assert_eq!(noted.due(at(90)).len(), 2);
    }

    #[test]
    fn of_two_looks_at_once_neither_brings_back_what_the_other_has_told_nor_loses_what_it_has_taken_in() {
        let mut before = Outbox::default();
        before.add("up", ["discord", "sns"], at(0));
        // They have read it before this look has told it, and have taken something in.
        let mut theirs = before.claimed(at(0));
        theirs.add("stopped", ["discord"], at(1));
        let mut own = before.clone();
        own.note(&own.due(at(0))[1].clone(), Sent::Taken, at(0));
        own.note(&own.due(at(0))[0].clone(), failed(false), at(0));
        own.add("dead", ["sns"], at(1));
        let merged = own.merged(&before, theirs);
        let due = |second| -> Vec<(String, String)> {
            merged.due(at(second)).into_iter().map(|due| (due.channel, due.text)).collect()
        };
        let of = |channel: &str, text: &str| (channel.to_owned(), text.to_owned());
        assert_eq!(due(2), [of("sns", "dead")]);
        assert_eq!(due(61), [of("discord", "up"), of("sns", "dead")]);
        assert_eq!(merged.merged(&merged, before.clone()), before, "where nothing has changed, theirs stands");
    }

    proptest! {
        /// Whatever channels answer, every message ends: taken by each, or given up; and what waits is bounded.
        #[test]
        fn it_ends(answers in prop::collection::vec((any::<bool>(), any::<bool>()), 1..200), messages in 1_usize..12) {
            let mut outbox = Outbox::default();
            for message in 0..messages {
                outbox.add(&format!("message {message}"), ["a", "b", "c"], at(0));
                prop_assert!(outbox.pending.len() <= MOST);
            }
            let mut answers = answers.into_iter().cycle();
            for minute in 0..200_000 {
                let now = at(minute * 60);
                for due in outbox.due(now) {
                    let (taken, lasting) = answers.next().unwrap();
                    outbox.note(&due, if taken { Sent::Taken } else { failed(lasting) }, now);
                }
                if outbox.is_empty() { return Ok(()); }
            }
            prop_assert!(false, "{outbox:?}");
        }
    }
}
