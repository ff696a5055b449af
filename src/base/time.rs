//! Monotonic time as a plain number.
//!
//! The runtime hands out the time instead of every layer reading a clock, so
//! that a test on the memory driver decides what time it is. [`Instant`] is
//! therefore our own: `std`'s cannot be made up.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point of monotonic time, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of time on a virtual clock.
    pub const ZERO: Instant = Instant(0);
    /// Later than every other instant: a deadline that never comes.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Reads the machine's monotonic clock (`CLOCK_MONOTONIC`).
    #[must_use]
    pub fn from_clock() -> Instant {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Instant(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Processor time that this thread has used (`CLOCK_THREAD_CPUTIME_ID`).
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time of day: milliseconds since 1970 (UTC).
#[must_use]
pub fn unix_millis() -> u64 {
    unix_micros() / 1000
}

/// The time of day: microseconds since 1970 (UTC).
#[must_use]
pub fn unix_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (time.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(time.tv_nsec as u64 / 1000)
}

/// A second of the calendar that everybody uses (proleptic Gregorian, UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The year.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// The hour, from 0.
    pub hour: u64,
    /// The minute.
    pub minute: u64,
    /// The second; there are no leap seconds in this time.
    pub second: u64,
}

impl Calendar {
    /// So many seconds after 1970 began.
    #[must_use]
    pub const fn of(unix_seconds: u64) -> Calendar {
        let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
        // Years that begin in March have their odd day at the end; 400 of them have 146,097 days. The first of them here
        // is the year 0.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Calendar {
            year: era * 400 + year_of_era + (month <= 2) as u64,
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::NEVER`].
    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Saturates at zero, as [`Instant::since`].
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_stays_never() {
        assert_eq!(Instant::NEVER + Duration::from_secs(1), Instant::NEVER);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::ZERO - Instant::NEVER, Duration::ZERO);
    }

    /// Day by day, by the rule of leap years alone.
    #[test]
    fn two_thousand_years_day_by_day() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..2000 * 366 {
            let second = days * 86_399 % 86_400;
            let expected =
                Calendar { year, month, day, hour: second / 3600, minute: second % 3600 / 60, second: second % 60 };
            assert_eq!(Calendar::of(days * 86_400 + second), expected);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn the_clock_moves_forward() {
        let before = Instant::from_clock();
        let after = Instant::from_clock();
        assert!(after >= before && after.since(before) < Duration::from_secs(60));
    }
}
