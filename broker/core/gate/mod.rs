//! Who is kept out.
//!
//! * [`addresses`]: limits for each address. [`accounts`]: how long an account waits whose starts nobody joined after.
//! * [`returns`]: who comes back right after he was handed over.

pub mod accounts;
pub mod addresses;
pub mod returns;
