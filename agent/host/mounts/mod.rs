//! The mounts that the world may be on.
//!
//! * [`efs`]: which mounts count as EFS, and what state they are in. [`find`]: reads from the host what that takes.
//! * [`mountinfo`]: the table of mounts. [`fstab`]: what is to be mounted at boot.
//! * [`location`]: which mount a path lies on. [`probe`]: whether the mounts respond.

pub mod efs;
pub mod find;
pub mod fstab;
pub mod location;
pub mod mountinfo;
pub mod probe;
