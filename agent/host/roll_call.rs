//! When the containers of a host have to be looked for anew.
//!
//! To find them, every process is looked at, which can cost more than the tables themselves. As long as the kernel has
//! given out no process id since the last time (the end of `/proc/loadavg`, proc(5)), there is no new container, and only
//! the networks that were found are read. A process may still move into another network or control group under the id that
//! it has, so all are gone through now and then whatever that file says. The second witness of a stop always goes through
//! all of them.

use std::path::{Path, PathBuf};

use super::containers::{self, Containers, ContainersError, Found};
use crate::config::settings::Scope;

/// At least one sample in so many goes through all processes: every five minutes by default.
const AT_LEAST_EVERY: u32 = 60;

/// Whoever was found, and when.
#[derive(Debug)]
pub struct RollCall {
    proc: PathBuf,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    newest: u64,
    found: Found,
    samples: u32,
}

impl RollCall {
    /// Of the processes below `proc`, the folder `/proc`.
    #[must_use]
    pub fn of(proc: &Path) -> Self {
        RollCall { proc: proc.to_owned(), last: None }
    }

    /// What the containers show now.
    ///
    /// # Errors
    /// Whatever keeps anybody in a container from being seen.
    pub fn containers(&mut self, scope: &Scope) -> Result<Containers, ContainersError> {
        // Before the processes are gone through: whoever comes meanwhile counts as new the next time.
        let newest = newest_process(&self.proc);
        // Taken out: nothing is kept of what could not be read.
        if let Some(last) = self.last.take()
            && Some(last.newest) == newest
            && last.samples < AT_LEAST_EVERY
            && let Some(containers) = last.found.again(scope)?
        {
            self.last = Some(Last { samples: last.samples + 1, ..last });
            return Ok(containers);
        }
        let found = containers::find(&self.proc, scope)?;
        let containers = found.containers.clone();
        self.last = newest.map(|newest| Last { newest, found, samples: 1 });
        Ok(containers)
    }

    /// Looks for all of them the next time.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// The process id that the kernel has given out last. `None`: it does not tell.
fn newest_process(proc: &Path) -> Option<u64> {
    let load = std::fs::read_to_string(proc.join("loadavg")).ok()?;
    load.split_ascii_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::Settings;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    const PLAYER: &str = "   0: 020011AC:63DD 070200C0:C350 01 00000000:00000000 00:00000000 00000000  1000        0 102 1 0 20 4 0 10 -1\n";

    /// A host whose kernel says which process is the newest.
    struct Machine {
        root: TempDir,
        scope: Scope,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Machine { root: tempfile::tempdir().unwrap(), scope: Settings::default().scope };
            machine.starts("1", "0::/init.scope\n", HEADER);
            machine.starts("self", "0::/init.scope\n", HEADER);
            // One network has one file.
            fs::remove_file(machine.process("self").join("net/tcp")).unwrap();
            fs::hard_link(machine.process("1").join("net/tcp"), machine.process("self").join("net/tcp")).unwrap();
            machine.newest(100);
            machine
        }

        fn process(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        fn starts(&self, name: &str, group: &str, table: &str) {
            fs::create_dir_all(self.process(name).join("net")).unwrap();
            fs::write(self.process(name).join("net/tcp"), table).unwrap();
            fs::write(self.process(name).join("cgroup"), group).unwrap();
            fs::write(self.process(name).join("comm"), "java\n").unwrap();
        }

        /// A container, with somebody in it or nobody.
        fn starts_container(&self, name: &str, players: &str) {
            let group = format!("0::/docker/{}\n", "a1".repeat(32));
            self.starts(name, &group, &format!("{HEADER}{players}"));
        }

        fn newest(&self, id: u32) {
            fs::write(self.root.path().join("loadavg"), format!("0.00 0.01 0.05 1/200 {id}\n")).unwrap();
        }

        fn players(&self, roll_call: &mut RollCall) -> usize {
            roll_call.containers(&self.scope).unwrap().seen.sockets.len()
        }
    }

    #[test]
    fn a_new_process_makes_all_be_gone_through() {
        let machine = Machine::new();
        let mut roll_call = RollCall::of(machine.root.path());
        assert_eq!(machine.players(&mut roll_call), 0);
        machine.starts_container("101", PLAYER);
        machine.newest(101);
        assert_eq!(machine.players(&mut roll_call), 1);
    }

    #[test]
    fn what_was_found_is_read_anew_each_time() {
        let machine = Machine::new();
        machine.starts_container("100", PLAYER);
        let mut roll_call = RollCall::of(machine.root.path());
        assert_eq!(machine.players(&mut roll_call), 1);
        fs::write(machine.process("100").join("net/tcp"), HEADER).unwrap();
        assert_eq!(machine.players(&mut roll_call), 0);
        fs::write(machine.process("100").join("net/tcp"), [HEADER, PLAYER, PLAYER].concat()).unwrap();
        assert_eq!(machine.players(&mut roll_call), 2);
    }

    #[test]
    fn a_process_that_moves_without_a_new_id_is_found_in_the_end() {
        let machine = Machine::new();
        let mut roll_call = RollCall::of(machine.root.path());
        assert_eq!(machine.players(&mut roll_call), 0);
        machine.starts_container("100", PLAYER);
        let sample_that_finds_it = (1..=2 * AT_LEAST_EVERY).find(|_| machine.players(&mut roll_call) == 1);
        assert_eq!(sample_that_finds_it, Some(AT_LEAST_EVERY));
    }

    #[test]
    fn whoever_was_known_by_a_process_that_ended_or_moved_is_looked_for() {
        for leave in [
            |machine: &Machine| fs::remove_dir_all(machine.process("100")).unwrap(),
            |machine: &Machine| fs::write(machine.process("100").join("cgroup"), "0::/user.slice\n").unwrap(),
        ] {
            let machine = Machine::new();
            machine.starts_container("100", PLAYER);
            let mut roll_call = RollCall::of(machine.root.path());
            assert_eq!(machine.players(&mut roll_call), 1);
            // Another process in the same network.
            machine.starts_container("99", PLAYER);
            fs::remove_file(machine.process("99").join("net/tcp")).unwrap();
            fs::hard_link(machine.process("100").join("net/tcp"), machine.process("99").join("net/tcp")).unwrap();
            leave(&machine);
            assert_eq!(machine.players(&mut roll_call), 1);
        }
    }

    #[test]
    fn what_could_not_be_read_is_looked_for_anew() {
        let machine = Machine::new();
        machine.starts_container("100", PLAYER);
        let mut roll_call = RollCall::of(machine.root.path());
        assert_eq!(machine.players(&mut roll_call), 1);
        fs::write(machine.process("100").join("net/tcp"), "cut off").unwrap();
        assert!(roll_call.containers(&machine.scope).is_err());
        machine.starts_container("99", PLAYER);
        machine.starts_container("100", PLAYER);
        assert_eq!(machine.players(&mut roll_call), 2);
    }

    #[test]
    fn where_the_kernel_does_not_tell_all_are_gone_through_each_time() {
        let machine = Machine::new();
        fs::remove_file(machine.root.path().join("loadavg")).unwrap();
        let mut roll_call = RollCall::of(machine.root.path());
        assert_eq!(machine.players(&mut roll_call), 0);
        machine.starts_container("100", PLAYER);
        assert_eq!(machine.players(&mut roll_call), 1);
    }
}
