//! The agent: the real core, and around it a shell that does with it what the service does. The oracle looks on.

use std::time::Duration;

use mc_idle_rule::backoff::Jitter;
use mc_idle_rule::rule::StopError;
use mc_idle_rule::{Action, Alarm, Asked, AttemptId, Memory, Moment, Witness};

use super::asker::{self, Asker};
use super::day::Watcher;
use super::flaws::{Core, Flaw};
use super::oracle::cut_off::Look;
use super::oracle::{Breach, Judgement, Oracle, Promise};
use super::script::{Kept, Ms, NEVER, SECOND, Script, Trouble, What};
use super::settings::Settings;
use super::sight::{self, Sight, Source};
use super::world::{Answer, Signal, World};

/// How often instance metadata is asked for a notice.
const POLL: Ms = 5 * SECOND;
/// A request that is not answered has failed after this.
const REQUEST_DEADLINE: Ms = 10 * SECOND;
/// What the opening of a connection to EC2 takes, when something on the way is slow.
const OPENING: Ms = 4 * SECOND;

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
}

enum State {
    Off,
    /// It starts at this moment, with what was left to it, and when that was left the machine had slept for so long.
    Down {
        until: Ms,
        memory: Option<Box<Memory>>,
        slept: Ms,
    },
    Alive(Box<Life>),
}

/// One process.
struct Life {
    core: Core,
    settings: Settings,
    sight: Sight,
    asker: Asker,
    slept: Ms,
    next_sample: Ms,
    /// Until then no window can be over, nor nearly.
    window_ends_after: Ms,
    next_poll: Ms,
    /// What was last told of a notice.
    noticed: bool,
    preparing: Vec<Preparation>,
    /// When EC2 answers, and what.
    asking: Option<(Ms, AttemptId, Answer)>,
    /// The memory before the last sample.
    older: Option<Memory>,
}

/// A stop that is being prepared.
struct Preparation {
    ready: Ms,
    attempt: AttemptId,
    /// When the servers were asked, in the world's time, and what came of it.
    asked: Option<Ms>,
    fresh: Vec<Asked>,
}

impl<'s> Agent<'s> {
    pub(crate) fn new(script: &'s Script, flaw: Option<Flaw>) -> Self {
        let any = |is: fn(&What) -> bool| script.events.iter().any(|event| is(&event.what));
        Agent {
            script,
            flaw,
            oracle: Oracle::default(),
            state: State::Off,
            ages: any(What::takes_older_memory),
            polls: any(|what| matches!(what, What::Reclaim { .. })),
            samples: 0,
            draws: 0,
        }
    }

    /// How many samples were taken.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// What the agent makes of things, in words.
    pub(crate) fn tells(&self, world: &World) -> String {
        match &self.state {
            State::Off => "off".to_owned(),
            State::Down { .. } => "not running".to_owned(),
            State::Alive(life) => {
                let view = life.core.view(moment(world.moment()));
                format!("{:?}, {:?}, online {:?}, listening {:?}", view.state, view.counts, view.online, view.listening)
            }
        }
    }

    fn start(&mut self, world: &World, memory: Option<Memory>) {
        let (now, settings, site) = (world.moment(), *world.settings(), world.site());
        self.oracle.begins(now, memory.is_some());
        self.state = State::Alive(Box::new(Life {
            core: match memory.clone() {
                Some(memory) => Core::remembering(&settings, site, self.flaw, memory, moment(now)),
                None => Core::new(&settings, site, self.flaw),
            },
            settings,
            sight: Sight::default(),
            asker: Asker::new(now + SECOND),
            slept: world.slept(),
            next_sample: now,
            window_ends_after: now,
            next_poll: if self.polls { now } else { NEVER },
            noticed: false,
            preparing: Vec::new(),
            asking: None,
            older: memory,
        }));
    }

    fn jitter(&mut self) -> Jitter {
        self.draws += 1;
        Jitter::new((f64::from(self.script.pace.jitter) / 1000.0 + f64::from(self.draws) * 0.618).fract())
    }

    /// Sleeps of the machine and holds are noticed before every look.
    fn notice(&mut self, world: &World) {
        let State::Alive(life) = &mut self.state else { return };
        if world.slept() - life.slept >= SECOND {
            life.core.start_afresh();
            self.oracle.start_afresh(world.moment());
        }
        life.slept = world.slept();
        life.core.hold(world.held());
    }

    fn sample(&mut self, world: &mut World) -> Judgement {
        self.notice(world);
        self.samples += 1;
        let now = world.moment();
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        if self.ages {
            life.older = Some(life.core.memory());
        }
        let facts = life.sight.sample(world);
        let (mut attempt, mut alarms) = (None, false);
        for action in life.core.observe(moment(now), facts, world.efs()) {
            match action {
                Action::Prepare(prepare) => attempt = Some(prepare),
                Action::Alarm(alarm) => alarms |= alarm == Alarm::Blind,
            }
        }
        let busy = attempt.is_some() || !life.preparing.is_empty() || life.asking.is_some();
        let judged = self.oracle.sample(world, alarms, busy);
        if let Some(attempt) = attempt {
            let asks = life.settings.ask.is_some();
            let put = if asks { asker::put(world, &life.core.questions()) } else { Vec::new() };
            let ready = put.iter().map(|(at, _)| *at).fold(now + self.script.pace.prepare, Ms::max);
            let fresh = put.into_iter().map(|(_, asked)| asked).collect();
            life.preparing.push(Preparation { ready, attempt, asked: asks.then(|| world.now()), fresh });
        }
        let interval = life.settings.interval;
        let planned = life.next_sample + interval;
        let regular = if planned > now { planned } else { now + interval };
        // The end of the window is looked at when it comes, not up to one interval later.
        life.next_sample = regular;
        if now >= life.window_ends_after {
            let stop_in = life.core.view(moment(now)).stop_in.map(whole_ms);
            life.next_sample = stop_in.map_or(regular, |left| regular.min(now + left.max(1)));
            // While somebody is there a whole window has still to come.
            life.window_ends_after = now + stop_in.unwrap_or(interval * 3).saturating_sub(interval * 2);
        }
        // A core that is broken on purpose is to be found by what it stops.
        judged.or_else(|broken| if self.flaw.is_some() && broken.0 == Promise::Alarm { Ok(()) } else { Err(broken) })
    }

    fn prepared(&mut self, world: &mut World, preparation: Preparation) -> Judgement {
        let jitter = self.jitter();
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        if world.has(Trouble::NoCredentials) || world.has(Trouble::NoIdentity) {
            life.core.unprepared(preparation.attempt, moment(world.moment()), stop_error(false), jitter);
            return Ok(());
        }
        self.last_look(world, preparation, jitter)
    }

    fn last_look(&mut self, world: &mut World, preparation: Preparation, jitter: Jitter) -> Judgement {
        self.notice(world);
        let slept = world.slept();
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        let own = life.sight.last_look(world);
        let look = Look::begins(world, preparation.asked);
        world.pass(world.now() + self.script.pace.look);
        let other = sight::look(world, Source::Witness, true);
        let look = look.ends(world);
        let now = world.moment();
        let State::Alive(life) = &mut self.state else { return Ok(()) };
        if !world.runs() || world.frozen_until() > world.now() || world.slept() != slept {
            // Between the two witnesses nothing runs any more; when it does, it looks again.
            life.preparing.push(Preparation { ready: now, ..preparation });
            return Ok(());
        }
        life.core.hold(world.held());
        let witness = if world.site().has_sock_diag() {
            Witness::Second(&other)
        } else {
            Witness::Reread { why: "no sock_diag", facts: &other }
        };
        let Preparation { attempt, fresh, .. } = preparation;
        if life.core.last_look(attempt, moment(now), &own, witness, fresh, jitter).is_err() {
            return Ok(());
        }
        let opening = if self.flaw == Some(Flaw::OwnConnection) { OPENING } else { 0 };
        world.pass(world.now() + self.script.pace.arrive + opening);
        let judged = self.oracle.arrives(world, &look);
        let deaf = world.has(Trouble::Deaf);
        let answer = world.ask_for_stop();
        let takes = if deaf { REQUEST_DEADLINE } else { self.script.pace.answer };
        life.asking = Some((world.moment() + takes, attempt, answer));
        judged
    }

    fn answered(&mut self, now: Ms, attempt: AttemptId, answer: Answer) {
        let jitter = self.jitter();
        let State::Alive(life) = &mut self.state else { return };
        match answer {
            Answer::Granted => {
                life.core.answered(attempt, moment(now), Ok(()), jitter);
                self.oracle.granted(now);
            }
            Answer::Refused { permanent } => {
                life.core.answered(attempt, moment(now), Err(stop_error(permanent)), jitter);
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
                let prepared = life.preparing.iter().map(|preparation| preparation.ready).min().unwrap_or(NEVER);
                let answered = life.asking.map_or(NEVER, |(at, ..)| at);
                let asks = life.asker.next(&life.settings);
                world.when((life.next_sample + late).min(life.next_poll).min(prepared).min(answered).min(asks))
            }
        }
    }

    fn wake(&mut self, world: &mut World) -> Result<(), Breach> {
        let now = world.moment();
        let judged = match &mut self.state {
            State::Off => Ok(()),
            State::Down { memory, slept, .. } => {
                // A memory from before a sleep is of another evening.
                let memory = memory.take().filter(|_| world.slept() - *slept < SECOND).map(|memory| *memory);
                self.start(world, memory);
                Ok(())
            }
            State::Alive(life) => {
                let prepared = life.preparing.iter().position(|preparation| preparation.ready <= now);
                if let Some((_, attempt, answer)) = life.asking.take_if(|(at, ..)| *at <= now) {
                    self.answered(now, attempt, answer);
                    Ok(())
                } else if life.asker.next(&life.settings) <= now {
                    let questions = life.core.questions();
                    for asked in life.asker.turn(world, &questions) {
                        self.oracle.hears(world, &asked);
                        life.core.learn(asked);
                    }
                    Ok(())
                } else if life.next_poll <= now {
                    life.next_poll = now + POLL;
                    if life.noticed != world.noticed() || !self.script.pace.told_once {
                        life.noticed = world.noticed();
                        life.core.reclaim(moment(now), life.noticed);
                    }
                    Ok(())
                } else if let Some(index) = prepared {
                    let preparation = life.preparing.remove(index);
                    self.prepared(world, preparation)
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
            (Signal::Up, _) => self.start(world, None),
            (Signal::Off, _) => self.state = State::Off,
            (Signal::Restart { down, kept }, State::Alive(life)) => {
                let memory = match kept {
                    Kept::All => Some(life.core.memory()),
                    Kept::OneSampleOld => life.older.take(),
                    Kept::Nothing => None,
                };
                self.state = State::Down { until: now + down, memory: memory.map(Box::new), slept: life.slept };
            }
            (Signal::Restart { down, .. }, State::Down { until, .. }) => *until = (*until).max(now + down),
            (Signal::Identity, State::Alive(life)) => life.core.try_again_at(moment(now)),
            (Signal::Reload, State::Alive(life)) => {
                life.settings = *world.settings();
                life.core.set(&life.settings, world.site());
                life.next_sample = life.next_sample.min(now + life.settings.interval);
                life.window_ends_after = now;
            }
            (Signal::Restart { .. } | Signal::Identity | Signal::Reload, _) => {}
        }
    }
}

fn stop_error(permanent: bool) -> StopError {
    StopError { permanent, text: "no".to_owned() }
}

fn moment(ms: Ms) -> Moment {
    Moment(Duration::from_millis(ms))
}

/// Milliseconds, at most some years.
fn whole_ms(duration: Duration) -> Ms {
    duration.as_millis().try_into().unwrap_or(NEVER / 4)
}
