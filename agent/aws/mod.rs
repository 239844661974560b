//! AWS: who am I, may I stop, stop; and where heartbeats go.
//!
//! * [`identity`]: instance id and region, from instance metadata.
//! * [`clients`]: the SDK's clients, none of which waits without end.
//! * [`ec2`]: the stop and its dry run.
//! * [`refusal`]: what an error code of EC2 means and what to change.
//! * [`ssm`]: where heartbeats go.

pub mod clients;
pub mod ec2;
pub mod identity;
pub mod refusal;
pub mod ssm;
