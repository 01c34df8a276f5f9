//! Wakes a thread that waits for a socket.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::Wake;

use rustix::io::ioctl_fionbio;

/// A waker. Most connections never wait for anything but their socket, so it has no descriptors until it needs them.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    rope: OnceLock<(PipeReader, PipeWriter)>,
}

impl Bell {
    /// What becomes readable when it is rung. `None`: it may have been rung before, which is to be looked into.
    pub(super) fn rope(&self) -> io::Result<Option<BorrowedFd<'_>>> {
        let Some((reader, _)) = self.rope.get() else {
            let (reader, writer) = pipe()?;
            ioctl_fionbio(&reader, true)?;
            // One thread at a time waits. Who is asked to wake it from now on finds this.
            let _ = self.rope.set((reader, writer));
            return Ok(None);
        };
        Ok((!self.rung.swap(false, SeqCst)).then(|| reader.as_fd()))
    }

    /// The rope was pulled, and what for is looked into next.
    pub(super) fn let_hang(&self) {
        if let Some((reader, _)) = self.rope.get() {
            // There may be nothing after all.
            let _ = (&*reader).read(&mut [0; 16]);
        }
        self.rung.store(false, SeqCst);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, SeqCst)
            && let Some((_, writer)) = self.rope.get()
        {
            // It is empty, and somebody holds the other end.
            let _ = (&*writer).write(&[0]);
        }
    }
}
