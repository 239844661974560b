//! The picture of the agent that `mc-idle status` shows: a file in the runtime directory.
//!
//! * [`record`]: what is in the file.
//! * [`crate::keeper`]: who writes it.
//! * [`screen`]: how it is shown to a person.
//! * [`view_file`]: reading it, and what is said when it is not there or old.

pub mod record;
pub mod screen;
pub mod view_file;

pub use record::Status;
