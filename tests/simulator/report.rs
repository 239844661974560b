//! The figures of four rules in the same world, as a table.

use std::fmt::Write;

use crate::simulator::agent::Agent;
use crate::simulator::day::{Weather, live, script};
use crate::simulator::flaws::Flaw;
use crate::simulator::ledger::{Ledger, Paid};
use crate::simulator::rivals::{Cron, Ideal, Naive};
use crate::simulator::script::{HOUR, MINUTE, Ms, tenths};
use crate::simulator::sweep::{over, seed_of};

/// What the rules came to on the same days.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub agent: Ledger,
    pub naive: Ledger,
    pub cron: Ledger,
    pub ideal: Ledger,
    pub samples: u64,
    /// The first day on which the agent broke a promise.
    pub broken: Option<u64>,
}

/// Lives through `days` days with each of the rules, until the agent breaks a promise.
pub(crate) fn compare(days: u64, seed: u64, weather: Weather, flaw: Option<Flaw>) -> Comparison {
    let (sums, broken) = over(days, |day, sum: &mut Comparison| {
        let script = script(seed_of(seed, day), weather);
        let mut agent = Agent::new(&script, flaw);
        let (ledger, breach) = live(&script, &mut agent);
        sum.agent.add(ledger);
        sum.samples += agent.samples();
        sum.naive.add(live(&script, &mut Naive::default()).0);
        sum.cron.add(live(&script, &mut Cron::new(&script)).0);
        sum.ideal.add(live(&script, &mut Ideal).0);
        breach.is_none()
    });
    let mut all = Comparison { broken, ..Comparison::default() };
    for sum in sums {
        all.agent.add(sum.agent);
        all.naive.add(sum.naive);
        all.cron.add(sum.cron);
        all.ideal.add(sum.ideal);
        all.samples += sum.samples;
    }
    all
}

/// One rule's figures, ready to be written.
struct Column {
    ledger: Ledger,
    /// Minutes paid for before a stop although nobody was there, in order: when nothing went wrong, and always.
    faultless: Vec<Ms>,
    all: Vec<Ms>,
}

impl Column {
    fn new(mut ledger: Ledger) -> Self {
        let in_order = |paid: &mut dyn Iterator<Item = Paid>| {
            let mut paid: Vec<Ms> = paid.map(|paid| paid.idle).collect();
            paid.sort_unstable();
            paid
        };
        let paid = std::mem::take(&mut ledger.paid);
        let faultless = in_order(&mut paid.iter().copied().filter(|paid| paid.faultless));
        let all = in_order(&mut paid.into_iter());
        Column { ledger, faultless, all }
    }
}

/// The table, in Markdown.
pub(crate) fn table(comparison: Comparison) -> String {
    let Comparison { agent, naive, cron, ideal, .. } = comparison;
    let columns = [agent, naive, cron, ideal].map(Column::new);
    let mut table =
        String::from("| | mc-idle | naive rule | cron script | all-knowing rule |\n|---|---:|---:|---:|---:|\n");
    let mut row = |name: &str, figure: &dyn Fn(&Column) -> String| {
        let figures: Vec<String> = columns.iter().map(figure).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {} |", figures.join(" | "));
    };
    row("starts of the instance", &|column| grouped(column.ledger.boots));
    row("stops", &|column| grouped(column.ledger.stops));
    row("**wrong stops**: a player was connected", &|column| grouped(column.ledger.cut_off));
    row("**wrong stops**: who had started it still waited for the server", &|column| {
        grouped(column.ledger.left_waiting)
    });
    row("**missed stops**: 2 min over the window, though nothing had gone wrong", &|column| {
        grouped(column.ledger.missed_faultless)
    });
    row("missed stops while or after something had gone wrong", &|column| {
        grouped(column.ledger.missed - column.ledger.missed_faultless)
    });
    row("hours paid for", &|column| grouped(column.ledger.up / HOUR));
    row("hours paid for with nobody there", &|column| grouped(column.ledger.idle / HOUR));
    row("… minutes before a stop, nothing gone wrong: median", &|column| part(&column.faultless, 50));
    row("… 99 of 100 are below", &|column| part(&column.faultless, 99));
    row("… at worst", &|column| part(&column.faultless, 100));
    row("… minutes before any stop: median", &|column| part(&column.all, 50));
    row("… at worst", &|column| part(&column.all, 100));
    table
}

/// The value below which `percent` of them are, in minutes.
fn part(in_order: &[Ms], percent: usize) -> String {
    let index = (in_order.len() * percent / 100).min(in_order.len().saturating_sub(1));
    in_order.get(index).map_or("none".to_owned(), |ms| tenths(*ms, MINUTE))
}

/// With a space before every third digit from the right.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(" ")
}
