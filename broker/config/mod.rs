//! The configuration: which keys there are ([`keys`]), what they set ([`settings`]), and where they are read
//! ([`load`](mod@load)).

pub mod keys;
pub mod load;
pub mod protocols;
pub mod settings;

pub use load::load;
pub use settings::Settings;
