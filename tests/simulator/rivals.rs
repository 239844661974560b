//! Other rules, in the same world.

use super::day::Watcher;
use super::oracle::Breach;
use super::script::{MINUTE, Ms, NEVER, Script};
use super::world::{Signal, World};

/// "Any ESTABLISHED row on the port is a player", looked at once a minute; stops when there was none for the window. What
/// cannot be read prints nothing, and so counts as none.
#[derive(Debug, Default)]
pub(crate) struct Naive {
    next: Option<Ms>,
    zero_since: Option<Ms>,
}

impl Watcher for Naive {
    fn next(&self, _: &World) -> Ms {
        self.next.unwrap_or(NEVER)
    }

    fn wake(&mut self, world: &mut World) -> Result<(), Breach> {
        let now = world.now();
        self.next = Some(now + MINUTE);
        if world.own_readable() && world.host_rows().next().is_some() {
            self.zero_since = None;
        } else if now - *self.zero_since.get_or_insert(now) >= world.settings().idle_window {
            // Whether it is granted or not, the next look asks again.
            let _ = world.ask_for_stop();
        }
        Ok(())
    }

    fn told(&mut self, signal: Signal, world: &World) {
        match signal {
            Signal::Up => *self = Naive { next: Some(world.now()), zero_since: None },
            Signal::Off => self.next = None,
            _ => {}
        }
    }
}

/// The cron script: each minute it counts the lines of lsof, whose header line comes only with a row, and which knows
/// only accepted connections; a failure prints nothing. The time of the last player is a file on EFS.
#[derive(Debug)]
pub(crate) struct Cron {
    next: Option<Ms>,
    /// The file outlives the boot.
    stamp: Option<Ms>,
}

impl Cron {
    pub(crate) fn new(script: &Script) -> Self {
        // What ended the machine the day before left the file behind.
        Cron { next: None, stamp: script.ended_by_others.then_some(0) }
    }
}

impl Watcher for Cron {
    fn next(&self, _: &World) -> Ms {
        self.next.unwrap_or(NEVER)
    }

    fn wake(&mut self, world: &mut World) -> Result<(), Breach> {
        let now = world.now();
        self.next = Some(now + MINUTE);
        if !world.efs_answers() {
            // The script itself lies there.
            return Ok(());
        }
        let accepted = world.host_rows().filter(|link| link.accepted.is_some()).count();
        let lines = if world.own_readable() && accepted > 0 { accepted + 1 } else { 0 };
        let stamp = *self.stamp.get_or_insert(now);
        if lines > 0 {
            self.stamp = Some(now);
        } else if now - stamp > world.settings().idle_window {
            self.stamp = None;
            world.power_off();
        }
        Ok(())
    }

    fn told(&mut self, signal: Signal, world: &World) {
        match signal {
            // cron works by the minute of the wall clock.
            Signal::Up => self.next = Some(world.now().next_multiple_of(MINUTE)),
            Signal::Off => self.next = None,
            _ => {}
        }
    }
}

/// Knows everything, and stops exactly one window after the last player left.
#[derive(Debug)]
pub(crate) struct Ideal;

impl Watcher for Ideal {
    fn next(&self, world: &World) -> Ms {
        world.spell().map_or(NEVER, |(since, listening)| world.now().max(since + world.settings().window(listening)))
    }

    fn wake(&mut self, world: &mut World) -> Result<(), Breach> {
        world.power_off();
        Ok(())
    }

    fn told(&mut self, _: Signal, _: &World) {}
}
