//! The promises of the contract, stated over what is really there: connections by a number of their own, and the times at
//! which samples showed them. It shares nothing with the rule that it judges but the samples' times.

use std::fmt;

use super::connections::Connection;
use super::script::{Hour, MINUTE, Ms, SECOND, Settings};

/// A connection that was not accepted is no reason to wait for longer than this.
const BACKLOG: Ms = 30 * SECOND;
/// The limits of the wait after a refusal that may pass, or after a witness that disagrees.
const BACK_OFF: (Ms, Ms) = (5 * SECOND, 5 * MINUTE);
/// The wait after a refusal that lasts, after a stop that was granted, and after a notice.
const FIVE_MINUTES: Ms = 5 * MINUTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// No stop while anybody is or may be there, or while either witness does not know.
    Nobody,
    /// No window is over without the stop being asked for, but for the waits that the contract names.
    NoWindowLost,
    /// No stop before its time.
    NotBefore,
    /// Blindness that lasts is told, once.
    Alarm,
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub promise: Promise,
    pub at: Ms,
    pub text: &'static str,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken at {}: {}", self.promise, Hour(self.at), self.text)
    }
}

/// Which promise was broken, and how.
pub(crate) type Judgement = Result<(), (Promise, &'static str)>;

/// What a sample can show: nothing if it cannot be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'r> {
    pub listening: bool,
    pub rows: &'r [Connection],
}

/// A connection that the last readable sample showed.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: u32,
    accepted: bool,
    since: Ms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Unknown,
    Players,
    /// Nobody plays; whether a server listens.
    Nobody(bool),
}

/// What a clock has come to: as of one sample, so that an agent may go on from the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Clocks {
    /// Whether it is the clock of a listening server, and how far it has come.
    running: Option<(bool, Ms)>,
    efs_waited: Ms,
    /// The sample that this was so at.
    at: Ms,
}

/// One attempt to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    None,
    /// Its number.
    Preparing(u32),
    Asking,
}

/// Before one time the agent must not try again, and after the other it has to.
#[derive(Debug, Clone, Copy)]
struct Pause {
    not_before: Ms,
    at_latest: Ms,
    /// Ends early if what was lacking is there.
    may_end: bool,
}

/// What an agent has to do, told from all that it was shown. All times are the machine's.
#[derive(Debug)]
pub(crate) struct Oracle {
    settings: Settings,
    known: Vec<Known>,
    clocks: Clocks,
    before: Clocks,
    last: Option<(Ms, Found)>,
    efs_ready: bool,
    blind_since: Option<Ms>,
    alarmed: bool,
    attempt: Attempt,
    attempts: u32,
    pause: Option<Pause>,
    granted: Option<Ms>,
    noticed: Option<Ms>,
    held: bool,
}

impl Oracle {
    pub(crate) fn new(settings: Settings) -> Self {
        Oracle {
            settings,
            known: Vec::new(),
            clocks: Clocks::default(),
            before: Clocks::default(),
            last: None,
            efs_ready: true,
            blind_since: None,
            alarmed: false,
            attempt: Attempt::None,
            attempts: 0,
            pause: None,
            granted: None,
            noticed: None,
            held: false,
        }
    }

    /// A sample was taken, and `asks` is whether the agent begins an attempt now.
    pub(crate) fn sample(
        &mut self,
        now: Ms,
        shown: Option<Shown>,
        efs_ready: bool,
        asks: bool,
        alarms: bool,
    ) -> Judgement {
        self.take_in(now, shown);
        self.efs_ready = efs_ready;
        self.judge(now, shown, asks)?;
        let alarm_due = !self.alarmed && self.blind_since.is_some_and(|since| now - since >= FIVE_MINUTES);
        self.alarmed |= alarms;
        if alarms == alarm_due { Ok(()) } else { Err((Promise::Alarm, "an alarm at the wrong time, or none")) }
    }

    /// Whether an attempt may begin with this sample, or has to.
    fn judge(&mut self, now: Ms, shown: Option<Shown>, asks: bool) -> Judgement {
        if !asks && (self.attempt != Attempt::None || !self.due()) {
            return Ok(());
        }
        let nobody = shown.is_some_and(|shown| self.nobody(now, shown.rows));
        let efs_waits =
            !self.efs_ready && self.settings.efs_patience.is_none_or(|patience| self.clocks.efs_waited < patience);
        let notice = self.noticed.is_some_and(|at| now - at < FIVE_MINUTES);
        let granted = self.granted.is_some_and(|at| now - at < FIVE_MINUTES);
        if asks {
            self.attempts += 1;
            let pending = self.attempt != Attempt::None;
            self.attempt = Attempt::Preparing(self.attempts);
            let too_soon = [
                (!self.due(), "the window is not over"),
                (efs_waits, "EFS is not there, and has not been waited for long enough"),
                (self.held, "somebody holds the instance"),
                (notice, "EC2 takes the instance back by itself"),
                (granted || pending, "a stop is under way already"),
                (self.pause.is_some_and(|pause| now < pause.not_before), "a try has just failed"),
            ];
            self.granted = None;
            self.pause = None;
            return match too_soon.iter().find(|(too_soon, _)| *too_soon) {
                Some((_, text)) => Err((Promise::NotBefore, text)),
                None if !nobody => Err((Promise::Nobody, "a stop is prepared though somebody may be there")),
                None => Ok(()),
            };
        }
        let waits = !nobody
            || self.held
            || efs_waits
            || notice
            || granted
            || self.pause.is_some_and(|pause| now < pause.at_latest);
        if waits { Ok(()) } else { Err((Promise::NoWindowLost, "the window is over, and nothing stands in the way")) }
    }

    /// The number of the attempt that the last sample began.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempts
    }

    /// A last look was taken, and `asks` is whether EC2 is asked.
    pub(crate) fn look(
        &mut self,
        number: u32,
        now: Ms,
        own: Option<Shown>,
        witness: Option<&[Connection]>,
        asks: bool,
    ) -> Judgement {
        let current = self.attempt == Attempt::Preparing(number);
        self.take_in(now, own);
        let own_clean = own.is_some_and(|shown| self.nobody(now, shown.rows));
        let witness_clean = witness.is_some_and(|rows| self.nobody(now, rows));
        let verdict = match asks {
            true if own.is_none() || witness.is_none() => Err((Promise::Nobody, "asked for while it is not known")),
            true if !own_clean => Err((Promise::Nobody, "asked for while the sample shows somebody")),
            true if !witness_clean => Err((Promise::Nobody, "asked for while the witness shows somebody")),
            true if !self.due() => Err((Promise::NotBefore, "asked for though the window is not over")),
            true if !current => Err((Promise::NotBefore, "asked for by an attempt that was given up")),
            false if current && own_clean && witness_clean && self.due() => {
                Err((Promise::NoWindowLost, "a clean last look did not lead to a request"))
            }
            _ => Ok(()),
        };
        if asks {
            self.attempt = Attempt::Asking;
        } else if current && own_clean && self.attempt != Attempt::None {
            self.attempt = Attempt::None;
            self.pause_between(now, BACK_OFF, false);
        }
        verdict
    }

    /// The preparation failed.
    pub(crate) fn unprepared(&mut self, number: u32, now: Ms) {
        if self.attempt == Attempt::Preparing(number) {
            self.attempt = Attempt::None;
            self.pause_between(now, BACK_OFF, true);
        }
    }

    /// EC2 has granted the stop.
    pub(crate) fn granted(&mut self, now: Ms) {
        if self.attempt == Attempt::Asking {
            self.attempt = Attempt::None;
            self.granted = Some(now);
        }
    }

    /// EC2 has refused the stop.
    pub(crate) fn refused(&mut self, now: Ms, lasting: bool) {
        if self.attempt == Attempt::Asking {
            self.attempt = Attempt::None;
            let limits = if lasting { (FIVE_MINUTES, FIVE_MINUTES) } else { BACK_OFF };
            self.pause_between(now, limits, !lasting);
        }
    }

    /// What a preparation lacked is there.
    pub(crate) fn may_try_again(&mut self, now: Ms) {
        if let Some(pause) = &mut self.pause
            && pause.may_end
        {
            pause.not_before = pause.not_before.min(now);
            pause.at_latest = pause.at_latest.min(now);
        }
    }

    /// EC2 says that it takes the instance back, or no longer says so.
    pub(crate) fn notice(&mut self, now: Ms, noticed: bool) {
        self.noticed = noticed.then(|| self.noticed.unwrap_or(now));
        if self.noticed.is_some_and(|at| now - at < FIVE_MINUTES) && matches!(self.attempt, Attempt::Preparing(_)) {
            self.attempt = Attempt::None;
        }
    }

    /// Somebody holds the instance, or no longer does.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
        if held && matches!(self.attempt, Attempt::Preparing(_)) {
            self.attempt = Attempt::None;
        }
    }

    pub(crate) fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// All that was seen is worth nothing any more; what EC2 and the operator have said is.
    pub(crate) fn start_afresh(&mut self) {
        *self =
            Oracle { attempts: self.attempts, noticed: self.noticed, held: self.held, ..Oracle::new(self.settings) };
    }

    /// Another agent goes on, from what was known at the last sample, or at the one before that.
    pub(crate) fn restart(&mut self, one_sample_old: bool) {
        let mut clocks = self.clocks;
        let mut known = std::mem::take(&mut self.known);
        if one_sample_old {
            clocks = self.before;
            known.retain(|known| known.since <= clocks.at);
        }
        *self = Oracle { attempts: self.attempts, ..Oracle::new(self.settings) };
        (self.clocks, self.before, self.known) = (clocks, clocks, known);
    }

    fn take_in(&mut self, now: Ms, shown: Option<Shown>) {
        let observed = self.last.map_or(0, |(then, _)| match now - then {
            gap if gap > 2 * self.settings.interval => self.settings.interval,
            gap => gap,
        });
        let found = match shown {
            None => Found::Unknown,
            Some(shown) => {
                self.get_to_know(now, shown.rows);
                let player = |known: &Known| known.accepted && now - known.since >= self.settings.min_connection;
                if self.known.iter().any(player) { Found::Players } else { Found::Nobody(shown.listening) }
            }
        };
        self.before = self.clocks;
        if self.due() && !self.efs_ready {
            self.clocks.efs_waited += observed;
        }
        self.clocks.at = now;
        self.clocks.running = match (found, shown) {
            (Found::Unknown, _) | (_, None) => self.clocks.running,
            (Found::Players, Some(shown)) => Some((shown.listening, 0)),
            (Found::Nobody(listening), _) => {
                let so_far =
                    self.clocks.running.filter(|(clock, _)| *clock == listening).map_or(0, |(_, so_far)| so_far);
                let before = self.last.map(|(_, found)| found);
                Some((listening, if before == Some(found) { so_far + observed } else { so_far }))
            }
        };
        self.last = Some((now, found));
        if found == Found::Unknown {
            self.blind_since.get_or_insert(now);
        } else {
            (self.blind_since, self.alarmed) = (None, false);
        }
        if !self.due() {
            self.clocks.efs_waited = 0;
            self.pause = None;
        }
        let nobody = shown.is_some_and(|shown| self.nobody(now, shown.rows));
        if matches!(self.attempt, Attempt::Preparing(_)) && !(self.due() && nobody) {
            self.attempt = Attempt::None;
        }
    }

    fn due(&self) -> bool {
        self.clocks.running.is_some_and(|(listening, so_far)| so_far >= self.settings.window(listening))
    }

    /// Nobody is there who plays, who may come to play, or who is just being let in.
    fn nobody(&self, now: Ms, rows: &[Connection]) -> bool {
        rows.iter().all(|row| {
            let since = self.known.iter().find(|known| known.id == row.id && !known.accepted).map(|known| known.since);
            !row.accepted() && since.is_some_and(|since| now - since >= BACKLOG)
        })
    }

    fn get_to_know(&mut self, now: Ms, rows: &[Connection]) {
        if rows.is_empty() {
            self.known.clear();
            return;
        }
        self.known.retain(|known| rows.iter().any(|row| (row.id, row.accepted()) == (known.id, known.accepted)));
        for row in rows {
            if !self.known.iter().any(|known| known.id == row.id) {
                self.known.push(Known { id: row.id, accepted: row.accepted(), since: now });
            }
        }
    }

    fn pause_between(&mut self, now: Ms, (shortest, longest): (Ms, Ms), may_end: bool) {
        self.pause = Some(Pause { not_before: now + shortest, at_latest: now + longest, may_end });
    }
}
