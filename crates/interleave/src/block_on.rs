//! Runs a future on a thread.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

/// Waits until it is ready. Shuttle's own locks wake a thread, too, and a future that is polled for no reason may ask again
/// and miss that nobody would have woken it; so here it is polled only when its waker was called.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut bell: Option<Arc<Bell>> = None;
    shuttle::future::block_on(poll_fn(|cx| {
        let thread = || Arc::new(Bell { rung: AtomicBool::new(true), thread: cx.waker().clone() });
        let bell = bell.get_or_insert_with(thread);
        if !bell.rung.swap(false, Relaxed) {
            return Poll::Pending;
        }
        future.as_mut().poll(&mut Context::from_waker(&Arc::clone(bell).into()))
    }))
}

struct Bell {
    rung: AtomicBool,
    thread: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Relaxed);
        self.thread.wake_by_ref();
    }
}
