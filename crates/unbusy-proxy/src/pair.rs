//! A client connection and the server connection it owns, driven as one task.
//!
//! Both directions share one read buffer per worker thread. A connection keeps bytes of its own only while a
//! command is unanswered or a reply cannot be written.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use unbusy_core::gate::{Answer, Outcome, Ticket};
use unbusy_core::session::{Out, Pass, Piece, SessionError, Want};
use unbusy_core::{Script, Session, Time};

use crate::direct::Socket;
use crate::running::{Call, Caller, Client};
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
    backlog: Vec<u8>,
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
            backlog: Vec::new(),
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
        std::mem::take(&mut self.backlog)
    }

    /// When it is to be driven again although nothing happened; only if its user drives it.
    pub(crate) const fn wake_time(&self) -> Option<Time> {
        match self.timer {
            Some(Timer::Caller(moment)) => Some(moment),
            _ => None,
        }
    }

    /// Whether nothing but the server's socket will have news for it.
    pub(crate) fn waits_for_server_only(&self) -> bool {
        self.place == Place::Away && self.timer.is_none() && !self.session.has_unsent()
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.session.is_subscribed()
    }

    /// Whether all that was read of the client is on its way.
    pub(crate) fn has_settled(&self) -> bool {
        let waits = matches!(self.place, Place::Waiting(_));
        !waits && self.session.outgoing().is_empty() && !self.session.has_unsent()
    }

    /// Nobody drives it for a while, so nobody is to wait for it at the gate; it asks again when it goes on.
    pub(crate) fn step_back(&mut self) {
        if let Place::Waiting(ticket) = self.place {
            self.place = Place::Away;
            self.shared.leave(ticket, sync::now());
        }
    }

    /// The client gets these bytes first. Then somebody else drives it.
    pub(crate) fn hand_over(&mut self, received: Vec<u8>) {
        self.backlog = received;
        self.timer = None;
    }

    /// From now on a worker's runtime drives it, for this client.
    pub(crate) fn adopt(&mut self, client: Stream) -> io::Result<()> {
        let server = std::mem::replace(&mut self.server, Stream::Memory(Box::default()));
        self.server = Socket::out_of(server)?.into_stream()?;
        self.client = client;
        Ok(())
    }

    /// Closes the server's descriptor, and does nothing else.
    pub(crate) fn forget(mut self) {
        drop(std::mem::replace(&mut self.server, Stream::Memory(Box::default())));
        std::mem::forget(self);
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

    fn read_server(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        look: &mut Look,
    ) -> Result<bool, End> {
        if look.server_is_dry || !self.backlog.is_empty() && !self.client_lost {
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

    /// Tells the gate what the replies mean for it.
    fn report(&mut self, cx: &Context<'_>, out: &Out, now: Time) {
        self.count_scripts();
        for event in &out.events {
            self.shared.happened(event, now);
        }
        if let Some(sent) = out.proof {
            self.report_proof(sent);
        }
        if let Some(rejection) = out.rejection {
            let ticket = self.take_ticket();
            let ask = self.session.waits().then(|| self.session.ask());
            let ticket = self.shared.rejected(ticket, ask, rejection, out.rejected, now, cx.waker());
            self.place = ticket.map_or(Place::Away, Place::Waiting);
        } else if let Place::Sent(ticket) = self.place
            && self.session.is_idle()
        {
            self.place = Place::Away;
            self.shared.answered(Some(ticket), Outcome::Unclear, now, now);
        }
        if out.script_answered {
            self.shared.script_answered(now);
        }
        for (script, sent) in out.scripts() {
            self.shared.ledger.note(self.worker, script, sent, now);
        }
        self.count_given_up(out, now);
    }

    fn count_given_up(&self, out: &Out, now: Time) {
        if out.given_up > 0 {
            let first = out.first_given_up.clone();
            self.shared.gave_up(out.given_up, first, self.who(), now);
        }
    }

    /// As far as the client has said it.
    fn who(&self) -> Client {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Client {
            address: self.client.peer(),
            user: own(self.session.user()),
            name: own(self.session.client_name()),
        }
    }

    /// A script that answers BUSY may have run. If the gate cannot tell, the session asks the server.
    fn settle_doubt(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) {
        let Some(rejection) = self.session.doubt() else { return };
        // By an older clock BUSY could seem not to have begun yet.
        let now = sync::now();
        match self.shared.was_rejected(rejection.1, now) {
            None => {}
            Some(true) => {
                self.session.confirm_rejection();
                if self.place == Place::Away {
                    let ask = Some(self.session.ask());
                    let ticket = self.shared.rejected(None, ask, rejection, 1, now, cx.waker());
                    self.place = ticket.map_or(Place::Away, Place::Waiting);
                }
            }
            Some(false) => {
                scratch.out.clear();
                self.session.deny_rejection(now, &mut scratch.out);
                self.deliver(cx, &[], &scratch.out);
                self.report(cx, &scratch.out, now);
            }
        }
    }

    fn report_proof(&mut self, sent: Time) {
        let ticket = match self.place {
            Place::Sent(ticket) => Some(ticket),
            _ if self.shared.wants_proof(sent) => None,
            _ => return,
        };
        if ticket.is_some() {
            self.place = Place::Away;
        }
        // When it was heard matters, and it was read later than the clock.
        self.shared.answered(ticket, Outcome::Proof, sent, sync::now());
    }

    fn take_ticket(&mut self) -> Option<Ticket> {
        match std::mem::replace(&mut self.place, Place::Away) {
            Place::Away => None,
            Place::Waiting(ticket) | Place::Sent(ticket) => Some(ticket),
        }
    }

    fn count_scripts(&mut self) {
        let (before, after) = (self.scripts_counted, self.session.scripts_in_flight());
        match after.cmp(&before) {
            Ordering::Greater => self.shared.add_scripts(self.worker, after - before),
            Ordering::Less => self.shared.remove_scripts(self.worker, before - after),
            Ordering::Equal => return,
        }
        self.scripts_counted = after;
        let caller = *self.caller.get_or_insert_with(|| self.shared.running.caller());
        let first = self.session.script();
        if let Some(script) = first.and_then(|(command, _)| Script::of(command)) {
            self.shared.ledger.see(self.worker, script);
        }
        let call = first.and_then(|(command, sent)| {
            let company = self.session.script_company();
            Call::new(command, self.who(), sent, company, self.shared.show_arguments)
        });
        self.shared.running.note(caller, call);
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

    /// Takes back what is to be sent with a script in flight, while a kill is on its way to another: also who may pass the gate,
    /// such as a command in its last try. The script has been noted by now, so either it is seen here that a kill is on its way,
    /// or there that it has company.
    fn holds_back(&mut self, cx: &Context<'_>) -> bool {
        if self.session.scripts_in_flight() == 0 || !self.shared.waits_for_thaw(cx.waker()) {
            return false;
        }
        self.session.take_back();
        self.count_scripts();
        true
    }

    /// Behind a hole a connection may wait at the gate with nothing left to send. Nobody is to wait for it there.
    fn make_way(&mut self) {
        if self.session.is_idle() {
            self.step_back();
        }
    }

    /// Whether it may send without asking the gate.
    fn is_free(&self, now: Time) -> bool {
        self.shared.is_free(now) && self.session.may_join(self.shared.lease_width(), now)
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
            if self.session.needs_lease() {
                let now = sync::now();
                look.now = Some(now);
                if !self.is_free(now) {
                    self.session.take_back();
                    if self.session.outgoing().is_empty() {
                        return true;
                    }
                }
            }
            let written = match self.server.poll_write(cx, self.session.outgoing()) {
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

    /// Asks the gate, and lets the session send if it may. `false`: it waits.
    fn ask_gate(&mut self, cx: &mut Context<'_>, mut ask: unbusy_core::gate::Ask, now: Time) -> bool {
        if self.has_left_unseen(cx, now) {
            // What it was owed must not be executed now.
            self.client_closed = true;
            self.session.client_gone();
            self.leave_gate(now);
            return false;
        }
        let speaks = self.backlog.is_empty() && !self.client_lost;
        ask.scout &= speaks;
        ask.pings &= speaks;
        let ticket = self.take_ticket();
        match self.shared.ask(ticket, ask, now, cx.waker()) {
            Answer::Free => {
                self.waiting_since = None;
                self.session.send(Pass::Free, now);
            }
            Answer::One(ticket) => {
                let waited = self.waiting_since.take().filter(|_| self.client_closed);
                if waited.is_some_and(|since| now - since > GONE_WAIT) {
                    self.place = ticket.map_or(Place::Away, Place::Waiting);
                    self.leave_gate(now);
                    return false;
                }
                let pass = if ticket.is_some() { Pass::Speak } else { Pass::One };
                self.place = ticket.map_or(Place::Away, Place::Sent);
                self.session.send(pass, now);
            }
            Answer::Wait(ticket) => {
                self.place = Place::Waiting(ticket);
                self.waiting_since.get_or_insert(now);
                if self.client_closed && (self.session.is_held() || self.shared.episode().is_some()) {
                    self.leave_gate(now);
                } else if !self.client_closed {
                    self.session.wait_began(now);
                    self.arm_timer();
                }
                return false;
            }
        }
        true
    }

    /// The client has gone: what waits is not executed any more.
    fn leave_gate(&mut self, now: Time) {
        if let Some(ticket) = self.take_ticket() {
            self.shared.leave(ticket, now);
        }
        self.session.abandon();
    }

    fn arm_timer(&mut self) {
        let Some(deadline) = self.session.deadline() else { return };
        let by_caller = self.is_driven_by_caller();
        match &mut self.timer {
            Some(timer) => timer.set(deadline),
            None => self.timer = Some(Timer::at(deadline, by_caller)),
        }
    }

    /// Gives up commands that have waited for too long.
    fn check_budget(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, look: &mut Look) -> bool {
        if !matches!(self.place, Place::Waiting(_)) || self.client_closed {
            if !self.client_closed {
                self.timer = None;
            }
            return false;
        }
        self.arm_timer();
        let Some(timer) = &mut self.timer else { return false };
        if !timer.is_over(cx) {
            return false;
        }
        scratch.out.clear();
        let now = sync::now();
        look.now = Some(now);
        self.session.expire(self.shared.episode(), now, &mut scratch.out);
        self.deliver(cx, &[], &scratch.out);
        self.count_given_up(&scratch.out, now);
        if self.session.is_quiet()
            && let Some(ticket) = self.take_ticket()
        {
            self.shared.leave(ticket, now);
        }
        self.timer = None;
        true
    }

    /// Writes to the client; what it does not take now goes to the backlog.
    fn deliver(&mut self, cx: &mut Context<'_>, read: &[u8], out: &Out) {
        if self.client_lost || out.pieces().is_empty() {
            return;
        }
        let bytes = |piece: &Piece| match piece {
            Piece::Read(range) => &read[range.clone()],
            Piece::Own(range) => &out.own()[range.clone()],
        };
        let mut written = 0;
        if self.backlog.is_empty() {
            written = match out.pieces() {
                [piece] => self.try_write_client(cx, &[IoSlice::new(bytes(piece))]),
                pieces => {
                    let mut slices = [IoSlice::new(&[]); 16];
                    pieces
                        .iter()
                        .zip(&mut slices)
                        .for_each(|(piece, slice)| *slice = IoSlice::new(bytes(piece)));
                    self.try_write_client(cx, &slices[..pieces.len().min(16)])
                }
            };
        }
        for piece in out.pieces() {
            let bytes = bytes(piece);
            let done = written.min(bytes.len());
            written -= done;
            self.backlog.extend_from_slice(&bytes[done..]);
        }
    }

    fn try_write_client(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> usize {
        let result = match slices {
            [slice] => self.client.poll_write(cx, slice),
            slices => self.client.poll_write_vectored(cx, slices),
        };
        self.unflushed = true;
        match result {
            Poll::Ready(Ok(written)) => {
                self.tally().to_clients.add(written as u64);
                written
            }
            Poll::Ready(Err(_)) => {
                self.lose_client();
                0
            }
            Poll::Pending => 0,
        }
    }

    fn flush_backlog(&mut self, cx: &mut Context<'_>) -> bool {
        let mut written = 0;
        while written < self.backlog.len() && !self.client_lost {
            match self.client.poll_write(cx, &self.backlog[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(_)) => self.lose_client(),
                Poll::Pending => break,
            }
            self.unflushed = true;
        }
        if self.client_lost {
            self.backlog.clear();
        }
        let progress = written > 0;
        if progress {
            self.tally().to_clients.add(written as u64);
        }
        self.backlog.drain(..written.min(self.backlog.len()));
        if self.backlog.is_empty() {
            self.backlog.shrink_to(IDLE_BACKLOG_BYTES);
        }
        progress
    }

    /// The client is gone for good. What is in flight may still be answered, which the gate wants to hear.
    fn lose_client(&mut self) {
        self.client_lost = true;
        self.client_closed = true;
        self.session.client_lost();
        if self.session.is_idle() {
            self.leave_gate(sync::now());
        }
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
