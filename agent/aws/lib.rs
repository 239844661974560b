//! AWS as the agent's cloud: which instance this is, whether it may be stopped, the stop, and where heartbeats go.
//!
//! Another cloud would be a crate like this one, for [`mc_idle::cloud::Cloud`] and [`mc_idle::report::heartbeat::Store`].
//!
//! * [`instance_monitor`]: watches instance and permissions while the agent runs.
//! * [`imds`]: instance metadata: instance id and region.
//! * [`placement`]: where a stop has other consequences, and whether EC2 reclaims the instance.
//! * [`ec2`]: the stop and its dry run. [`stop_error`]: what an error code means for it, and what to change.
//! * [`sdk_config`]: which credentials and endpoints the SDK uses.
//! * [`ssm`]: where heartbeats go. [`remote_hold`]: a parameter that keeps the instance up.
//! * [`check`]: the AWS part of `mc-idle check`.

pub mod check;
pub mod ec2;
pub mod imds;
pub mod instance_monitor;
pub mod placement;
pub mod remote_hold;
pub mod sdk_config;
pub mod ssm;
pub mod stop_error;
