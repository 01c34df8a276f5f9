//! What a client is told to do: plain data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use unbusy_core::gate::Pace;

use crate::Event;

/// What is called with the server's address and an event. It must return soon: others wait meanwhile.
pub(crate) type Listener = Arc<dyn Fn(&str, &Event) + Send + Sync>;

/// How long commands wait, which, and in what order. The default is right for nearly everyone.
///
/// ```
/// use std::time::Duration;
/// use unbusy::Policy;
/// let policy = Policy::default().max_wait(Duration::from_secs(30)).on_event(|server, event| println!("{server}: {event:?}"));
/// ```
#[derive(Clone, Default)]
pub struct Policy {
    pub(crate) engine: unbusy_core::Policy,
    pub(crate) pace: Option<Pace>,
    pub(crate) threshold: Option<Duration>,
    pub(crate) listener: Option<Listener>,
}

impl Policy {
    /// How long a command waits, counted from its first BUSY; then its caller gets the server's own error. Default: 120 s.
    /// Zero switches waiting off.
    #[must_use]
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.engine.max_wait = wait;
        self
    }

    /// How often the one command that asks for all is tried again while the server is busy: first after `first`, then less
    /// often as time goes by, at the longest after `longest`. Default: 1 ms and 100 ms.
    ///
    /// All connections to a server share one such asker; what was given last counts.
    #[must_use]
    pub const fn intervals(mut self, first: Duration, longest: Duration) -> Self {
        self.pace = Some(Pace { first, longest });
        self
    }

    /// Waits as well while the server loads its data set (`-LOADING`). Default: no.
    #[must_use]
    pub const fn hold_loading(mut self) -> Self {
        self.engine.loading = true;
        self
    }

    /// Sends pipelines in one piece, and what was rejected again, perhaps behind later commands: for loading data whose
    /// order does not matter. Default: strict order.
    #[must_use]
    pub const fn relaxed(mut self) -> Self {
        self.engine.strict = false;
        self
    }

    /// States the server's `busy-reply-threshold` instead of asking for it with `CONFIG GET`.
    #[must_use]
    pub const fn threshold(mut self, threshold: Duration) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Calls `listener` with the server's address at each [`Event`], such as the beginning and the end of an episode. It
    /// must return soon.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&str, &Event) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// How long to wait for the answer to what was sent: through the silence before BUSY, and for the budget. `None`: as
    /// the `redis` crate does.
    #[cfg(feature = "aio")]
    pub(crate) fn response_timeout(&self) -> Option<Duration> {
        let silence =
            self.threshold.filter(|threshold| !threshold.is_zero()).unwrap_or(unbusy_core::DEFAULT_THRESHOLD);
        self.engine.holds_any().then(|| self.engine.max_wait.saturating_add(silence))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, pace, threshold, listener } = self;
        let listens = listener.is_some();
        (f.debug_struct("Policy").field("engine", engine).field("pace", pace))
            .field("threshold", threshold)
            .field("listens", &listens)
            .finish()
    }
}
