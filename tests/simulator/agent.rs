//! The agent: the real core, and around it a shell that does with it what the service does. The oracle sees all of it.

use std::time::Duration;

use mc_idle::idle::backoff::Jitter;
use mc_idle::idle::rule::Refusal;
use mc_idle::idle::{Action, Memory, Moment, Reading, Ticket};

use super::connections::table;
use super::day::Watcher;
use super::flaws::{Core, Flaw};
use super::oracle::{Breach, Judgement, Oracle, Promise, Shown};
use super::script::{Kept, Ms, NEVER, SECOND, Script, Settings, Trouble, What};
use super::world::{Answer, Signal, World};

/// How often instance metadata is asked for a notice.
const POLL: Ms = 5 * SECOND;
/// How many pairs of readings a last look takes at most.
const LOOKS: u32 = 3;

pub(crate) struct Agent<'s> {
    script: &'s Script,
    flaw: Option<Flaw>,
    oracle: Oracle,
    state: State,
    /// Some event takes the memory of one sample ago.
    ages: bool,
    /// Some event is a notice; otherwise none is asked for.
    polls: bool,
    /// How many samples were taken and how many waits were drawn.
    samples: u64,
    draws: u32,
    reading: Reading,
    /// The version of the tables that `reading` is of; `None` if they could not be read.
    reading_of: Option<(u32, bool, bool)>,
}

enum State {
    Off,
    /// It starts at this moment, with what was left to it, and when that was left the machine had slept for so long.
    Down {
        until: Ms,
        memory: Option<Memory>,
        slept: Ms,
    },
    Alive(Box<Life>),
}

/// One process.
struct Life {
    core: Core,
    settings: Settings,
    slept: Ms,
    next_sample: Ms,
    next_poll: Ms,
    /// What was last told of a notice.
    noticed: bool,
    /// When a preparation ends, its ticket, and the oracle's number for it.
    preparing: Vec<(Ms, Ticket, u32)>,
    /// When EC2 answers, and what.
    asking: Option<(Ms, Ticket, Answer)>,
    /// The memory before the last sample.
    older: Option<Memory>,
}

impl<'s> Agent<'s> {
    pub(crate) fn new(script: &'s Script, flaw: Option<Flaw>) -> Self {
        let any = |is: fn(&What) -> bool| script.events.iter().any(|event| is(&event.what));
        Agent {
            script,
            flaw,
            oracle: Oracle::new(script.settings),
            state: State::Off,
            ages: any(|what| matches!(what, What::Restart { kept: Kept::OneSampleOld, .. })),
            polls: any(|what| matches!(what, What::Reclaim { .. })),
            samples: 0,
            draws: 0,
            reading: Reading::Unknown(String::new()),
            reading_of: None,
        }
    }

    /// How many samples were taken.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    fn start(&self, world: &World, memory: Option<Memory>) -> Life {
        let now = world.moment();
        let settings = *world.settings();
        Life {
            core: match memory.clone() {
                Some(memory) => Core::remembering(&settings, self.flaw, memory, moment(now)),
                None => Core::new(&settings, self.flaw),
            },
            settings,
            slept: world.slept(),
            next_sample: now,
            next_poll: if self.polls { now } else { NEVER },
            noticed: false,
            preparing: Vec::new(),
            asking: None,
            older: memory,
        }
    }

    /// Makes `reading` what the kernel's tables show now; anew only after a change.
    fn read(&mut self, world: &World) {
        let version = world.version();
        if self.reading_of != version {
            self.reading_of = version;
            self.reading = match version {
                Some(_) => Reading::Seen(table(world.listening(), world.own_rows())),
                None => Reading::Unknown("the table is cut".to_owned()),
            };
        }
    }

    fn jitter(&mut self) -> Jitter {
        self.draws += 1;
        Jitter::new((f64::from(self.script.pace.jitter) / 1000.0 + f64::from(self.draws) * 0.618).fract())
    }

    /// Sleeps of the machine are noticed before every look.
    fn notice_sleep(&mut self, world: &World) {
        let State::Alive(life) = &mut self.state else { return };
        if world.slept() - life.slept >= SECOND {
            life.core.start_afresh();
            self.oracle.start_afresh();
        }
        life.slept = world.slept();
    }

    /// Holds are looked for before every look.
    fn notice_hold(&mut self, world: &World) {
        let State::Alive(life) = &mut self.state else { return };
        life.core.hold(world.held());
        self.oracle.hold(world.held());
    }

    fn sample(&mut self, world: &World) -> Judgement {
        self.notice_sleep(world);
        self.notice_hold(world);
        self.samples += 1;
        let now = world.moment();
        self.read(world);
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        if self.ages {
            life.older = Some(life.core.memory());
        }
        let (mut ticket, mut alarms) = (None, false);
        for action in life.core.observe(moment(now), &self.reading, world.efs()) {
            match action {
                Action::Prepare(prepare) => ticket = Some(prepare),
                Action::AlarmBlind => alarms = true,
            }
        }
        let shown = world.own_readable().then(|| Shown { listening: world.listening(), rows: world.own_rows() });
        let judged = self.oracle.sample(now, shown, world.efs_answers(), ticket.is_some(), alarms);
        if let Some(ticket) = ticket {
            life.preparing.push((now + self.script.pace.prepare, ticket, self.oracle.attempt()));
        }
        let interval = life.settings.interval;
        let planned = life.next_sample + interval;
        let regular = if planned > now { planned } else { now + interval };
        // The end of the window is looked at when it comes, not up to one interval later.
        let stop_in = life.core.view(moment(now)).stop_in;
        life.next_sample = stop_in.map_or(regular, |left| regular.min(now + whole_ms(left).max(1)));
        // A core that is broken on purpose is to be found by what it stops.
        judged.or_else(|broken| if self.flaw.is_some() && broken.0 == Promise::Alarm { Ok(()) } else { Err(broken) })
    }

    fn prepared(&mut self, world: &mut World, ticket: Ticket, number: u32) -> Judgement {
        let jitter = self.jitter();
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        if world.has(Trouble::NoCredentials) || world.has(Trouble::NoIdentity) {
            let now = world.moment();
            life.core.unprepared(ticket, moment(now), refusal(false), jitter);
            self.oracle.unprepared(number, now);
            return Ok(());
        }
        self.last_look(world, ticket, number, jitter)
    }

    fn last_look(&mut self, world: &mut World, ticket: Ticket, number: u32, jitter: Jitter) -> Judgement {
        self.notice_sleep(world);
        self.notice_hold(world);
        let slept = world.slept();
        let mut looks = 0;
        let (own, own_rows, listening, witness) = loop {
            looks += 1;
            self.read(world);
            let (own, own_rows) = (self.reading.clone(), world.own_rows().to_vec());
            let listening = world.listening();
            world.pass(world.now() + self.script.pace.look);
            let witness = if world.witness_readable() {
                Reading::Seen(table(world.listening(), world.rows()))
            } else {
                Reading::Unknown("netlink does not answer".to_owned())
            };
            let again = matches!(&own, Reading::Seen(seen) if seen.sockets.is_empty())
                && matches!(witness, Reading::Unknown(_));
            if looks == LOOKS || !again {
                break (own, own_rows, listening, witness);
            }
        };
        let now = world.moment();
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        if !world.runs() || world.frozen_until() > world.now() || world.slept() != slept {
            // Between the two witnesses nothing runs any more; when it does, it looks again.
            life.preparing.push((now, ticket, number));
            return Ok(());
        }
        if self.ages {
            life.older = Some(life.core.memory());
        }
        let asks = life.core.last_look(ticket, moment(now), &own, &witness, jitter).is_ok();
        let own_shown = matches!(own, Reading::Seen(_)).then_some(Shown { listening, rows: own_rows.as_slice() });
        let witness_rows = matches!(witness, Reading::Seen(_)).then(|| world.rows());
        let judged = self.oracle.look(number, now, own_shown, witness_rows, asks);
        if asks {
            life.asking = Some((now + self.script.pace.answer, ticket, world.ask_for_stop()));
        }
        judged
    }

    fn answered(&mut self, now: Ms, ticket: Ticket, answer: Answer) {
        let jitter = self.jitter();
        let State::Alive(life) = &mut self.state else { return };
        match answer {
            Answer::Granted => {
                life.core.answered(ticket, moment(now), Ok(()), jitter);
                self.oracle.granted(now);
            }
            Answer::Refused { lasting } => {
                life.core.answered(ticket, moment(now), Err(refusal(lasting)), jitter);
                self.oracle.refused(now, lasting);
            }
        }
    }
}

impl Watcher for Agent<'_> {
    fn next(&self, world: &World) -> Ms {
        match &self.state {
            State::Off => NEVER,
            State::Down { until, .. } => world.when(*until),
            State::Alive(life) => {
                let lateness = self.script.pace.lateness;
                let late = if lateness == 0 { 0 } else { self.samples * 7919 % (lateness + 1) };
                let prepared = life.preparing.iter().map(|(at, ..)| *at).min().unwrap_or(NEVER);
                let answered = life.asking.map_or(NEVER, |(at, ..)| at);
                world.when((life.next_sample + late).min(life.next_poll).min(prepared).min(answered))
            }
        }
    }

    fn wake(&mut self, world: &mut World) -> Result<(), Breach> {
        let now = world.moment();
        let judged = match &mut self.state {
            State::Off => Ok(()),
            State::Down { memory, slept, .. } => {
                // A memory from before a sleep is of another evening.
                let memory = memory.take().filter(|_| world.slept() - *slept < SECOND);
                if memory.is_none() {
                    self.oracle = Oracle::new(*world.settings());
                }
                self.state = State::Alive(Box::new(self.start(world, memory)));
                Ok(())
            }
            State::Alive(life) => {
                let prepared = life.preparing.iter().position(|(at, ..)| *at <= now);
                if let Some((_, ticket, answer)) = life.asking.take_if(|(at, ..)| *at <= now) {
                    self.answered(now, ticket, answer);
                    Ok(())
                } else if life.next_poll <= now {
                    life.next_poll = now + POLL;
                    if life.noticed != world.noticed() || !self.script.pace.told_once {
                        life.noticed = world.noticed();
                        life.core.reclaim(moment(now), life.noticed);
                        self.oracle.notice(now, life.noticed);
                    }
                    Ok(())
                } else if let Some(index) = prepared {
                    let (_, ticket, number) = life.preparing.remove(index);
                    self.prepared(world, ticket, number)
                } else {
                    self.sample(world)
                }
            }
        };
        judged.map_err(|(promise, text)| Breach { promise, at: world.now(), text })
    }

    fn told(&mut self, signal: Signal, world: &World) {
        let now = world.moment();
        match (signal, &mut self.state) {
            (Signal::Up, _) => {
                self.oracle = Oracle::new(*world.settings());
                self.state = State::Alive(Box::new(self.start(world, None)));
            }
            (Signal::Off, _) => self.state = State::Off,
            (Signal::Restart { down, kept }, State::Alive(life)) => {
                let memory = match kept {
                    Kept::All => Some(life.core.memory()),
                    Kept::OneSampleOld => Some(life.older.take().unwrap_or_default()),
                    Kept::Nothing => None,
                };
                self.oracle.restart(kept == Kept::OneSampleOld);
                self.state = State::Down { until: now + down, memory, slept: life.slept };
            }
            (Signal::Restart { down, .. }, State::Down { until, .. }) => *until = (*until).max(now + down),
            (Signal::Identity, State::Alive(life)) => {
                life.core.try_again_at(moment(now));
                self.oracle.may_try_again(now);
            }
            (Signal::Reload, State::Alive(life)) => {
                life.settings = *world.settings();
                life.core.set(&life.settings);
                life.next_sample = life.next_sample.min(now + life.settings.interval);
                self.oracle.set(life.settings);
            }
            (Signal::Reload, _) => self.oracle.set(*world.settings()),
            (Signal::Restart { .. } | Signal::Identity, _) => {}
        }
    }
}

fn refusal(lasting: bool) -> Refusal {
    Refusal { lasting, text: "no".to_owned() }
}

fn moment(ms: Ms) -> Moment {
    Moment(Duration::from_millis(ms))
}

/// Milliseconds, at most some years.
fn whole_ms(duration: Duration) -> Ms {
    duration.as_millis().try_into().unwrap_or(NEVER / 4)
}
