//! A model of EC2 and SSM, as far as launching goes: client tokens that are good in one zone and remember what is terminated,
//! instances that show late and die slowly, descriptions that lag, parameters that are created once. Times are seconds.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::Timestamp;
use mc_launcher_core::server::instance::{Instance, InstanceState};
use mc_launcher_core::start::generation::{Generation, Lookup, RunAnswer};

/// A new instance shows after this long at the latest.
const SHOWS_WITHIN: f64 = 150.0;
/// A state shows after this long at the latest.
const LAG: f64 = 20.0;
/// For so long EC2 shows what is terminated.
const REMEMBERED: f64 = 3600.0;

/// The beginning of the model's time.
pub(crate) fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + (seconds * 1000.0).round() as i64).unwrap()
}

/// What a request asks for beside its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub version: String,
    pub subnet: String,
}

struct Machine {
    id: String,
    token: Option<(String, String)>,
    template: Template,
    created: f64,
    shows: f64,
    running: f64,
    /// From when on it is on its way down, and from when on it is gone.
    ends: Option<(f64, f64)>,
}

impl Machine {
    fn state(&self, now: f64) -> InstanceState {
        match self.ends {
            Some((_, gone)) if now >= gone => InstanceState::Terminated,
            Some((down, _)) if now >= down => InstanceState::ShuttingDown,
            _ if now >= self.running => InstanceState::Running,
            _ => InstanceState::Pending,
        }
    }

    fn shown(&self, now: f64, lag: f64) -> Option<Instance> {
        let forgotten = self.ends.is_some_and(|(_, gone)| now > gone + REMEMBERED);
        (now >= self.shows && !forgotten).then(|| Instance {
            id: self.id.clone(),
            state: self.state((now - lag).max(self.created)),
            launch_time: moment(self.created),
            v4: None,
            v6: None,
            stopped_at: None,
            reason: None,
        })
    }
}

/// EC2 and SSM.
pub(crate) struct Cloud {
    machines: Vec<Machine>,
    generations: BTreeMap<u64, Generation>,
    /// What the launch template is now.
    pub template: Template,
    /// EC2 has no capacity until then.
    pub capacity_from: f64,
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let template = Template { version: "1".to_owned(), subnet: "subnet-a".to_owned() };
        Cloud { machines: Vec::new(), generations: BTreeMap::new(), template, capacity_from: 0.0 }
    }

    /// An evening before: generation 1 made an instance that goes down at `down` and is gone at `gone`.
    pub(crate) fn evening_before(&mut self, down: f64, gone: f64) {
        let (created, template) = (-7200.0, self.template.clone());
        let id = self.make(None, template, created, created, created);
        self.machines[0].ends = Some((down, gone));
        let old = self.generation(1, created, Some(id));
        self.generations.insert(1, old);
    }

    fn generation(&self, number: u64, now: f64, instance_id: Option<String>) -> Generation {
        Generation {
            number,
            nonce: format!("n{number}"),
            template_version: self.template.version.clone(),
            subnet: Some(self.template.subnet.clone()),
            created_at: moment(now),
            instance_id,
        }
    }

    fn make(
        &mut self,
        token: Option<(String, String)>,
        template: Template,
        created: f64,
        shows: f64,
        running: f64,
    ) -> String {
        let id = format!("i-{}", self.machines.len());
        self.machines.push(Machine { id: id.clone(), token, template, created, shows, running, ends: None });
        id
    }

    /// How many instances there are: until they are gone, they bill and have the world mounted.
    pub(crate) fn living(&self, now: f64) -> usize {
        let is_there = |machine: &&Machine| machine.created <= now && machine.ends.is_none_or(|(_, gone)| now < gone);
        self.machines.iter().filter(is_there).count()
    }

    /// RunInstances; without a token each request makes one.
    pub(crate) fn run(&mut self, rng: &mut Rng, now: f64, token: Option<&str>, template: &Template) -> RunAnswer {
        let key = token.map(|token| (token.to_owned(), template.subnet.clone()));
        if let Some(known) = self.machines.iter().find(|machine| key.is_some() && machine.token == key) {
            return match known.state(now) {
                _ if known.template != *template => RunAnswer::Failed("IdempotentParameterMismatch".to_owned()),
                InstanceState::Terminated => RunAnswer::Terminated,
                _ => RunAnswer::Made(known.id.clone()),
            };
        }
        if now < self.capacity_from {
            return RunAnswer::Failed("InsufficientInstanceCapacity".to_owned());
        }
        let shows = now + rng.f64() * rng.f64() * SHOWS_WITHIN;
        let running = now + 10.0 + rng.f64() * 60.0;
        RunAnswer::Made(self.make(key, template.clone(), now, shows, running))
    }

    /// DescribeInstances by the tag.
    pub(crate) fn describe(&self, rng: &mut Rng, now: f64) -> Vec<Instance> {
        let lag = rng.f64() * LAG;
        self.machines.iter().filter_map(|machine| machine.shown(now, lag)).collect()
    }

    /// The same by id.
    pub(crate) fn describe_one(&self, rng: &mut Rng, now: f64, id: &str) -> Lookup {
        let lag = rng.f64() * LAG;
        let found = self.machines.iter().find(|machine| machine.id == id);
        found.and_then(|machine| machine.shown(now, lag)).map_or(Lookup::NotFound, Lookup::Found)
    }

    /// The same by client token.
    pub(crate) fn find_by_token(&self, rng: &mut Rng, now: f64, token: &str) -> Lookup {
        let lag = rng.f64() * LAG;
        let is_it = |machine: &&Machine| machine.token.as_ref().is_some_and(|(other, _)| other == token);
        let found = self.machines.iter().find(is_it);
        found.and_then(|machine| machine.shown(now, lag)).map_or(Lookup::NotFound, Lookup::Found)
    }

    /// The highest generation.
    pub(crate) fn highest(&self) -> Option<Generation> {
        self.generations.values().next_back().cloned()
    }

    /// Creates a generation; `false`: there is one of this number.
    pub(crate) fn create(&mut self, number: u64, now: f64) -> bool {
        let new = self.generation(number, now, None);
        if self.generations.contains_key(&number) {
            return false;
        }
        self.generations.insert(number, new);
        true
    }

    /// Notes the instance of a generation.
    pub(crate) fn note(&mut self, number: u64, id: &str) {
        if let Some(generation) = self.generations.get_mut(&number) {
            generation.instance_id = Some(id.to_owned());
        }
    }
}
