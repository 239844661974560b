//! What happens in the world, and what of it goes wrong.

use super::super::agenda::Happening;
use super::super::script::{Event, Kept, MINUTE, Ms, Stranger, Trouble, What};
use super::servers::State;
use super::{Machine, RETRY, STOPPING, Signal, World};

/// From EC2's notice to the end of the instance.
const NOTICE: Ms = 2 * MINUTE;

impl World<'_> {
    pub(super) fn begin(&mut self, event: usize) {
        self.begun[event] = true;
        let Event { what, .. } = self.script.events[event];
        let now = self.now;
        let up = self.machine == Machine::Up && self.asleep.is_none();
        if let Some(lasts) = what.goes_wrong_for() {
            self.ledger.fault(now, lasts);
        }
        self.troubles.begin(now, &what);
        match what {
            What::Visit { stay, lingers, accept, door, aside } => self.comes(stay, lingers, accept, door, aside),
            What::FailedJoins { tries, .. } => self.comes_in_vain(event, tries),
            What::Stranger { kind, hold, accept, rate } => self.stranger_comes(kind, hold, accept, rate),
            What::Pingers { lasts, .. } => self.pings(event, 0, now + lasts),
            What::Blip { lingers, back } => self.cut_links(now + lingers, now + back),
            What::Down { process, lasts } => self.down_until(process % self.servers.len(), now + lasts),
            What::CrashLoop { lasts, up, down } if self.runs() => self.crashes(lasts, up, down),
            What::Hang { lasts, rows_stay, recovers } if self.is_open(0) => {
                self.turn(0, State::Hung { rows_stay });
                self.will_give_up();
                self.agenda.enter(now + lasts, Happening::HangEnds { recovers });
            }
            What::Aws { trouble: Trouble::NoIdentity, lasts } => self.agenda.enter(now + lasts, Happening::Identity),
            What::Restart { down, kept } if up => self.signals.push_back(Signal::Restart { down, kept }),
            What::Starved { lasts } => self.frozen_until = self.frozen_until.max(now + lasts),
            What::Skipped { samples } if up => {
                let interval = self.settings.interval;
                let until = (self.moment() / interval + 1 + samples) * interval;
                self.frozen_until = self.frozen_until.max(self.when(until));
            }
            What::Asleep { lasts, lingers } if up => {
                self.asleep = Some((now, now + lasts));
                self.frozen_until = self.frozen_until.max(now + lasts);
                self.agenda.enter(now + lasts, Happening::Wakes);
                self.cut_links(now + lasts + lingers, now + RETRY);
            }
            What::Reclaim { comes, lasts } if up => {
                self.noticed = true;
                let (after, happening) = if comes {
                    (NOTICE, Happening::PowerOff(self.boots))
                } else {
                    (lasts, Happening::NoticeEnds(self.boots))
                };
                self.agenda.enter(now + after, happening);
            }
            What::Reload { idle_window } => {
                self.settings.idle_window = idle_window;
                self.signals.push_back(Signal::Reload);
            }
            _ => {}
        }
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Begins { event, emptiness } => {
                if self.empty && self.emptiness == emptiness && !self.begun[event] {
                    self.begin(event);
                }
            }
            Happening::Tries(player) => self.tries(player),
            Happening::FailsToJoin { player, event, left } => self.fails_to_join(player, event, left),
            Happening::Pings { event, turn, until } => self.pings(event, turn, until),
            Happening::Leaves(id) => self.leaves(id),
            Happening::GivesUp(id) => self.gives_up(id),
            Happening::Accepts(id) => self.accepted(id),
            Happening::RowGoes(id) => self.row_goes(id),
            Happening::MachineUp => {
                self.machine = Machine::Up;
                self.booted = self.now;
                self.ledger.boots += 1;
                self.signals.push_back(Signal::Up);
                self.start_servers();
            }
            Happening::PowerOff(boot) => {
                if boot == self.boots && self.runs() {
                    self.goes_off();
                }
            }
            Happening::Wakes => {
                // The machine may have been taken in its sleep.
                if let Some((from, until)) = self.asleep.take_if(|(_, until)| *until == self.now) {
                    self.slept += until - from;
                }
            }
            Happening::ServerOpens { process, run } => self.opens(process, run),
            Happening::ServerDies { process, run } => self.crashed(process, run),
            Happening::DownEnds(process) => {
                if self.machine == Machine::Up {
                    self.start_server(process);
                }
            }
            Happening::HangEnds { recovers } => self.hang_ends(recovers),
            Happening::NoticeEnds(boot) => {
                if boot == self.boots {
                    self.noticed = false;
                }
            }
            Happening::Identity => self.signals.push_back(Signal::Identity),
        }
    }

    fn goes_off(&mut self) {
        if self.machine == Machine::Up {
            self.ledger.up += self.now - self.booted;
        }
        self.machine = Machine::Off(self.now + STOPPING);
        self.slept = 0;
        self.asleep = None;
        self.frozen_until = 0;
        self.noticed = false;
        (0..self.servers.len()).for_each(|process| self.dies(process));
        self.all_lost(self.now + RETRY);
        self.signals.push_back(Signal::Off);
    }
}

impl What {
    /// For how long something goes wrong, if that is what this is.
    fn goes_wrong_for(&self) -> Option<Ms> {
        match *self {
            What::Stranger { kind: Stranger::Holder, hold, .. } => Some(hold),
            What::Visit { .. } | What::Stranger { .. } => None,
            What::FailedJoins { tries, hold, pause } => Some(u64::from(tries) * (hold + pause)),
            What::Blip { lingers: lasts, .. }
            | What::Pingers { lasts, .. }
            | What::CrashLoop { lasts, .. }
            | What::Down { lasts, .. }
            | What::Hang { lasts, .. }
            | What::Mute { lasts }
            | What::Omitted { lasts }
            | What::Blind { lasts, .. }
            | What::NetworkUnreadable { lasts }
            | What::Aws { lasts, .. }
            | What::Efs { lasts, .. }
            | What::Restart { down: lasts, .. }
            | What::Starved { lasts }
            | What::Hold { lasts }
            | What::Asleep { lasts, .. } => Some(lasts),
            What::Reclaim { lasts, .. } => Some(lasts.max(NOTICE)),
            What::Reload { .. } | What::Skipped { .. } => Some(0),
        }
    }

    /// Whether an agent has to be able to go on from the memory of one sample ago.
    pub(crate) fn takes_older_memory(&self) -> bool {
        matches!(self, What::Restart { kept: Kept::OneSampleOld, .. })
    }
}
