//! AWS: who am I, may I stop, stop; and where heartbeats go.
//!
//! * [`scout`]: finds all of it out while the agent runs.
//! * [`imds`]: instance metadata: instance id and region.
//! * [`place`]: where a stop does not mean a stop, and whether EC2 takes the instance back.
//! * [`http`]: how it is reached.
//! * [`clients`]: the SDK's clients, none of which waits without end.
//! * [`ec2`]: the stop and its dry run.
//! * [`refusal`]: what an error code of EC2 means and what to change.
//! * [`skew`]: how far AWS's clock is from this machine's.
//! * [`ssm`]: where heartbeats go.
//! * [`remote_hold`]: a parameter that keeps the instance up.

pub mod clients;
pub mod ec2;
pub mod http;
pub mod imds;
pub mod place;
pub mod refusal;
pub mod remote_hold;
pub mod scout;
pub mod skew;
pub mod ssm;
