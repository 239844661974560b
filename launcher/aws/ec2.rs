//! EC2: the instances of one server. Only what carries its tag is seen, started or stopped.

use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::types::{Filter, LaunchTemplateSpecification, ResourceType, Tag, TagSpecification};
use jiff::Timestamp;

use crate::aws::{Aws, in_words};
use crate::deadline::Deadline;
use mc_launcher_core::server::instance::{Instance, InstanceState, transition_time};
use mc_launcher_core::start::ec2_error::StartError;
use mc_launcher_core::start::generation::{Generation, Lookup, RunAnswer};

/// The tag that an instance of a server carries; its value is the server's name.
pub const TAG: &str = "mc-idle:server";
/// The most pages of instances that are read. A server has one or two instances.
const MOST_PAGES: usize = 10;
const EC2: &str = "EC2";

/// EC2, for one server.
#[derive(Debug, Clone, Copy)]
pub struct Ec2<'a> {
    aws: &'a Aws,
    server: &'a str,
}

impl<'a> Ec2<'a> {
    /// For the server of this name.
    #[must_use]
    pub fn new(aws: &'a Aws, server: &'a str) -> Self {
        Ec2 { aws, server }
    }

    /// Every instance with the server's tag.
    ///
    /// # Errors
    /// EC2 does not tell, with the reason.
    pub async fn instances(&self, deadline: Deadline) -> Result<Vec<Instance>, String> {
        let tag = Filter::builder().name(format!("tag:{TAG}")).values(self.server).build();
        self.described(tag, deadline).await
    }

    /// The instance of this id.
    pub async fn instance(&self, id: &str, deadline: Deadline) -> Lookup {
        self.lookup(Filter::builder().name("instance-id").values(id).build(), deadline).await
    }

    /// The instance that a client token has made.
    pub async fn of_token(&self, token: &str, deadline: Deadline) -> Lookup {
        self.lookup(Filter::builder().name("client-token").values(token).build(), deadline).await
    }

    async fn lookup(&self, filter: Filter, deadline: Deadline) -> Lookup {
        match self.described(filter, deadline).await {
            Err(why) => Lookup::Failed(why),
            Ok(mut found) => match (found.pop(), found.is_empty()) {
                (None, _) => Lookup::NotFound,
                (Some(instance), true) => Lookup::Found(instance),
                // A token is good in one zone: two instances of one were not launched by this program.
                (Some(_), false) => Lookup::Failed("EC2 shows several instances where there can be one".to_owned()),
            },
        }
    }

    async fn described(&self, filter: Filter, deadline: Deadline) -> Result<Vec<Instance>, String> {
        let call = self.aws.ec2().await.describe_instances().filters(filter);
        let mut pages = call.into_paginator().send();
        let mut instances = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(page) = deadline.limit(EC2, pages.next()).await? else { return Ok(instances) };
            let page = page.map_err(|error| in_words(EC2, "ec2:DescribeInstances", &error))?;
            let described =
                page.reservations.unwrap_or_default().into_iter().flat_map(|some| some.instances.unwrap_or_default());
            for instance in described {
                instances.push(read(&instance)?);
            }
        }
        Err(format!("EC2 shows more instances with the tag {TAG} = {} than can be read", self.server))
    }

    /// Starts `instance`.
    ///
    /// # Errors
    /// EC2 does not.
    pub async fn start(&self, id: &str, deadline: Deadline) -> Result<(), StartError> {
        let call = self.aws.ec2().await.start_instances().instance_ids(id);
        match deadline.limit(EC2, call.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(StartError::of(error.code())),
            Err(_) => Err(StartError::NoAnswer),
        }
    }

    /// Stops the instance of this id, never by force: the server must be able to save its world.
    ///
    /// # Errors
    /// EC2 does not, with the reason.
    pub async fn stop(&self, id: &str, deadline: Deadline) -> Result<(), String> {
        let call = self.aws.ec2().await.stop_instances().instance_ids(id);
        deadline.limit(EC2, call.send()).await?.map(drop).map_err(|error| in_words(EC2, "ec2:StopInstances", &error))
    }

    /// Asks for the instance of `generation`, by exactly what it fixes.
    pub async fn run(&self, generation: &Generation, template: &str, deadline: Deadline) -> RunAnswer {
        let template = LaunchTemplateSpecification::builder()
            .launch_template_id(template)
            .version(&generation.template_version)
            .build();
        let tag = Tag::builder().key(TAG).value(self.server).build();
        let tags = TagSpecification::builder().resource_type(ResourceType::Instance).tags(tag).build();
        let call = self.aws.ec2().await.run_instances().min_count(1).max_count(1);
        let call = call.launch_template(template).tag_specifications(tags);
        let call = call.client_token(generation.client_token(self.server)).set_subnet_id(generation.subnet.clone());
        match deadline.limit(EC2, call.send()).await {
            Ok(Ok(answer)) => {
                match answer.instances.unwrap_or_default().first().and_then(|made| made.instance_id.clone()) {
                    Some(id) => RunAnswer::Made(id),
                    None => RunAnswer::Failed("EC2 answered without an instance".to_owned()),
                }
            }
            Ok(Err(error)) if error.code() == Some("IdempotentInstanceTerminated") => RunAnswer::Terminated,
            Ok(Err(error)) => match StartError::of(error.code()) {
                StartError::NoAnswer => RunAnswer::NoAnswer,
                // It has no words of its own for these.
                StartError::Other | StartError::GoingDown | StartError::NoInstance => {
                    RunAnswer::Failed(in_words(EC2, "ec2:RunInstances", &error))
                }
                known => RunAnswer::Failed(known.to_string()),
            },
            Err(_) => RunAnswer::NoAnswer,
        }
    }
}

/// What the launcher needs to know of an instance.
fn read(instance: &aws_sdk_ec2::types::Instance) -> Result<Instance, String> {
    let lacks = |what| format!("EC2 describes an instance without {what}");
    let id = instance.instance_id.clone().ok_or_else(|| lacks("an id"))?;
    let state = instance.state.as_ref().and_then(|state| InstanceState::parse(state.name.as_ref()?.as_str()));
    let launch_time = instance.launch_time.and_then(|time| Timestamp::from_second(time.secs()).ok());
    Ok(Instance {
        id,
        state: state.ok_or_else(|| lacks("a state that is known"))?,
        launch_time: launch_time.ok_or_else(|| lacks("a launch time"))?,
        v4: instance.public_ip_address.as_ref().and_then(|address| address.parse().ok()),
        v6: instance.ipv6_address.as_ref().and_then(|address| address.parse().ok()),
        stopped_at: instance.state_transition_reason.as_deref().and_then(transition_time),
        reason: instance.state_reason.as_ref().and_then(|reason| reason.code.clone()),
    })
}
