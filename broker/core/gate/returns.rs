//! Who comes back right after he was handed over: the server may not accept transfers (`accepts-transfers=false`).

use std::collections::VecDeque;
use std::time::Duration;

/// Whoever comes back within this time was probably not let in.
const SOON: Duration = Duration::from_secs(20);
/// More are not remembered.
const MOST: usize = 1024;

/// Who was handed over lately, by name.
#[derive(Debug, Default)]
pub struct Returns {
    handed_over: VecDeque<(Duration, String)>,
}

impl Returns {
    /// `name` was handed over.
    pub fn handed_over(&mut self, name: &str, now: Duration) {
        self.forget(now);
        if self.handed_over.len() >= MOST {
            self.handed_over.pop_front();
        }
        self.handed_over.push_back((now, name.to_owned()));
    }

    /// Whether `name` was handed over a moment ago. It is forgotten by this.
    pub fn comes_back(&mut self, name: &str, now: Duration) -> bool {
        self.forget(now);
        let before = self.handed_over.len();
        self.handed_over.retain(|(_, other)| other != name);
        self.handed_over.len() < before
    }

    fn forget(&mut self, now: Duration) {
        while self.handed_over.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= SOON) {
            self.handed_over.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_moment_later_and_only_once() {
        let (mut returns, at) = (Returns::default(), Duration::from_secs);
        returns.handed_over("a", at(10));
        assert!(
            !returns.comes_back("b", at(11)) && returns.comes_back("a", at(11)) && !returns.comes_back("a", at(11))
        );
        returns.handed_over("a", at(20));
        assert!(!returns.comes_back("a", at(40)));
    }
}
