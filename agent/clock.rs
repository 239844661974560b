//! The clocks. This is the only file that reads one; everything else is given the time.
#![expect(clippy::disallowed_methods, reason = "this is where the time comes from")]

use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{self, Instant};

use crate::idle::Moment;

/// The time since the machine was booted, on tokio's clock: monotonic, still while the machine sleeps, and paused in
/// tests. It shows the same to every agent that runs in one boot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    at_origin: Duration,
    alarms_of_the_kernel: bool,
}

impl Clock {
    /// A clock that runs from now on (`CLOCK_MONOTONIC`, clock_gettime(2)).
    #[must_use]
    pub fn start() -> Self {
        let at_origin = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        Clock { origin: Instant::now(), at_origin, alarms_of_the_kernel: false }
    }

    /// The same with alarms that are the kernel's. They know nothing of a paused clock.
    #[must_use]
    pub fn with_alarms_of_the_kernel(self) -> Self {
        Clock { alarms_of_the_kernel: true, ..self }
    }

    /// A new alarm. Within tokio's runtime only.
    #[must_use]
    pub fn alarm(self) -> Alarm {
        // tokio's timer does as well, if the kernel has none to give away.
        let timer = self.alarms_of_the_kernel.then(KernelTimer::new).flatten();
        Alarm { clock: self, timer }
    }

    /// The time on it.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.at_origin + self.origin.elapsed())
    }

    /// The instant at which it shows `moment`, for tokio's timers.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.0.saturating_sub(self.at_origin)
    }
}

/// Wakes whoever waits for a moment, once.
///
/// tokio's own timers are handed down a wheel as their time comes closer, and wake the process at each step: three times
/// for one sample (`tokio::runtime::time::wheel`). For what happens all the time, in a process that is to be at rest, the
/// kernel's timer does better (timerfd_create(2)).
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    /// `None`: tokio's.
    timer: Option<KernelTimer>,
}

impl Alarm {
    /// Waits until the clock shows `moment`. Whoever has given up waiting may wait again, for another one too.
    pub async fn at(&mut self, moment: Moment) {
        match &mut self.timer {
            Some(timer) => timer.at(moment).await,
            None => time::sleep_until(self.clock.instant(moment)).await,
        }
    }

    /// Waits for as long as `duration`.
    pub async fn after(&mut self, duration: Duration) {
        self.at(self.clock.now().plus(duration)).await;
    }
}

#[derive(Debug)]
struct KernelTimer {
    descriptor: AsyncFd<OwnedFd>,
    /// What it is set to, unless that has come.
    set: Option<Moment>,
}

impl KernelTimer {
    fn new() -> Option<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe code; this is unsound only for what changes its descriptor"
        )]
        let descriptor = AsyncFd::new(descriptor).ok()?;
        Some(KernelTimer { descriptor, set: None })
    }

    async fn at(&mut self, moment: Moment) {
        if self.set != Some(moment) {
            // A moment is a time on the kernel's monotonic clock. Zero would switch the timer off.
            let at =
                Timespec::try_from(moment.0.max(Duration::from_nanos(1))).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
            // Fails only for a descriptor that is no timer, or a time that is none.
            let _ = timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::ABSTIME, &once);
            self.set = Some(moment);
        }
        // An error: the runtime ends.
        while let Ok(mut ready) = self.descriptor.readable().await {
            // Setting the timer again takes back that it has gone off; tokio does not know that, but the kernel does.
            if ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?)).is_ok() {
                break;
            }
        }
        self.set = None;
    }
}

/// The wall clock, for people and for SSM. Nothing is decided by it.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// A sleep shorter than this is the difference between two readings of a clock.
pub const SLEEP: Duration = Duration::from_secs(1);

/// How long the machine has slept since it was booted: what `CLOCK_BOOTTIME` counts and `CLOCK_MONOTONIC` does not
/// (clock_gettime(2)).
#[must_use]
pub fn slept() -> Duration {
    let awake = clock_gettime(ClockId::Monotonic);
    let in_all = clock_gettime(ClockId::Boottime);
    Duration::try_from(in_all).unwrap_or_default().saturating_sub(Duration::try_from(awake).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernels_alarm_goes_off_when_its_time_has_come_however_often_it_was_set() {
        let clock = Clock::start().with_alarms_of_the_kernel();
        let mut alarm = clock.alarm();
        assert!(alarm.timer.is_some());
        let after = |milliseconds| clock.now().plus(Duration::from_millis(milliseconds));
        for moment in [Moment(Duration::ZERO), clock.now()] {
            alarm.at(moment).await;
        }
        // Given up, and set to an earlier time.
        let in_vain = time::timeout(Duration::from_millis(5), alarm.at(after(3_600_000))).await;
        assert!(in_vain.is_err());
        let soon = after(20);
        alarm.at(soon).await;
        // The two readings of one clock are not made at once.
        assert!(clock.now().plus(Duration::from_millis(1)) >= soon);
        // Gone off while nobody waited, and set to a later time.
        let _ = time::timeout(Duration::ZERO, alarm.at(after(5))).await;
        time::sleep(Duration::from_millis(20)).await;
        let later = after(20);
        alarm.at(later).await;
        assert!(clock.now().plus(Duration::from_millis(1)) >= later);
    }
}
