//! Launchers that run at once, crash between any two calls and lose answers never have two living instances, and have one in
//! the end. The statement is over what EC2 has, not over what a launcher believes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;
use mc_launcher_core::start::generation::{LaunchFacts, Lookup, RunAnswer, Step, next};

use crate::cloud::{Cloud, Template, moment};

const MINUTE: f64 = 60.0;
/// For so long at most everything goes wrong that can.
const LONGEST_TROUBLE: f64 = 25.0 * MINUTE;
/// From the end of all trouble on there is a server within 20 minutes.
const RECOVERY: f64 = 20.0 * MINUTE;
/// A launcher waits for an answer no longer.
const PATIENCE: f64 = 10.0;

/// A launcher that goes by the generations, or the one that it replaces: it describes, and runs if it sees nothing.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Generations,
    DescribeThenRun,
}

#[derive(Clone)]
enum Call {
    Describe,
    Highest,
    One(String),
    ByToken(u64, String),
    Create(u64),
    /// Of a generation, or without one.
    Run(Option<(u64, String)>, Template),
    Note(u64, String),
}

enum Event {
    Press,
    Execute(usize, Call),
    Answer(usize, Call, Option<Answer>),
}

enum Answer {
    Instances(Vec<mc_launcher_core::server::instance::Instance>),
    Highest(Option<mc_launcher_core::start::generation::Generation>),
    One(Lookup),
    Run(RunAnswer),
    Done,
}

/// What one launcher has seen since the press. An answer that comes after its patience is taken all the same.
struct Launcher {
    seen: LaunchFacts,
}

fn unseen() -> LaunchFacts {
    LaunchFacts::new(Err("not asked".to_owned()), Err("not asked".to_owned()))
}

struct World {
    rng: Rng,
    cloud: Cloud,
    kind: Kind,
    launchers: Vec<Launcher>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: Vec<Option<Event>>,
    now: f64,
    /// When everything works, the instance of the evening before is gone, and EC2 has capacity.
    trouble_ends: f64,
    most: usize,
}

impl World {
    fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut cloud = Cloud::new();
        let trouble_ends = 2.0 * MINUTE + rng.f64() * (LONGEST_TROUBLE - 2.0 * MINUTE);
        if rng.bool() {
            let down = -600.0 + rng.f64() * (trouble_ends + 600.0);
            let gone = (down + 5.0 + rng.f64() * 480.0).min(trouble_ends);
            cloud.evening_before(down, gone);
        }
        if rng.u8(..4) == 0 {
            cloud.capacity_from = rng.f64() * trouble_ends;
        }
        let queue = BinaryHeap::new();
        let (launchers, events) = (Vec::new(), Vec::new());
        World { rng, cloud, kind, launchers, queue, events, now: 0.0, trouble_ends, most: 0 }
    }

    fn at(&mut self, time: f64, event: Event) {
        self.queue.push(Reverse(((time * 1e6) as u64, self.events.len() as u64)));
        self.events.push(Some(event));
    }

    /// Runs to the end, with at most one living instance at any time.
    fn run(&mut self) {
        let friends = self.rng.usize(2..=16);
        // All within seconds, or one now and then.
        let spread = if self.rng.bool() { 20.0 } else { self.trouble_ends };
        for _ in 0..friends {
            let time = self.rng.f64() * spread;
            self.at(time, Event::Press);
        }
        // Somebody, or the warden, goes on trying; in every other run only when the trouble is over.
        let begins = if self.rng.bool() { 0.0 } else { self.trouble_ends };
        let mut time = begins + self.rng.f64() * MINUTE;
        while time < self.end() {
            self.at(time, Event::Press);
            time += MINUTE;
        }
        let mut next_change = self.rng.f64() * 5.0 * MINUTE;
        while let Some(Reverse((time, index))) = self.queue.pop() {
            self.now = time as f64 / 1e6;
            if self.now > next_change {
                let version = self.rng.u8(..).to_string();
                let subnet = ["subnet-a", "subnet-b", "subnet-c"][self.rng.usize(..3)].to_owned();
                self.cloud.template = Template { version, subnet };
                next_change += 30.0 + self.rng.f64() * 5.0 * MINUTE;
            }
            match self.events[index as usize].take() {
                Some(Event::Press) => self.press(),
                Some(Event::Execute(launcher, call)) => self.execute(launcher, call),
                Some(Event::Answer(launcher, call, answer)) => self.answer(launcher, &call, answer),
                None => {}
            }
            self.most = self.most.max(self.cloud.living(self.now));
        }
    }

    fn end(&self) -> f64 {
        self.trouble_ends + RECOVERY
    }

    fn press(&mut self) {
        self.launchers.push(Launcher { seen: unseen() });
        self.call(self.launchers.len() - 1, Call::Describe);
    }

    fn goes_wrong(&mut self, percent: u8) -> bool {
        self.now < self.trouble_ends && self.rng.u8(..100) < percent
    }

    /// Sends a call, unless the launcher dies first.
    fn call(&mut self, launcher: usize, call: Call) {
        if self.goes_wrong(4) {
            return;
        }
        // Most arrive at once, some only when nobody waits any more.
        let way = if self.goes_wrong(5) { self.rng.f64() * 55.0 } else { 0.02 + self.rng.f64() * 0.5 };
        if self.goes_wrong(3) {
            // Lost on its way.
            self.at(self.now + PATIENCE, Event::Answer(launcher, call, None));
        } else {
            self.at(self.now + way, Event::Execute(launcher, call.clone()));
            if way > PATIENCE {
                self.at(self.now + PATIENCE, Event::Answer(launcher, call, None));
            }
        }
    }

    fn execute(&mut self, launcher: usize, call: Call) {
        let (now, rng, cloud) = (self.now, &mut self.rng, &mut self.cloud);
        let answer = match &call {
            Call::Describe => Answer::Instances(cloud.describe(rng, now)),
            Call::Highest => Answer::Highest(cloud.highest()),
            Call::One(id) => Answer::One(cloud.describe_one(rng, now, id)),
            Call::ByToken(_, token) => Answer::One(cloud.find_by_token(rng, now, token)),
            Call::Create(number) => {
                cloud.create(*number, now);
                Answer::Done
            }
            Call::Run(generation, template) => {
                let token = generation.as_ref().map(|(_, token)| token.as_str());
                Answer::Run(cloud.run(rng, now, token, template))
            }
            Call::Note(number, id) => {
                cloud.note(*number, id);
                Answer::Done
            }
        };
        let lost = self.goes_wrong(5);
        let (time, answer) = if lost { (PATIENCE, None) } else { (self.rng.f64() * 0.3, Some(answer)) };
        self.at(self.now + time, Event::Answer(launcher, call, answer));
    }

    fn answer(&mut self, launcher: usize, call: &Call, answer: Option<Answer>) {
        let seen = &mut self.launchers[launcher].seen;
        let failed = || "no answer".to_owned();
        match (call, answer) {
            (Call::Describe, Some(Answer::Instances(instances))) => {
                seen.instances = Ok(instances);
                if self.kind == Kind::DescribeThenRun {
                    let nothing = seen.instances.as_ref().is_ok_and(|all| !all.iter().any(|one| one.state.is_living()));
                    if nothing {
                        let template = self.cloud.template.clone();
                        self.call(launcher, Call::Run(None, template));
                    }
                    return;
                }
                return self.call(launcher, Call::Highest);
            }
            (Call::Highest, Some(Answer::Highest(highest))) => seen.highest = Ok(highest),
            (Call::Highest, _) => seen.highest = Err(failed()),
            (Call::One(id), Some(Answer::One(lookup))) => seen.named = Some((id.clone(), lookup)),
            (Call::One(id), _) => seen.named = Some((id.clone(), Lookup::Failed(failed()))),
            (Call::ByToken(number, _), Some(Answer::One(lookup))) => seen.of_token = Some((*number, lookup)),
            (Call::ByToken(number, _), _) => seen.of_token = Some((*number, Lookup::Failed(failed()))),
            (Call::Run(Some((number, _)), _), Some(Answer::Run(run))) => seen.run = Some((*number, run)),
            (Call::Run(Some((number, _)), _), _) => seen.run = Some((*number, RunAnswer::Failed(failed()))),
            // Whether it was created or not: everything is looked at again.
            (Call::Create(_), _) => {
                *seen = unseen();
                return self.call(launcher, Call::Describe);
            }
            (Call::Describe | Call::Run(None, _) | Call::Note(..), _) => return,
        }
        let highest = self.launchers[launcher].seen.highest.clone().ok().flatten();
        match (next(&self.launchers[launcher].seen, moment(self.now)), highest) {
            (Step::Describe(id), _) => self.call(launcher, Call::One(id)),
            (Step::FindByToken, Some(generation)) => {
                let token = generation.client_token("survival");
                self.call(launcher, Call::ByToken(generation.number, token));
            }
            (Step::Create { number }, _) => self.call(launcher, Call::Create(number)),
            (Step::Run, Some(generation)) => {
                let token = (generation.number, generation.client_token("survival"));
                let subnet = generation.subnet.unwrap_or_default();
                let template = Template { version: generation.template_version, subnet };
                self.call(launcher, Call::Run(Some(token), template));
            }
            (Step::Note(id), Some(generation)) => self.call(launcher, Call::Note(generation.number, id)),
            // A later press goes on from there.
            (Step::Wait { .. } | Step::Done(_) | Step::Refuse(_) | Step::Start(_), _) => {}
            (step @ (Step::Run | Step::FindByToken | Step::Note(_)), None) => panic!("{step:?} of no generation"),
        }
    }
}

#[test]
fn many_launchers_at_once_never_have_two_and_have_one_in_the_end() {
    for seed in 0..20_000 {
        let mut world = World::new(seed, Kind::Generations);
        world.run();
        assert!(world.most <= 1, "seed {seed}: {} living instances at once", world.most);
        assert_eq!(world.cloud.living(world.end()), 1, "seed {seed}: at the end");
    }
}

#[test]
fn a_launcher_that_describes_and_then_runs_has_two_again_and_again() {
    let two = |seed: &u64| {
        let mut world = World::new(*seed, Kind::DescribeThenRun);
        world.run();
        world.most > 1
    };
    let failed = (0..1000).filter(two).count();
    assert!(failed > 100, "{failed} of 1000");
}
