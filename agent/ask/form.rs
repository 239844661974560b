//! In which form a Java server is asked. Pure.
//!
//! A server behind HAProxy, or any proxy that speaks its PROXY protocol, drops connections that do not begin with a
//! PROXY header; every other server drops those that do. Only an answer tells which kind it is.

use std::time::Duration;

use mc_idle_rule::Moment;
use mc_ping::PingForm;

/// The time between two attempts with a form that may be the wrong one: the server may log each of them as an error.
pub const RETRY: Duration = Duration::from_mins(10);

/// What is known about the form that one server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forms {
    /// The form that was answered last; `None`: neither has been.
    answered: Option<PingForm>,
    /// Whether the last question got no answer.
    silent: bool,
    other_tried: Option<Moment>,
}

impl Forms {
    /// The form that a question begins with.
    #[must_use]
    pub fn first(&self) -> PingForm {
        self.answered.unwrap_or_default()
    }

    /// Whether a question that got no answer in the [`first`](Self::first) form may continue in the other one.
    /// Returning true counts as an attempt.
    pub fn try_other(&mut self, now: Moment) -> bool {
        let in_doubt = self.silent || self.answered.is_none();
        let tried_of_late = self.other_tried.is_some_and(|at| now.since(at) < RETRY);
        if !in_doubt || tried_of_late {
            return false;
        }
        self.other_tried = Some(now);
        true
    }

    /// Records how a question ended: the form that was answered, if one was.
    pub fn note(&mut self, answered: Option<PingForm>) {
        self.silent = answered.is_none();
        self.answered = answered.or(self.answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Asks a server that answers only to `speaks`; returns the forms that it has seen.
    fn ask(forms: &mut Forms, speaks: Option<PingForm>, now: Moment) -> Vec<PingForm> {
        let mut seen = vec![forms.first()];
        if speaks != Some(forms.first()) && forms.try_other(now) {
            seen.push(forms.first().other());
        }
        forms.note(speaks.filter(|form| seen.contains(form)));
        seen
    }

    fn minute(minutes: u64) -> Moment {
        Moment(Duration::from_mins(minutes))
    }

    #[test]
    fn a_server_that_wants_a_header_is_found_with_the_first_question_and_then_asked_so_alone() {
        let mut forms = Forms::default();
        let proxied = Some(PingForm::Proxied);
        assert_eq!(ask(&mut forms, proxied, minute(0)), [PingForm::Plain, PingForm::Proxied]);
        assert_eq!(ask(&mut forms, proxied, minute(1)), [PingForm::Proxied]);
    }

    #[test]
    fn a_server_that_has_answered_is_given_the_benefit_of_one_silence() {
        let mut forms = Forms::default();
        ask(&mut forms, Some(PingForm::Plain), minute(0));
        assert_eq!(ask(&mut forms, None, minute(1)), [PingForm::Plain]);
        assert_eq!(ask(&mut forms, None, minute(2)), [PingForm::Plain, PingForm::Proxied]);
        for later in 3..12 {
            assert_eq!(ask(&mut forms, None, minute(later)), [PingForm::Plain]);
        }
        assert_eq!(ask(&mut forms, None, minute(12)), [PingForm::Plain, PingForm::Proxied]);
    }

    proptest! {
        /// The history of a server that is asked every few seconds to minutes: the form it speaks, or that it is
        /// silent.
        #[test]
        fn the_form_that_answered_is_used_alone_and_the_other_one_seldom_and_a_change_is_found(
            history in prop::collection::vec((10_u64..200, prop::option::of(any::<bool>()), 1_usize..30), 1..30),
        ) {
            let mut forms = Forms::default();
            let (mut now, mut last, mut tried) = (minute(0), None, None::<Moment>);
            for (interval, speaks, times) in history {
                let speaks = speaks.map(|plain| if plain { PingForm::Plain } else { PingForm::Proxied });
                let since = now;
                for _ in 0..times {
                    now = now.plus(Duration::from_secs(interval));
                    let seen = ask(&mut forms, speaks, now);
                    if let Some(form) = last {
                        prop_assert_eq!(&seen, &[form], "it has just answered to that");
                    }
                    if seen.len() > 1 {
                        prop_assert!(tried.is_none_or(|at| now.since(at) >= RETRY));
                        tried = Some(now);
                    }
                    let answered = speaks.filter(|form| seen.contains(form));
                    let longest = RETRY + Duration::from_secs(2 * interval);
                    prop_assert!(speaks.is_none() || answered.is_some() || now.since(since) <= longest, "not found");
                    last = answered;
                }
            }
        }
    }
}
