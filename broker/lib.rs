//! Owns the public Minecraft address: a login starts the server, and the player is held and handed over.
//!
//! So far it has a command line and a version, and no more.

use clap::Parser;

/// Lets a join start the Minecraft server, and hands the player over.
#[derive(Debug, Parser)]
#[command(name = "mc-broker", version, arg_required_else_help = true)]
pub struct BrokerArguments {}
