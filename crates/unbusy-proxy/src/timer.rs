//! When a connection goes on although nothing happens.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;

use tokio::time::Sleep;
use unbusy_core::Time;

use crate::sync;

/// Kept by whoever drives the connection.
pub(crate) enum Timer {
    /// The worker's runtime wakes the task.
    Runtime(Pin<Box<Sleep>>),
    /// A caller that drives its connection itself asks for the moment, and waits for no longer.
    Caller(Time),
}

impl Timer {
    pub(crate) fn at(moment: Time, by_caller: bool) -> Self {
        if by_caller {
            return Self::Caller(moment);
        }
        Self::Runtime(Box::pin(tokio::time::sleep_until(sync::instant(moment))))
    }

    pub(crate) fn set(&mut self, moment: Time) {
        match self {
            Self::Runtime(sleep) => {
                let moment = sync::instant(moment);
                if sleep.deadline() != moment {
                    sleep.as_mut().reset(moment);
                }
            }
            Self::Caller(known) => *known = moment,
        }
    }

    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Runtime(sleep) => sleep.as_mut().poll(cx).is_ready(),
            Self::Caller(moment) => sync::now() >= *moment,
        }
    }
}
