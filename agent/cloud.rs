//! The cloud as the agent needs it, whichever it is: AWS ([`crate::aws`]), or nothing at all in a dry run.

use std::future::Future;

use crate::config::settings::StopAction;
use crate::idle::Clearance;
use crate::idle::rule::Refusal;
use crate::metadata::{Caution, Identity, Notice};

/// What can be asked to end this machine.
pub trait Cloud: Clone + Send + Sync + 'static {
    /// What a request needs at hand.
    type Provision: Send + 'static;
    /// Gets everything that a request would otherwise have to wait for.
    fn prepare(&self, action: StopAction) -> impl Future<Output = Result<Self::Provision, Refusal>> + Send;
    /// Asks for `action`, once.
    fn request(
        &self,
        leave: Clearance,
        action: StopAction,
        provision: Self::Provision,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// What is learned about the cloud while the agent runs.
#[derive(Debug)]
pub enum News {
    /// Which instance this is, or why that is not known.
    Identity(Result<Identity, String>),
    /// Whether the action would be allowed.
    Permission(Result<(), Refusal>),
    /// On this instance a stop is not what it is elsewhere.
    Caution(Caution),
    /// EC2 takes the instance back, or no longer says so.
    Reclaim(Option<Notice>),
}

/// Nothing: every request is granted and nothing happens.
#[derive(Debug, Clone, Copy)]
pub struct DryRun;

impl Cloud for DryRun {
    type Provision = ();

    async fn prepare(&self, _action: StopAction) -> Result<(), Refusal> {
        Ok(())
    }

    async fn request(&self, _leave: Clearance, _action: StopAction, _provision: ()) -> Result<(), Refusal> {
        Ok(())
    }
}
