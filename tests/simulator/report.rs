//! The figures of four rules in the same world, as tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::simulator::agent::Agent;
use crate::simulator::day::{Weather, live, script};
use crate::simulator::flaws::Flaw;
use crate::simulator::ledger::{Ledger, Paid};
use crate::simulator::rivals::{Cron, Ideal, Naive};
use crate::simulator::script::{HOUR, MINUTE, Ms, tenths};
use crate::simulator::site::{Kind, Manner};
use crate::simulator::sweep::{over, seed_of};

/// What the rules came to on the same days.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// mc-idle, the naive rule, the cron script, the all-knowing rule.
    pub(crate) columns: [Ledger; 4],
    /// Of mc-idle and the all-knowing rule: days, and what they came to, by the kind of machine.
    pub(crate) kinds: BTreeMap<(Kind, bool), (u64, Brief, Brief)>,
    pub(crate) samples: u64,
    /// The first day on which the agent broke a promise.
    pub(crate) broken: Option<u64>,
}

/// The figures of a ledger that are told by kinds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Brief {
    up: Ms,
    stops: u64,
    cut_off: u64,
    missed: u64,
}

impl Brief {
    fn add(&mut self, ledger: &Ledger) {
        self.sum(Brief { up: ledger.up, stops: ledger.stops, cut_off: ledger.cut_off, missed: ledger.missed });
    }

    fn sum(&mut self, other: Brief) {
        self.up += other.up;
        self.stops += other.stops;
        self.cut_off += other.cut_off;
        self.missed += other.missed;
    }
}

/// Lives through `days` days with each of the rules, until the agent breaks a promise.
pub(crate) fn compare(days: u64, seed: u64, weather: Weather, flaw: Option<Flaw>) -> Comparison {
    let (sums, broken) = over(days, |day, sum: &mut Comparison| {
        let script = script(seed_of(seed, day), weather);
        let mut agent = Agent::new(&script, flaw);
        let (ledger, breach) = live(&script, &mut agent);
        sum.samples += agent.samples();
        let others = [
            live(&script, &mut Naive::default()).0,
            live(&script, &mut Cron::new(&script)).0,
            live(&script, &mut Ideal).0,
        ];
        let kind = sum.kinds.entry((script.site.kind, script.site.manner == Manner::Honest)).or_default();
        kind.0 += 1;
        kind.1.add(&ledger);
        kind.2.add(&others[2]);
        for (column, ledger) in sum.columns.iter_mut().zip(std::iter::once(ledger).chain(others)) {
            column.add(ledger);
        }
        breach.is_none()
    });
    let mut all = Comparison { broken, ..Comparison::default() };
    for sum in sums {
        for (column, ledger) in all.columns.iter_mut().zip(sum.columns) {
            column.add(ledger);
        }
        for (kind, (days, agent, ideal)) in sum.kinds {
            let entry = all.kinds.entry(kind).or_default();
            entry.0 += days;
            entry.1.sum(agent);
            entry.2.sum(ideal);
        }
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
pub(crate) fn table(comparison: &mut Comparison) -> String {
    let columns = std::mem::take(&mut comparison.columns).map(Column::new);
    let mut table =
        String::from("| | mc-idle | naive rule | cron script | all-knowing rule |\n|---|---:|---:|---:|---:|\n");
    let mut row = |name: &str, figure: &dyn Fn(&Column) -> String| {
        let figures: Vec<String> = columns.iter().map(figure).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {} |", figures.join(" | "));
    };
    row("starts of the instance", &|column| grouped(column.ledger.boots));
    row("stops", &|column| grouped(column.ledger.stops));
    row("**wrong stops**: a player was connected whom something could show", &|column| {
        grouped(column.ledger.cut_off - column.ledger.stops_on_unseen)
    });
    row("stops on a player whom nothing could show (mc-idle's are listed below)", &|column| {
        grouped(column.ledger.stops_on_unseen)
    });
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
    let [agent, ..] = &columns;
    if !agent.ledger.unseen.is_empty() {
        table.push_str("\n| players whom mc-idle cut off, and nothing could show | |\n|---|---:|\n");
        for (why, number) in &agent.ledger.unseen {
            let _ = writeln!(table, "| {why} | {} |", grouped(*number));
        }
    }
    if comparison.kinds.len() > 1 {
        table.push_str(
            "\n| machine | days | stops | on a player whom nothing could show | missed | hours | all-knowing |\n",
        );
        table.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
        for ((kind, honest), (days, agent, ideal)) in &comparison.kinds {
            let figures =
                [*days, agent.stops, agent.cut_off, agent.missed, agent.up / HOUR, ideal.up / HOUR].map(grouped);
            let answers = if *honest { "answers truly" } else { "does not" };
            let _ = writeln!(table, "| {kind:?}, {answers} | {} |", figures.join(" | "));
        }
    }
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
