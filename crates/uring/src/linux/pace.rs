//! Where the thread waits for something to come: on the ring itself as long as something comes all the time, which takes
//! one system call and nobody to ring a bell; otherwise where the event loop sleeps.

use std::time::{Duration, Instant};

use io_uring::types::Timespec;

/// What comes within this comes all the time.
const BRISK: Duration = Duration::from_micros(200);
/// While the thread waits on the ring, a clock ends that so often, for the sake of what else the event loop has. A limit for
/// each wait would set a timer each time, which costs a virtual machine more than the wait.
pub(crate) static TICK: Timespec = Timespec::new().nsec(1_000_000);
/// After so many ticks with nothing else it is calm.
const IDLE_TICKS: u8 = 2;

#[derive(Debug)]
pub(crate) enum Pace {
    /// Since then nothing has come, as far as it was looked.
    Calm(Instant),
    Brisk {
        idle_ticks: u8,
    },
}

impl Pace {
    pub(crate) fn calm() -> Self {
        Self::Calm(Instant::now())
    }

    pub(crate) const fn is_brisk(&self) -> bool {
        matches!(self, Self::Brisk { .. })
    }

    /// After a look at whether something came.
    pub(crate) fn looked(&mut self, something: bool) {
        match self {
            Self::Brisk { idle_ticks } if something => *idle_ticks = 0,
            Self::Brisk { .. } => {}
            Self::Calm(since) if something && since.elapsed() < BRISK => {
                *self = Self::Brisk { idle_ticks: 0 }
            }
            Self::Calm(_) => *self = Self::calm(),
        }
    }

    /// After a wait in which nothing came but a tick.
    pub(crate) fn waited_in_vain(&mut self) {
        if let Self::Brisk { idle_ticks } = self {
            *idle_ticks += 1;
            if *idle_ticks == IDLE_TICKS {
                *self = Self::calm();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_brisk_when_something_comes_soon_and_calm_after_idle_ticks() {
        let mut pace = Pace::calm();
        pace.looked(false);
        assert!(!pace.is_brisk());
        pace.looked(true);
        assert!(pace.is_brisk());
        pace.waited_in_vain();
        pace.looked(false);
        assert!(pace.is_brisk(), "one tick may come right behind something");
        pace.looked(true);
        pace.waited_in_vain();
        assert!(pace.is_brisk(), "ticks count from the last that came");
        pace.waited_in_vain();
        assert!(!pace.is_brisk());
    }

    #[test]
    fn it_stays_calm_when_something_comes_late() {
        let mut pace =
            Pace::Calm(Instant::now().checked_sub(BRISK).expect("the machine was not just started"));
        pace.looked(true);
        assert!(!pace.is_brisk());
    }
}
