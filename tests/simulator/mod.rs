//! A simulator: the real rule, in a world where much goes wrong, judged by what is really so in it.
//!
//! [`script`] is a day, [`day`] makes one of a seed and lives it through; [`site`] is the kind of machine, [`world`] what
//! happens on it, [`sight`] what the machine's tables show of that. [`agent`] is the shell around the real core, [`oracle`] the
//! promises, [`flaws`] the bugs that it has to find, [`rivals`] other rules.

#![allow(dead_code, reason = "the test and the command use a part of it each")]
#![allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::match_same_arms,
    clippy::struct_field_names,
    reason = "a world is easier to read as a table of what is so in it"
)]

pub(crate) mod agenda;
pub(crate) mod agent;
pub(crate) mod asker;
pub(crate) mod day;
pub(crate) mod faults;
pub(crate) mod flaws;
pub(crate) mod ledger;
pub(crate) mod links;
pub(crate) mod oracle;
pub(crate) mod players;
pub(crate) mod rivals;
pub(crate) mod scanners;
pub(crate) mod script;
pub(crate) mod settings;
pub(crate) mod shrink;
pub(crate) mod sight;
pub(crate) mod site;
pub(crate) mod sweep;
pub(crate) mod telling;
pub(crate) mod troubles;
pub(crate) mod world;
