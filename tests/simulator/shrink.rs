//! Of a day on which a promise was broken, the smallest that still breaks it.

use super::oracle::Breach;
use super::script::{Event, MINUTE, Ms, SECOND, Script, When};
use super::settings::{Pace, Settings};
use super::site::{Kind, Manner, Site};

/// The smallest script found for which `breaks` gives the same promise as for `script`, and what it gives.
pub(crate) fn shrink(script: &Script, breaks: &dyn Fn(&Script) -> Option<Breach>) -> Option<(Script, Breach)> {
    let mut found = Found { breach: breaks(script)?, script: script.clone(), breaks };
    loop {
        let before = found.script.clone();
        found.delete_events();
        found.simplify();
        if found.script == before {
            return Some((found.script, found.breach));
        }
    }
}

struct Found<'b> {
    script: Script,
    breach: Breach,
    breaks: &'b dyn Fn(&Script) -> Option<Breach>,
}

impl Found<'_> {
    /// Takes `simpler` if it breaks the same promise.
    fn take(&mut self, simpler: Script) -> bool {
        let breach = (self.breaks)(&simpler).filter(|breach| breach.promise == self.breach.promise);
        let Some(breach) = breach else { return false };
        (self.script, self.breach) = (simpler, breach);
        true
    }

    /// Zeller's ddmin, by complements: ever smaller parts are left out.
    fn delete_events(&mut self) {
        let mut size = self.script.events.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.script.events.len() {
                let mut simpler = self.script.clone();
                let to = (from + size).min(simpler.events.len());
                simpler.events.drain(from..to);
                if !self.take(simpler) {
                    from = to;
                }
            }
            size /= 2;
        }
    }

    fn simplify(&mut self) {
        for site in [
            Site::default(),
            Site { kind: Kind::Host, ..self.script.site },
            Site { manner: Manner::Honest, ..self.script.site },
            Site { goes: false, ..self.script.site },
            Site { impostor: false, ..self.script.site },
        ] {
            self.take(Script { site, ..self.script.clone() });
        }
        self.take(Script { settings: Settings::default(), ..self.script.clone() });
        self.take(Script { pace: Pace::default(), ..self.script.clone() });
        self.take(Script { ended_by_others: false, ..self.script.clone() });
        let usual = Pace::default();
        let singly: [fn(&mut Pace, &Pace); 10] = [
            |pace, usual| pace.boot = usual.boot,
            |pace, usual| pace.server = usual.server,
            |pace, usual| pace.prepare = usual.prepare,
            |pace, usual| pace.answer = usual.answer,
            |pace, usual| pace.look = usual.look,
            |pace, usual| pace.arrive = usual.arrive,
            |pace, usual| pace.latency = usual.latency,
            |pace, usual| pace.lateness = usual.lateness,
            |pace, usual| pace.jitter = usual.jitter,
            |pace, usual| pace.told_once = usual.told_once,
        ];
        for change in singly {
            let mut simpler = self.script.clone();
            change(&mut simpler.pace, &usual);
            self.take(simpler);
        }
        for event in 0..self.script.events.len() {
            // What hangs on nothing but the others' leaving lets them come for a shorter time.
            for after in [0, MINUTE] {
                let mut simpler = self.script.clone();
                simpler.events[event].when = When::Empty(after);
                if matches!(self.script.events[event].when, When::At(_)) && self.take(simpler) {
                    break;
                }
            }
            for time in 0..self.script.events[event].times().len() {
                for rounder in [|_| 0, |ms| ms / MINUTE * MINUTE, |ms| ms / SECOND * SECOND, |ms: Ms| ms / 100 * 100] {
                    if self.take(self.with_time(event, time, rounder)) {
                        break;
                    }
                }
            }
        }
    }

    fn with_time(&self, event: usize, time: usize, rounder: fn(Ms) -> Ms) -> Script {
        let mut simpler = self.script.clone();
        let event: &mut Event = &mut simpler.events[event];
        if let Some(ms) = event.times().into_iter().nth(time) {
            *ms = rounder(*ms);
        }
        simpler
    }
}
