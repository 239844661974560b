//! The program.

use clap::Parser;
use mc_broker::BrokerArguments;

fn main() {
    BrokerArguments::parse();
}
