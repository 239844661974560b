//! A simulator: the real rule, in a world where much goes wrong, judged by what is really so in it.

#![allow(dead_code, reason = "the test and the command use a part of it each")]

pub(crate) mod agenda;
pub(crate) mod agent;
pub(crate) mod connections;
pub(crate) mod day;
pub(crate) mod faults;
pub(crate) mod flaws;
pub(crate) mod ledger;
pub(crate) mod oracle;
pub(crate) mod players;
pub(crate) mod rivals;
pub(crate) mod scanners;
pub(crate) mod script;
pub(crate) mod shrink;
pub(crate) mod sweep;
pub(crate) mod troubles;
pub(crate) mod world;
