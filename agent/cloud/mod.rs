//! The cloud as the agent needs it: AWS, in its own crate, or nothing in a dry run.
//!
//! * [`stop_action`]: what is asked of it.
//! * [`metadata`]: parses the answers of instance metadata.

pub mod metadata;
pub mod stop_action;

use std::future::Future;

use mc_idle_rule::StopPermit;
use mc_idle_rule::rule::StopError;

use crate::cloud::metadata::{Identity, ReclaimNotice, StopCaveat};
pub use stop_action::StopAction;

/// The API that stops this machine.
pub trait Cloud: Clone + Send + Sync + 'static {
    /// What a request needs prepared.
    type Provision: Send + 'static;
    /// Gets everything that a request would otherwise have to wait for, including an open connection. Fails unless the
    /// API has just answered.
    fn prepare(&self, action: StopAction) -> impl Future<Output = Result<Self::Provision, StopError>> + Send;
    /// Requests `action`, once, with what was prepared. If anything is missing by then, it fails instead of waiting for
    /// it.
    fn request(
        &self,
        leave: StopPermit,
        action: StopAction,
        provision: Self::Provision,
    ) -> impl Future<Output = Result<(), StopError>> + Send;
}

/// What the agent learns about the cloud while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudEvent {
    /// Which instance this is, or why that is unknown.
    Identity(Result<Identity, String>),
    /// Whether the action would be allowed.
    Permission(Result<(), StopError>),
    StopCaveat(StopCaveat),
    /// EC2 is reclaiming the instance; `None`: it no longer is.
    Reclaim(Option<ReclaimNotice>),
}

/// Grants every request and does nothing.
#[derive(Debug, Clone, Copy)]
pub struct DryRun;

impl Cloud for DryRun {
    type Provision = ();

    async fn prepare(&self, _action: StopAction) -> Result<(), StopError> {
        Ok(())
    }

    async fn request(&self, _leave: StopPermit, _action: StopAction, _provision: ()) -> Result<(), StopError> {
        Ok(())
    }
}
