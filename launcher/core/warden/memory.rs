//! What the warden remembers between two looks: the parameter `told`. Pure. It fits into a parameter (4 KB) whatever happens.

use serde::{Deserialize, Serialize};

use crate::warden::dead_man::Case;
use crate::warden::news::Told;
use crate::warden::outbox::Outbox;
use crate::warden::record::Records;

/// The longest value of a parameter of the tier Standard, in bytes (PutParameter, SSM API reference).
const LONGEST: usize = 4096;
/// More instances than a server ever has.
const MOST_CASES: usize = 4;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Of the dead-man's switch.
    pub cases: Vec<Case>,
    pub told: Told,
    pub outbox: Outbox,
    /// What the records have been set to.
    pub records: Records,
}

impl Memory {
    /// What `text` says; `None`: it is damaged.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What is so where this look has brought `before` to `self`, and another one has noted `theirs` meanwhile.
    #[must_use]
    pub fn merged(&self, before: &Self, theirs: Self) -> Self {
        let own: Vec<&Case> = self.cases.iter().filter(|case| !before.cases.contains(case)).collect();
        let mut cases = theirs.cases;
        cases.retain(|case| own.iter().all(|other| other.instance_id != case.instance_id));
        cases.extend(own.into_iter().cloned());
        Memory {
            cases,
            told: if theirs.told == before.told { self.told.clone() } else { theirs.told },
            outbox: self.outbox.merged(&before.outbox, theirs.outbox),
            records: if self.records == before.records { theirs.records } else { self.records },
        }
    }

    /// The text for the parameter.
    #[must_use]
    pub fn text(&self) -> String {
        let mut memory = self.clone();
        memory.cases.truncate(MOST_CASES);
        loop {
            // Nothing in it can fail to be written.
            let text = serde_json::to_string(&memory).unwrap_or_default();
            if text.len() <= LONGEST || !memory.outbox.drop_oldest() {
                return text;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    /// SSM takes no value with `{{` in it (PutParameter, SSM API reference): nothing would be remembered any more.
    #[test]
    fn it_is_never_taken_for_a_template() {
        let mut memory = Memory::default();
        memory.outbox.add("cannot read {{this}}", ["discord"], Timestamp::UNIX_EPOCH);
        let text = memory.text();
        assert!(!text.contains("{{") && text.contains("((this))"), "{text}");
    }

    #[test]
    fn it_fits_whatever_waits_in_it() {
        let mut memory = Memory::default();
        let channels: Vec<String> = (0..20).map(|number| format!("discord-{number}")).collect();
        for number in 0..50 {
            let text = format!("{number} {}", "€\"".repeat(300));
            memory.outbox.add(&text, channels.iter().map(String::as_str), Timestamp::UNIX_EPOCH);
        }
        let text = memory.text();
        assert!(text.len() <= LONGEST, "{}", text.len());
        assert!(Memory::parse(&text).is_some() && Memory::parse("none").is_none());
        assert_eq!(Memory::parse("{}"), Some(Memory::default()));
    }
}
