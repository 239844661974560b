//! Tests the ledger in a random world: holds come and go at their sources, processes end, sources fall silent and
//! answer again, the agent is restarted and reloaded, the machine is suspended. The expectations are about the
//! world, not about the ledger.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mc_idle_rule::Moment;
use proptest::prelude::*;

use crate::holds::ledger::{Claim, HoldEnd, HoldSource, Ledger, Trouble};
use crate::holds::process::Process;
use crate::holds::{LONGEST, Source, memory};

const BOOT: &str = "boot";
const DAY: u64 = 86400;
const HALF_AN_HOUR: Duration = Duration::from_mins(30);

#[derive(Debug, Clone)]
enum Event {
    Pass {
        seconds: u64,
    },
    /// A hold begins; for a parameter and a file it ends after this many seconds.
    Hold {
        source: usize,
        lasts: u64,
    },
    /// The owner of the oldest hold releases it.
    LetGo {
        source: usize,
    },
    /// The process of the oldest hold ends.
    Kill {
        source: usize,
    },
    Answer {
        source: usize,
    },
    Fail {
        source: usize,
    },
    /// The machine no longer has this source.
    Vanish {
        source: usize,
    },
    Restart,
    /// Whether sessions are asked for, and which parameter.
    Reload {
        sessions: bool,
        parameter: u8,
    },
    Sleep,
}

fn event() -> impl Strategy<Value = Event> {
    let source = || 0..4_usize;
    let seconds = prop_oneof![1..40_u64, 60..2400_u64, 3600..DAY, DAY..9 * DAY];
    let lasts = prop_oneof![10..4000_u64, DAY..7 * DAY, 7 * DAY..400 * DAY];
    prop_oneof![
        4 => seconds.prop_map(|seconds| Event::Pass { seconds }),
        3 => (source(), lasts).prop_map(|(source, lasts)| Event::Hold { source, lasts }),
        1 => source().prop_map(|source| Event::LetGo { source }),
        1 => source().prop_map(|source| Event::Kill { source }),
        4 => source().prop_map(|source| Event::Answer { source }),
        4 => source().prop_map(|source| Event::Fail { source }),
        1 => source().prop_map(|source| Event::Vanish { source }),
        2 => Just(Event::Restart),
        1 => (any::<bool>(), 0..3_u8).prop_map(|(sessions, parameter)| Event::Reload { sessions, parameter }),
        1 => Just(Event::Sleep),
    ]
}

/// A hold as it exists in the world.
#[derive(Debug, Clone, PartialEq)]
struct Real {
    claim: Claim,
    /// It exists, and so does its process.
    there: bool,
    process_lives: bool,
    /// Since when its source has reported it, answer by answer, if it has.
    said_since: Option<Moment>,
}

/// The state of one source.
#[derive(Debug, Clone, Default)]
struct Place {
    holds: Vec<Real>,
    answers: bool,
    silent_since: Option<Moment>,
    /// Since when it has been asked in vain, and how long earlier agents have waited.
    unheard: Option<(Moment, Duration)>,
}

struct World {
    now: Moment,
    wall: Timestamp,
    slept: Duration,
    asked: [Option<HoldSource>; 4],
    places: [Place; 4],
    ledger: Ledger,
    processes: u32,
}

const SOURCES: [Source; 4] = [Source::Operator, Source::Inhibitor, Source::Ssh, Source::Parameter];

impl World {
    fn new() -> Self {
        let now = Moment(Duration::from_secs(100));
        let asked = asked(true, 1);
        let questions: Vec<HoldSource> = asked.iter().flatten().cloned().collect();
        let unheard = || Place { unheard: Some((now, Duration::ZERO)), ..Place::default() };
        World {
            now,
            wall: "2026-11-22T20:00:00Z".parse().unwrap(),
            slept: Duration::ZERO,
            ledger: Ledger::new(&questions, Vec::new(), now),
            asked,
            places: std::array::from_fn(|_| unheard()),
            processes: 0,
        }
    }

    fn happens(&mut self, event: &Event) {
        let (now, wall) = (self.now, self.wall);
        match *event {
            Event::Pass { seconds } => {
                self.now = now.plus(Duration::from_secs(seconds));
                self.wall += SignedDuration::from_secs(seconds.cast_signed());
            }
            Event::Hold { source, lasts } => {
                let end = match SOURCES[source] {
                    Source::Operator => HoldEnd::At(now.plus(Duration::from_secs(lasts.min(7 * DAY)))),
                    Source::Parameter => HoldEnd::Wall(wall + SignedDuration::from_secs(lasts.cast_signed())),
                    _ if lasts % 10 == 0 => HoldEnd::Open,
                    _ => {
                        self.processes += 1;
                        HoldEnd::Process(Process { id: 7, started: self.processes.into() })
                    }
                };
                let holds = &mut self.places[source].holds;
                // There is only one file and one parameter.
                if matches!(SOURCES[source], Source::Operator | Source::Parameter) {
                    for hold in holds.iter_mut() {
                        hold.there = false;
                    }
                }
                let claim = Claim { reason: format!("hold {}", holds.len()), end };
                holds.push(Real { claim, there: true, process_lives: true, said_since: None });
            }
            Event::LetGo { source } => {
                if let Some(hold) = self.places[source].holds.iter_mut().find(|hold| hold.there) {
                    hold.there = false;
                }
            }
            Event::Kill { source } => {
                let holds = &mut self.places[source].holds;
                if let Some(hold) =
                    holds.iter_mut().find(|hold| hold.process_lives && matches!(hold.claim.end, HoldEnd::Process(_)))
                {
                    (hold.there, hold.process_lives) = (false, false);
                }
            }
            Event::Answer { source } => self.answer(source),
            Event::Fail { source } => {
                let Some(question) = self.asked[source].clone() else { return };
                self.ledger.failed(&question, "it hangs".to_owned(), now);
                self.falls_silent(source);
            }
            Event::Vanish { source } => {
                let Some(question) = self.asked[source].clone() else { return };
                let Place { holds, answers, .. } = &self.places[source];
                // While it answers, nothing checks whether a process lives.
                let said = holds.iter().any(|hold| {
                    (*answers || hold.process_lives) && hold.said_since.is_some_and(|at| now.since(at) < LONGEST)
                });
                self.ledger.absent(&question, "it is gone".to_owned(), now);
                if said {
                    self.falls_silent(source);
                } else {
                    // The answer is that there are no holds any more.
                    self.places[source].holds.iter_mut().for_each(|hold| hold.said_since = None);
                    self.has_answered(source);
                }
            }
            Event::Restart => {
                self.shell();
                let text = memory::text(&self.ledger.memory(now), BOOT, self.slept);
                let remembered = memory::parse(text.as_bytes(), BOOT, self.slept, now).unwrap();
                let questions: Vec<HoldSource> = self.asked.iter().flatten().cloned().collect();
                self.ledger = Ledger::new(&questions, remembered, now);
                for place in &mut self.places {
                    let waited = place.unheard.map_or(Duration::ZERO, |(since, waited)| waited + now.since(since));
                    (place.unheard, place.answers, place.silent_since) = (Some((now, waited)), false, None);
                }
            }
            Event::Reload { sessions, parameter } => {
                let asked = asked(sessions, parameter);
                for (source, question) in asked.iter().enumerate() {
                    if *question != self.asked[source] {
                        self.forget(source);
                    }
                }
                self.asked = asked;
                self.ledger.ask(&self.asked.iter().flatten().cloned().collect::<Vec<_>>(), now);
            }
            Event::Sleep => {
                self.slept += Duration::from_hours(1);
                self.ledger.slept(now);
                for source in 0..4 {
                    self.forget(source);
                }
            }
        }
    }

    /// What the agent does before each sample.
    fn shell(&mut self) {
        let ended: Vec<Process> = self.ledger.unwatched().filter(|process| !self.lives(*process)).collect();
        for process in ended {
            self.ledger.ended(process);
        }
    }

    fn lives(&self, process: Process) -> bool {
        let mut holds = self.places.iter().flat_map(|place| &place.holds);
        holds.any(|hold| hold.claim.end == HoldEnd::Process(process) && hold.process_lives)
    }

    fn answer(&mut self, source: usize) {
        let (now, wall) = (self.now, self.wall);
        let Some(question) = self.asked[source].clone() else { return };
        let place = &mut self.places[source];
        // The reader of the file leaves out holds that are over.
        let over = |end: HoldEnd| {
            matches!(end, HoldEnd::At(end) if end <= now) || matches!(end, HoldEnd::Wall(end) if end <= wall)
        };
        for hold in &mut place.holds {
            let says = hold.there && !(SOURCES[source] == Source::Operator && over(hold.claim.end));
            hold.said_since = says.then(|| hold.said_since.unwrap_or(now));
        }
        let claims = place.holds.iter().filter(|hold| hold.said_since.is_some()).map(|hold| hold.claim.clone());
        self.ledger.answered(&question, claims.collect(), now);
        self.has_answered(source);
    }

    fn has_answered(&mut self, source: usize) {
        let place = &mut self.places[source];
        (place.answers, place.silent_since, place.unheard) = (true, None, None);
    }

    fn falls_silent(&mut self, source: usize) {
        let place = &mut self.places[source];
        if std::mem::replace(&mut place.answers, false) {
            place.silent_since = Some(self.now);
        }
    }

    fn forget(&mut self, source: usize) {
        let place = &mut self.places[source];
        place.holds.iter_mut().for_each(|hold| hold.said_since = None);
        (place.answers, place.silent_since, place.unheard) = (false, None, Some((self.now, Duration::ZERO)));
    }

    /// What the two promises mean for holds.
    fn check(&mut self) {
        self.shell();
        let (now, wall) = (self.now, self.wall);
        let holds = self.ledger.holds(now, wall);
        let held = |source: usize, claim: &Claim| {
            holds.iter().any(|hold| hold.source == SOURCES[source] && hold.reason == claim.reason)
        };
        for (source, place) in self.places.iter().enumerate().filter(|(source, _)| self.asked[*source].is_some()) {
            for hold in &place.holds {
                let over = match hold.claim.end {
                    HoldEnd::At(end) => end <= now,
                    HoldEnd::Wall(end) => end <= wall,
                    HoldEnd::Process(_) | HoldEnd::Open => false,
                };
                let young = hold.said_since.is_some_and(|at| now.since(at) < LONGEST);
                let is_held = held(source, &hold.claim);
                let lock = matches!(hold.claim.end, HoldEnd::Process(_) | HoldEnd::Open);
                let just_silent = place.silent_since.is_some_and(|at| now.since(at) < HALF_AN_HOUR);
                let lives_on = hold.said_since.is_some() && lock && just_silent;
                if hold.there && (young || lives_on) && !over {
                    assert!(is_held, "there, said, and yet not in force: {hold:?} {place:?}");
                }
                if is_held {
                    assert!(hold.said_since.is_some(), "never said, or taken back: {hold:?}");
                    assert!(!over, "over: {hold:?}");
                    assert!(
                        young || (lock && (place.answers || just_silent)),
                        "for more than 7 days: {hold:?} {place:?}"
                    );
                    assert!(place.answers || hold.process_lives, "its process has ended: {hold:?}");
                }
                if lock && place.answers && hold.said_since.is_some() {
                    assert!(is_held, "a source that answers is believed: {hold:?}");
                }
            }
        }
        for hold in &holds {
            assert!(hold.left.is_none_or(|left| left <= LONGEST && !left.is_zero()), "{hold:?}");
        }
        // A little of the time already waited is lost at each restart.
        let asked = || self.places.iter().zip(&self.asked).filter(|(_, asked)| asked.is_some());
        let unheard = || asked().filter_map(|(place, _)| place.unheard);
        let must = unheard().any(|(since, waited)| waited + now.since(since) < HALF_AN_HOUR);
        let may = unheard().any(|(since, _)| now.since(since) < HALF_AN_HOUR);
        let pending = self.ledger.pending(now);
        assert!(!must || pending, "not awaited: {:?}", self.places);
        assert!(!pending || may, "awaited for longer than half an hour: {:?}", self.places);
        let troubles = self.ledger.troubles(now, wall);
        for (place, question) in asked() {
            let question = question.as_ref().unwrap();
            let told = troubles.iter().any(|(asked, trouble)| {
                asked == question && !matches!(trouble, Trouble::Capped { .. } | Trouble::Overdue { .. })
            });
            assert!(!(place.answers && told), "it answers: {troubles:?}");
            let overdue = place.unheard.is_some_and(|(since, _)| now.since(since) >= Duration::from_mins(5));
            assert!(!overdue || told, "no alarm: {place:?}");
            assert!(told || place.silent_since.is_none(), "silent, and not told: {place:?}");
        }
    }
}

fn asked(sessions: bool, parameter: u8) -> [Option<HoldSource>; 4] {
    let parameter = (parameter > 0).then(|| HoldSource::Parameter(format!("/hold{parameter}")));
    [Some(HoldSource::File), Some(HoldSource::Locks), sessions.then_some(HoldSource::Sessions), parameter]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn unknown_is_never_no_hold_and_nothing_holds_for_ever(events in prop::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        for event in events {
            world.happens(&event);
            world.check();
        }
    }
}
