//! The clocks. Only this file reads one; everything else is given the time.
#![expect(clippy::disallowed_methods, reason = "this is where the time comes from")]

use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::Moment;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{self, Instant};

/// The time since the machine was booted, on tokio's clock: monotonic, stopped while the machine is suspended, and
/// paused in tests. It shows the same to every agent that runs in one boot.
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
        // In this order: should something come in between, alarms are late by it, and never early.
        let origin = Instant::now();
        let at_origin = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        Clock { origin, at_origin, alarms_of_the_kernel: false }
    }

    /// The same with timers of the kernel, which ignore a paused clock.
    #[must_use]
    pub fn with_alarms_of_the_kernel(self) -> Self {
        Clock { alarms_of_the_kernel: true, ..self }
    }

    /// A new timer. Needs tokio's runtime.
    #[must_use]
    pub fn alarm(self) -> Timer {
        // If the kernel has no timer left, tokio's will do.
        let timer = self.alarms_of_the_kernel.then(KernelTimer::new).flatten();
        Timer { clock: self, timer }
    }

    /// The current time.
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

/// Waits for one moment at a time.
///
/// tokio's own timers are handed down a wheel as their time comes closer, and wake the process at each step: three
/// times per sample (`tokio::runtime::time::wheel`). For what happens all the time, in a process that should be at
/// rest, the kernel's timer is better (timerfd_create(2)).
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    /// `None`: tokio's.
    timer: Option<KernelTimer>,
}

impl Timer {
    /// Waits until the clock shows `moment`. After a cancelled wait it can be used again, also for another moment.
    pub async fn at(&mut self, moment: Moment) {
        match &mut self.timer {
            Some(timer) => timer.at(moment).await,
            None => time::sleep_until(self.clock.instant(moment)).await,
        }
    }

    /// Waits for `duration`.
    pub async fn after(&mut self, duration: Duration) {
        self.at(self.clock.now().plus(duration)).await;
    }
}

#[derive(Debug)]
struct KernelTimer {
    descriptor: AsyncFd<OwnedFd>,
    /// What it is set to, unless that has passed.
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
            // A moment is a time on the kernel's monotonic clock. Zero would disarm the timer.
            let at =
                Timespec::try_from(moment.0.max(Duration::from_nanos(1))).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
            // Fails only for a descriptor that is not a timer, or for an invalid time.
            let _ = timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::ABSTIME, &once);
            self.set = Some(moment);
        }
        // An error means that the runtime is shutting down.
        while let Ok(mut ready) = self.descriptor.readable().await {
            // Setting the timer again clears an expiry; tokio does not know that, but the kernel does.
            if ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?)).is_ok() {
                break;
            }
        }
        self.set = None;
    }
}

/// The wall clock, for people and for SSM. No decision depends on it.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// A shorter suspend than this is only the difference between two readings of a clock.
pub const SLEEP: Duration = Duration::from_secs(1);

/// How long the machine has been suspended since it was booted: what `CLOCK_BOOTTIME` counts and `CLOCK_MONOTONIC` does
/// not (clock_gettime(2)).
#[must_use]
pub fn slept() -> Duration {
    let awake = clock_gettime(ClockId::Monotonic);
    let in_all = clock_gettime(ClockId::Boottime);
    Duration::try_from(in_all).unwrap_or_default().saturating_sub(Duration::try_from(awake).unwrap_or_default())
}

/// In milliseconds, the unit of times in files.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
        // Cancelled, and set to an earlier time.
        let in_vain = time::timeout(Duration::from_millis(5), alarm.at(after(3_600_000))).await;
        assert!(in_vain.is_err());
        let soon = after(20);
        alarm.at(soon).await;
        // The clock is not read twice at the same instant.
        assert!(clock.now().plus(Duration::from_millis(1)) >= soon);
        // Expired while nobody waited, and set to a later time.
        let _ = time::timeout(Duration::ZERO, alarm.at(after(5))).await;
        time::sleep(Duration::from_millis(20)).await;
        let later = after(20);
        alarm.at(later).await;
        assert!(clock.now().plus(Duration::from_millis(1)) >= later);
    }
}
