//! A press of the button, carried out.

use jiff::Timestamp;

use crate::aws::Aws;
use crate::aws::ec2::Ec2;
use crate::aws::parameters::Parameters;
use crate::clock;
use crate::deadline::Deadline;
use crate::roles::look::Look;
use mc_launcher_core::server::budget::{self, OverBudget};
use mc_launcher_core::server::instance::{Instance, InstanceState, living};
use mc_launcher_core::server::state::ServerState;
use mc_launcher_core::settings::{LaunchTemplate, Mode, Settings};
use mc_launcher_core::start::ec2_error::StartError;
use mc_launcher_core::start::generation::{self, Generation, Step, Waiting};
use mc_launcher_core::start::outcome::{Outcome, PressRefusal};
use mc_launcher_core::start::stopped::{self, Decision};
use mc_launcher_core::start::wish::{self, Player, Wish};

/// More steps than any launch takes.
const MOST_STEPS: usize = 16;
/// Letters and digits of a nonce.
const NONCE: usize = 10;

/// Who presses, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Press<'a> {
    pub aws: &'a Aws,
    pub settings: &'a Settings,
    /// As the broker says; `None`: somebody with the key.
    pub by: Option<&'a Player>,
    pub deadline: Deadline,
}

impl Press<'_> {
    /// Starts the server, if it is to be started after `look`.
    pub async fn start(self, look: &Look) -> Outcome {
        let budget = match &look.usage {
            Ok(usage) => budget::allows(&self.settings.budget, usage, look.at),
            Err(why) => {
                let refused = stopped::StartRefusal::CannotSee(why.clone());
                return Outcome::Refused(refused.into());
            }
        };
        // Its agent has said that it stops it, and EC2 does not show that yet.
        if let ServerState::Stopping(instance) = look.state(self.settings)
            && instance.state == InstanceState::Running
        {
            return match budget {
                Ok(()) => self.keep(instance.id, instance.launch_time).await,
                Err(over) => Outcome::Refused(PressRefusal::OverBudget(over)),
            };
        }
        match &self.settings.mode {
            Mode::Start => self.start_stopped(look, budget).await,
            Mode::Launch(template) => self.launch(look, template, budget).await,
        }
    }

    fn ec2(&self) -> Ec2<'_> {
        Ec2::new(self.aws, &self.settings.server)
    }

    fn parameters(&self) -> Parameters<'_> {
        Parameters::new(self.aws, self.settings)
    }

    async fn start_stopped(self, look: &Look, budget: Result<(), OverBudget>) -> Outcome {
        let id = self.parameters().get("instance-id", self.deadline).await;
        let instance_id = id.map(|found| found.map(|parameter| parameter.value.trim().to_owned()));
        let seen = stopped::StartFacts { instance_id, instances: look.seen.instances.clone(), budget };
        match stopped::decide(&seen) {
            Decision::Already(instance) => Outcome::Already(instance),
            Decision::Start(instance) => self.start_instance(instance).await,
            Decision::Keep { instance_id, launch_time } => self.keep(instance_id, launch_time).await,
            Decision::Refuse(refused) => Outcome::Refused(refused.into()),
        }
    }

    async fn start_instance(self, instance: Instance) -> Outcome {
        match self.ec2().start(&instance.id, self.deadline).await {
            Ok(()) => Outcome::Started(Some(Instance { launch_time: clock::now(), ..instance })),
            Err(StartError::GoingDown) => self.keep(instance.id, instance.launch_time).await,
            Err(error) => Outcome::Refused(PressRefusal::Ec2(error)),
        }
    }

    async fn keep(self, instance_id: String, launch_time: Timestamp) -> Outcome {
        let wish = Wish { instance_id, launch_time, wished_at: clock::now(), by: self.by.cloned() };
        match self.parameters().put("wanted", wish::text(Some(&wish)), self.deadline).await {
            Ok(()) => Outcome::Kept(wish),
            Err(why) => {
                let why = format!("it is still shutting down, and the start cannot be remembered: {why}");
                Outcome::Refused(PressRefusal::Other(why))
            }
        }
    }

    async fn launch(self, look: &Look, template: &LaunchTemplate, budget: Result<(), OverBudget>) -> Outcome {
        let (ec2, parameters, deadline) = (self.ec2(), self.parameters(), self.deadline);
        if let Some(instance) = look.running() {
            return Outcome::Already(instance.clone());
        }
        let mut seen =
            generation::LaunchFacts::new(look.seen.instances.clone(), parameters.highest_generation(deadline).await);
        for _ in 0..MOST_STEPS {
            let step = generation::next(&seen, clock::now());
            let highest = seen.highest.clone().ok().flatten();
            if let (Step::Create { .. } | Step::Run | Step::Start(_), Err(over)) = (&step, budget) {
                return Outcome::Refused(PressRefusal::OverBudget(over));
            }
            match (step, highest) {
                (Step::Done(instance), _) => return Outcome::Already(instance),
                (Step::Start(instance), _) => return self.start_instance(instance).await,
                (Step::Describe(id), _) => seen.named = Some((id.clone(), ec2.instance(&id, deadline).await)),
                (Step::Create { number }, _) => {
                    let created = parameters.create_generation(&new_generation(number, template), deadline).await;
                    if let Err(why) = created {
                        return Outcome::Refused(generation::LaunchRefusal::CannotSee(why).into());
                    }
                    // Created or not: everything is looked at again.
                    let (instances, highest) =
                        tokio::join!(ec2.instances(deadline), parameters.highest_generation(deadline));
                    seen = generation::LaunchFacts::new(instances, highest);
                }
                (Step::FindByToken, Some(generation)) => {
                    let token = generation.client_token(&self.settings.server);
                    seen.of_token = Some((generation.number, ec2.of_token(&token, deadline).await));
                }
                (Step::Run, Some(generation)) => {
                    seen.run = Some((generation.number, ec2.run(&generation, &template.id, deadline).await));
                }
                (Step::Note(id), Some(generation)) => {
                    let noted = Generation { instance_id: Some(id.clone()), ..generation };
                    // If that fails, the next press finds the instance by the same request.
                    let (_, _) = tokio::join!(
                        parameters.note_generation(&noted, deadline),
                        parameters.put("instance-id", id.clone(), deadline),
                    );
                    if seen.run.is_some() {
                        return Outcome::Started(Some(new_instance(id)));
                    }
                    seen.highest = Ok(Some(noted));
                }
                (Step::Wait { why: Waiting::GoingDown, .. }, _) => {
                    let going = seen.instances.as_ref().ok().and_then(|instances| living(instances).next().cloned());
                    match (going, budget) {
                        (Some(going), Ok(())) => return self.keep(going.id, going.launch_time).await,
                        (_, Err(over)) => return Outcome::Refused(PressRefusal::OverBudget(over)),
                        (None, Ok(())) => break,
                    }
                }
                (Step::Wait { why: Waiting::NotShownYet, .. }, _) => return Outcome::Started(None),
                (Step::Wait { why: Waiting::Settling, until }, _) => {
                    return Outcome::Refused(PressRefusal::Settling(until));
                }
                (Step::Refuse(refused), _) => return Outcome::Refused(refused.into()),
                (Step::FindByToken | Step::Run | Step::Note(_), None) => break,
            }
        }
        Outcome::Refused(PressRefusal::Other("too much has changed at once; try again".to_owned()))
    }
}

/// What EC2 has just made, and does not show yet.
fn new_instance(id: String) -> Instance {
    let (state, launch_time) = (InstanceState::Pending, clock::now());
    Instance { id, state, launch_time, v4: None, v6: None, stopped_at: None, reason: None }
}

fn new_generation(number: u64, template: &LaunchTemplate) -> Generation {
    let subnets = &template.subnets;
    // Another one each time: a zone without capacity is left after one failure.
    let turn = usize::try_from(number).unwrap_or_default().checked_rem(subnets.len());
    Generation {
        number,
        nonce: std::iter::repeat_with(fastrand::alphanumeric).take(NONCE).collect(),
        template_version: template.version.clone(),
        subnet: turn.map(|turn| subnets[turn].clone()),
        created_at: clock::now(),
        instance_id: None,
    }
}
