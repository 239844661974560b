//! What `mc-idle status` shows: a file in the runtime directory.
//!
//! * [`record`]: what is in the file.
//! * [`crate::state::runtime_files`]: who writes it.
//! * [`interval`]: how often, while nothing but time changes.
//! * [`screen`]: how it is shown to people.
//! * [`view_file`]: reading it, and the errors when it is missing or old.

pub mod interval;
pub mod record;
pub mod screen;
pub mod view_file;

pub use record::Status;
