//! What `tokio::sync::Notify` does, as far as it is used.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use shuttle::sync::Mutex;

/// Tells one that waits, now or later.
#[derive(Default)]
pub struct Notify(Mutex<State>);

#[derive(Default)]
struct State {
    told: bool,
    waker: Option<Waker>,
}

impl Notify {
    /// Nothing is told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells it. Who does not wait yet will hear it once, however often it was told.
    pub fn notify_one(&self) {
        let mut state = self.0.lock().expect("no thread of a test panics and goes on");
        state.told = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until it is told. One may wait at a time.
    pub async fn notified(&self) {
        let hear = |cx: &mut std::task::Context<'_>| {
            let mut state = self.0.lock().expect("no thread of a test panics and goes on");
            state.waker = Some(cx.waker().clone());
            if std::mem::take(&mut state.told) { Poll::Ready(()) } else { Poll::Pending }
        };
        poll_fn(hear).await;
    }
}
