//! What is going to happen in the world, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::script::{Ms, NEVER};
use super::site::Process;

/// Something that the world has in store. What it is about may be gone by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// The event of this number, if the machine is still without players since the time of this number.
    Begins {
        event: usize,
        emptiness: u32,
    },
    /// The player tries to join.
    Tries(usize),
    /// The player whom the server does not let in tries again, so many times.
    FailsToJoin {
        player: usize,
        event: usize,
        left: u32,
    },
    /// The next of two who ping in turn connects.
    Pings {
        event: usize,
        turn: u32,
        until: Ms,
    },
    /// The player of this connection has played enough.
    Leaves(u32),
    /// The client of this connection has waited for the server long enough.
    GivesUp(u32),
    /// The server accepts this connection.
    Accepts(u32),
    /// The row of this connection goes.
    RowGoes(u32),
    MachineUp,
    /// The machine of this boot is off.
    PowerOff(u32),
    /// The machine wakes from its sleep.
    Wakes,
    /// The server listens, if it has not died since.
    ServerOpens {
        process: Process,
        run: u32,
    },
    /// The server dies, if it has not died since.
    ServerDies {
        process: Process,
        run: u32,
    },
    /// The server may start again.
    DownEnds(Process),
    HangEnds {
        recovers: bool,
    },
    /// EC2 withdraws its notice to the machine of this boot.
    NoticeEnds(u32),
    /// Instance metadata says which instance this is.
    Identity,
}

#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Ms, u32, Happening)>>,
    entries: u32,
}

impl Agenda {
    /// Of two at the same time, what was entered first happens first.
    pub(crate) fn enter(&mut self, at: Ms, what: Happening) {
        self.entries += 1;
        self.heap.push(Reverse((at, self.entries, what)));
    }

    pub(crate) fn next(&self) -> Ms {
        self.heap.peek().map_or(NEVER, |Reverse((at, ..))| *at)
    }

    pub(crate) fn take(&mut self) -> Option<Happening> {
        self.heap.pop().map(|Reverse((.., what))| what)
    }
}
