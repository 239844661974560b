//! The commands, one file each.

pub(crate) mod check;
pub(crate) mod hold;
pub(crate) mod run;
pub(crate) mod status;
