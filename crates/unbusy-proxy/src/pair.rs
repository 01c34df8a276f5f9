//! A client connection and the server connection it owns, driven as one task.
//!
//! Both directions share one read buffer per worker thread. A connection keeps bytes of its own only while a
//! command is unanswered or a reply cannot be written.

mod by_user;
mod client;
mod gate;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use unbusy_core::gate::Ticket;
use unbusy_core::session::{Out, Pass, SessionError, Want};
use unbusy_core::{Session, Time};

use crate::buffer::Buffer;
use crate::running::Caller;
use crate::shared::{Shared, Stage};
use crate::stream::{Closed, Stream};
use crate::sync;
use crate::tally::Tally;
use crate::timer::Timer;

const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Replies that a client does not take are kept up to one read; beyond that the server is not read.
const IDLE_BACKLOG_BYTES: usize = 1024;
/// How long the answer to a command is awaited whose client has gone: it may be all that the gate hears.
const ORPHAN_WAIT: Duration = Duration::from_secs(60);
/// A client may close its side behind its last command and still read the replies. What it sent is executed if it
/// waits at the gate for no longer than this; then it counts as given up.
const GONE_WAIT: Duration = Duration::from_millis(50);
/// While commands are refused behind a failed SELECT, so much is read before the refusals are written.
const POISONED_BACKLOG_BYTES: usize = 256 * 1024;
/// So much is kept for a client that sends more and takes nothing.
const PIPELINE_BACKLOG_BYTES: usize = 64 * 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

struct Scratch {
    buffer: Box<[u8]>,
    out: Out,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(), out: Out::default() }
    }
}

/// Why a pair ended.
#[derive(Debug)]
pub(crate) enum End {
    /// One of both sides closed, or the proxy ends.
    Closed,
    /// A socket failed.
    Io(io::Error),
    /// The server's TLS refused us as soon as it knew who we are, before any reply. The client is told, since nothing
    /// else tells it of a certificate that is missing.
    Refused(io::Error),
    /// The session cannot go on; the client is told.
    Session(SessionError),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set once")]
pub(crate) struct Pair {
    shared: Arc<Shared>,
    worker: usize,
    pub(crate) client: Stream,
    pub(crate) server: Stream,
    session: Session,
    /// Replies that the client has not taken yet.
    backlog: Buffer<IDLE_BACKLOG_BYTES>,
    place: Place,
    timer: Option<Timer>,
    scripts_counted: u32,
    /// Known by this among those that run scripts, from its first script on.
    caller: Option<Caller>,
    /// The client cannot be written to any more.
    client_lost: bool,
    client_closed: bool,
    /// Since when it waits at the gate.
    waiting_since: Option<Time>,
    server_told: bool,
    /// The server has replied to something.
    server_spoke: bool,
    /// The server cannot be written to any more; what it said before can still be read.
    server_deaf: bool,
    unflushed: bool,
    has_left: bool,
}

/// What is known within one call of [`Pair::drive`].
#[derive(Default)]
struct Look {
    /// When something was last found to do.
    now: Option<Time>,
    /// Sockets that had nothing to read. They wake the task when they have, and need not be asked again.
    client_is_dry: bool,
    server_is_dry: bool,
}

impl Look {
    /// The clock is looked at once for all that is done together, and not at all if nothing is.
    fn now(&mut self) -> Time {
        *self.now.get_or_insert_with(sync::now)
    }
}

/// Where the connection stands at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Away,
    Waiting(Ticket),
    /// One command was let through and is not answered.
    Sent(Ticket),
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Future for Pair {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let pair = self.get_mut();
        SCRATCH.with_borrow_mut(|scratch| match pair.drive(cx, scratch) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        })
    }
}

impl Pair {
    pub(crate) fn new(shared: Arc<Shared>, worker: usize, client: Stream, server: Stream) -> Self {
        let session = Session::new(shared.policy);
        shared.tallies[worker].begun.add(1);
        Self {
            shared,
            worker,
            client,
            server,
            session,
            backlog: Buffer::default(),
            place: Place::Away,
            timer: None,
            scripts_counted: 0,
            caller: None,
            client_lost: false,
            client_closed: false,
            waiting_since: None,
            server_told: false,
            server_spoke: false,
            server_deaf: false,
            unflushed: false,
            has_left: false,
        }
    }

    /// The connection is over: nobody waits for it any more, and its server hears of it.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        if let Some(ticket) = self.take_ticket() {
            self.shared.leave(ticket, sync::now());
        }
        if self.scripts_counted > 0 {
            self.shared.remove_scripts(self.worker, self.scripts_counted);
            if let Some(caller) = self.caller {
                self.shared.running.note(caller, None);
            }
            // Nobody will hear of its end.
            self.shared.script_answered(sync::now());
        }
        self.tally().ended.add(1);
        self.server.hang_up();
    }

    /// Replies that the client has not taken yet.
    pub(crate) fn take_backlog(&mut self) -> Vec<u8> {
        self.backlog.take_all()
    }

    const fn is_driven_by_caller(&self) -> bool {
        matches!(self.client, Stream::Memory(_))
    }

    fn tally(&self) -> &Tally {
        &self.shared.tallies[self.worker]
    }

    /// Does all that can be done now. `Ok`: something that will wake the task is awaited.
    fn drive(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let mut look = Look::default();
        loop {
            look.now = None;
            let mut progress = self.flush_backlog(cx);
            progress |= self.read_server(cx, scratch, &mut look)?;
            progress |= self.read_client(cx, scratch, &mut look)?;
            progress |= self.send(cx, scratch, &mut look)?;
            progress &= !self.is_through(&look);
            progress |= self.check_budget(cx, scratch, &mut look);
            if !progress {
                break;
            }
        }
        self.flush_tls(cx)?;
        self.finish(cx)
    }

    /// Whether another round would find nothing to do: with nothing more to read and all delivered, what may be sent has been
    /// sent.
    fn is_through(&self, look: &Look) -> bool {
        look.client_is_dry && look.server_is_dry && self.backlog.is_empty() && !self.session.is_poisoned()
    }

    /// Ends when there is nothing left to do for a client that has gone, or when the proxy ends.
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let stage = self.shared.stage();
        let answered = self.session.is_quiet() && self.backlog.is_empty() && !self.session.is_tunnel();
        if stage == Stage::Stopped || (stage == Stage::Draining && answered) {
            return Err(End::Closed);
        }
        if self.session.is_refused() && self.backlog.is_empty() {
            return Err(End::Closed);
        }
        if !self.client_closed {
            return Ok(());
        }
        if answered || (self.client_lost && self.session.is_idle()) {
            return Err(End::Closed);
        }
        // The server learns that the client has gone, as it would without a proxy: a blocked command ends.
        let all_sent = self.session.outgoing().is_empty() && !self.session.has_unsent();
        if !self.server_told && all_sent && self.server.poll_shutdown(cx).is_ready() {
            self.server_told = true;
            self.wait_as_orphan();
        }
        while self.server_told && self.timer.as_mut().is_some_and(|timer| timer.is_over(cx)) {
            // What keeps the server busy must stay known for as long as it does.
            if self.scripts_counted == 0 || self.shared.episode().is_none() {
                return Err(End::Closed);
            }
            self.wait_as_orphan();
        }
        Ok(())
    }

    fn wait_as_orphan(&mut self) {
        let until = sync::now() + ORPHAN_WAIT;
        self.timer = Some(Timer::at(until, self.is_driven_by_caller()));
    }

    fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        look: &mut Look,
    ) -> Result<bool, End> {
        if self.client_closed || !self.reads_client() {
            return Ok(false);
        }
        let mut buffer = ReadBuf::new(&mut scratch.buffer);
        let read = if look.client_is_dry { Poll::Pending } else { self.client.poll_read(cx, &mut buffer) };
        match read {
            Poll::Pending => {
                look.client_is_dry = true;
                if self.session.is_poisoned() {
                    self.session.unpoison();
                }
                return Ok(false);
            }
            Poll::Ready(Err(_)) => {
                self.lose_client();
                return Ok(true);
            }
            Poll::Ready(Ok(())) => {}
        }
        let (bytes, is_full) = (buffer.filled(), buffer.remaining() == 0);
        if bytes.is_empty() {
            self.client_closed = true;
            self.session.client_gone();
            return Ok(true);
        }
        self.tally().from_clients.add(bytes.len() as u64);
        look.client_is_dry = !is_full && self.client.is_dry(cx);
        scratch.out.clear();
        let malformed =
            self.session.client_bytes(bytes, look.now(), &mut scratch.out).map_err(End::Session)?;
        if let Some(error) = malformed {
            tracing::info!(%error, "a client sent malformed bytes; the server is left to answer them");
        }
        self.deliver(cx, &[], &scratch.out);
        Ok(true)
    }

    fn reads_client(&self) -> bool {
        let full = self.session.is_poisoned() && self.backlog.len() > POISONED_BACKLOG_BYTES;
        !full && self.session.wants_read() && self.shared.stage() == Stage::Running
    }

    /// Whether a client that is not being read has left unseen. It may have closed only its sending half, behind commands
    /// that are still unread; it does not wait for ever like that.
    fn has_left_unseen(&self, cx: &mut Context<'_>, now: Time) -> bool {
        if self.client_closed || self.reads_client() {
            return false;
        }
        let waited = self.waiting_since.is_some_and(|since| now - since > GONE_WAIT);
        match self.client.peer_closed(cx) {
            Closed::No => false,
            Closed::PerhapsHalf => waited || self.session.is_held(),
            Closed::Wholly => true,
        }
    }

    /// Who sends a pipeline may take no reply before all of it is sent, and the rest of it is read only when there are answers. A
    /// server keeps replies without end for that (`client-output-buffer-limit normal`).
    pub(super) fn reads_server(&self) -> bool {
        let sends_on = !self.client_closed && !self.session.is_tunnel() && !self.session.wants_read();
        self.client_lost
            || self.backlog.is_empty()
            || (sends_on && self.backlog.len() < PIPELINE_BACKLOG_BYTES)
    }

    fn read_server(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        look: &mut Look,
    ) -> Result<bool, End> {
        if look.server_is_dry || !self.reads_server() {
            return Ok(false);
        }
        let mut buffer = ReadBuf::new(&mut scratch.buffer);
        match self.server.poll_read(cx, &mut buffer) {
            Poll::Pending => {
                look.server_is_dry = true;
                return Ok(false);
            }
            Poll::Ready(Err(error)) if !self.server_spoke && self.server.is_refusal(&error) => {
                return Err(End::Refused(error));
            }
            Poll::Ready(result) => result?,
        }
        let (bytes, is_full) = (buffer.filled(), buffer.remaining() == 0);
        if bytes.is_empty() {
            return Err(End::Closed);
        }
        self.tally().from_server.add(bytes.len() as u64);
        look.server_is_dry = !is_full && self.server.is_dry(cx);
        self.server_spoke = true;
        scratch.out.clear();
        let now = look.now();
        let read = self.session.server_bytes(bytes, now, &mut scratch.out);
        self.deliver(cx, bytes, &scratch.out);
        self.report(cx, &scratch.out, now);
        self.settle_doubt(cx, scratch);
        read.map_err(End::Session)?;
        Ok(true)
    }

    /// Sends what may be sent, asking the gate where needed.
    fn send(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, look: &mut Look) -> Result<bool, End> {
        let mut progress = false;
        self.session.set_one_read(self.shared.one_read());
        loop {
            if !self.write_server(cx, scratch, look, &mut progress) {
                return Ok(progress);
            }
            match self.session.want() {
                Want::Nothing => {
                    self.make_way();
                    return Ok(progress);
                }
                Want::Pass => {
                    let now = look.now();
                    if let Some(ticket) = self.take_ticket() {
                        self.shared.leave(ticket, now);
                    }
                    self.session.send(Pass::One, now);
                }
                Want::Gate(_) if self.place == Place::Away && self.is_free(look.now()) => {
                    self.session.send(Pass::Free, look.now());
                }
                Want::Gate(_) if !self.session.is_idle() => return Ok(progress),
                Want::Gate(ask) => {
                    if !self.ask_gate(cx, ask, look.now()) {
                        return Ok(progress);
                    }
                }
            }
            self.count_scripts();
            if self.holds_back(cx) {
                return Ok(progress);
            }
            progress = true;
        }
    }

    /// Writes to the server. `false`: the socket is full.
    fn write_server(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        look: &mut Look,
        progress: &mut bool,
    ) -> bool {
        while !self.session.outgoing().is_empty() {
            if self.server_deaf {
                return false;
            }
            let needs_lease = self.session.needs_lease();
            if needs_lease {
                let now = sync::now();
                look.now = Some(now);
                if !self.is_free(now) {
                    self.session.take_back();
                    if self.session.outgoing().is_empty() {
                        return true;
                    }
                }
            }
            let outgoing = self.session.outgoing();
            let written = if needs_lease {
                // The lease was looked at for this moment.
                self.server.poll_write_now(cx, outgoing)
            } else {
                self.server.poll_write(cx, outgoing)
            };
            let written = match written {
                Poll::Pending => return false,
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(_)) => {
                    // It closed without reading to the end, and may have said why.
                    self.server_deaf = true;
                    return false;
                }
            };
            self.tally().to_server.add(written as u64);
            scratch.out.clear();
            self.session.wrote(written, &mut scratch.out);
            if scratch.out.rejection.is_some() || !scratch.out.pieces().is_empty() {
                self.deliver(cx, &[], &scratch.out);
                self.report(cx, &scratch.out, look.now());
            }
            self.unflushed = true;
            *progress = true;
        }
        true
    }

    fn flush_tls(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if !self.unflushed {
            return Ok(());
        }
        let client = self.client_lost || self.client.poll_flush(cx)?.is_ready();
        let server = self.server.poll_flush(cx);
        // As when it is written to: it may have said why.
        self.server_deaf |= matches!(server, Poll::Ready(Err(_)));
        self.unflushed = !(client && server.is_ready());
        Ok(())
    }
}
