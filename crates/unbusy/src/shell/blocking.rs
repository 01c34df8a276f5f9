//! Blocking connections.

use super::redis;
use std::iter;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::redis::{Cmd, ConnectionLike, PushInfo, RedisResult, Value, cmd};
use unbusy_core::command::Command;
use unbusy_core::resp::{RequestScanner, args, whole_request};
use unbusy_core::{Script, Time};

use super::batch::{Batch, Turn, drive_batch, goes_straight, scripts_among};
use super::call::{Call, Step, Verdict, drive_call};
use super::lease::wait_for_lease;
use super::reply;
use super::transaction::{Fate, Transaction, drive_transaction};
use super::words::{describe, is_watch, script, watches};
use crate::door::Door;
use crate::gate::now;

/// A connection whose commands wait while the server is busy. Used like the connection that it wraps.
///
/// It comes from [`Client::get_connection`](crate::Client::get_connection), or from
/// [`Client::wrap`](crate::Client::wrap) for any other [`ConnectionLike`].
pub struct Connection<C = redis::Connection> {
    inner: C,
    door: Door,
}

impl<C> Connection<C> {
    pub(crate) const fn new(inner: C, door: Door) -> Self {
        Self { inner, door }
    }

    /// The wrapped connection, for what only it can do. What is sent on it directly does not wait.
    pub const fn get_mut(&mut self) -> &mut C {
        &mut self.inner
    }

    #[cfg(feature = "cluster")]
    pub(crate) const fn inner(&self) -> &C {
        &self.inner
    }

    pub(crate) const fn parts(&mut self) -> (&mut C, &Door) {
        (&mut self.inner, &self.door)
    }

    /// The wrapped connection.
    pub fn into_inner(self) -> C {
        self.inner
    }
}

impl Connection {
    /// How long a reply may take once its command is sent. See [`redis::Connection::set_read_timeout`].
    ///
    /// # Errors
    /// As [`redis::Connection::set_read_timeout`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> RedisResult<()> {
        self.inner.set_read_timeout(timeout)
    }

    /// How long sending may take. See [`redis::Connection::set_write_timeout`].
    ///
    /// # Errors
    /// As [`redis::Connection::set_write_timeout`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> RedisResult<()> {
        self.inner.set_write_timeout(timeout)
    }

    /// Where pushes go. See [`redis::Connection::set_push_sender`].
    pub fn set_push_sender(&mut self, sender: mpsc::Sender<PushInfo>) {
        self.inner.set_push_sender(sender);
    }
}

impl<C: ConnectionLike> Connection<C> {
    /// The way of a command that did not go straight through.
    #[cold]
    fn held(
        &mut self,
        command: Command,
        script: Option<Script<'_>>,
        first: Option<(RedisResult<Value>, Time)>,
        send: impl Fn(&mut C) -> RedisResult<Value>,
    ) -> RedisResult<Value> {
        let Self { inner, door } = self;
        let mut call = Call::new(door, command);
        drive_call!(
            call,
            first: first,
            next: block_on(call.next()),
            send: run(inner, door, script, &send),
            ping: inner.req_command(&cmd("PING"))
        )
    }

    pub(crate) fn wait_for_lease(&mut self) -> RedisResult<Time> {
        let Self { inner, door } = self;
        wait_for_lease!(&*door, |call| next: block_on(call.next()), ping: inner.req_command(&cmd("PING")))
    }

    /// Sends a command straight away if a lease runs.
    fn straight(
        &mut self,
        command: impl Fn() -> Command,
        script: Option<Script<'_>>,
        watches: bool,
        send: impl Fn(&mut C) -> RedisResult<Value>,
    ) -> RedisResult<Value> {
        let begun = now();
        if !self.door.is_free(begun) {
            return self.held(command(), script, None, send);
        }
        let reply = match script {
            None => send(&mut self.inner),
            script => run(&mut self.inner, &self.door, script, &send),
        };
        if !reply::is_good(&reply) || watches || self.door.is_watching() {
            return self.held(command(), script, Some((reply, begun)), send);
        }
        self.door.prove(begun, command);
        reply
    }
}

impl<C: ConnectionLike> ConnectionLike for Connection<C> {
    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        let name = whole_request(packed).map(|(_, name)| name);
        let watches = name.is_some_and(is_watch);
        let runs_script = name.is_some_and(Script::may_be_run_by);
        let script = if runs_script { Script::run_by(args(packed)) } else { None };
        self.straight(|| Command::read(packed), script, watches, |inner| inner.req_packed_command(packed))
    }

    fn req_command(&mut self, command: &Cmd) -> RedisResult<Value> {
        if command.is_no_response() {
            self.wait_for_lease()?;
            // Nobody waits for it.
            drop(self.door.runs(script(command)));
            return self.inner.req_command(command);
        }
        self.straight(
            || describe(command),
            script(command),
            watches(command),
            |inner| inner.req_command(command),
        )
    }

    fn req_packed_commands(&mut self, packed: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let Self { inner, door } = self;
        if offset > 0 {
            let scripts = scripts(packed, split(packed).flatten());
            let mut transaction = Transaction::new(door, packed.len() as u64);
            return drive_transaction!(
                transaction,
                next: block_on(transaction.next()),
                send: {
                    let running = door.runs(scripts.iter().map(|(_, script)| *script));
                    let replies = inner.req_packed_commands(packed, offset, count);
                    reply::end_script(running, &replies);
                    replies
                }
            );
        }
        let begun = now();
        let mut first = None;
        let read = split(packed).map(|range| range.map(|range| Command::read(&packed[range])));
        if let Some(last) = goes_straight(door, begun, packed.len() as u64, read) {
            let replies = inner.req_packed_commands(packed, offset, count);
            if reply::is_good(&replies) {
                door.prove(begun, || last);
                return replies;
            }
            first = Some((replies, begun));
        }
        // The error about an empty pipeline is the wrapped connection's own.
        let commands: Option<Vec<_>> = split(packed).collect();
        let Some(commands) = commands.filter(|commands| !commands.is_empty()) else {
            return inner.req_packed_commands(packed, offset, count);
        };
        let lengths =
            commands.iter().map(|range| (Command::read(&packed[range.clone()]), range.len() as u64));
        let scripts = scripts(packed, commands.iter().cloned());
        let mut batch = Batch::new(door, lengths);
        drive_batch!(
            batch,
            first: first,
            next: block_on(batch.next()),
            send: |chosen| {
                let running = door.runs(scripts_among(&scripts, &chosen));
                let replies = if chosen.len() == commands.len() {
                    inner.req_packed_commands(packed, offset, count)
                } else {
                    let parts: Vec<_> = chosen.iter().map(|at| &packed[commands[*at].clone()]).collect();
                    inner.req_packed_commands(&parts.concat(), 0, chosen.len())
                };
                reply::end_script(running, &replies);
                replies
            },
            ping: inner.req_command(&cmd("PING"))
        )
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }

    fn supports_pipelining(&self) -> bool {
        self.inner.supports_pipelining()
    }

    fn check_connection(&mut self) -> bool {
        // Busy or not, who answers is there.
        self.inner.req_command(&cmd("PING")).is_ok()
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }
}

/// Sends a command, and takes note of its script meanwhile, if it runs one.
#[cold]
fn run<C>(
    inner: &mut C,
    door: &Door,
    script: Option<Script<'_>>,
    send: &impl Fn(&mut C) -> RedisResult<Value>,
) -> RedisResult<Value> {
    let running = door.runs(script);
    let reply = send(inner);
    reply::end_script(running, &reply);
    reply
}

/// Where the commands of a packed pipeline are; `None` ends it where it cannot be read, which the `redis` crate never makes.
fn split(packed: &[u8]) -> impl Iterator<Item = Option<Range<usize>>> {
    let mut at = 0;
    iter::from_fn(move || {
        let rest = packed.get(at..).filter(|rest| !rest.is_empty())?;
        let scan = || RequestScanner::default().scan(rest).ok().flatten();
        let range = whole_request(rest).map(|(length, _)| length).or_else(scan).map(|length| at..at + length);
        at = range.as_ref().map_or(packed.len(), |range| range.end);
        Some(range)
    })
}

/// The scripts that these commands run, each with its place among them.
fn scripts(packed: &[u8], commands: impl Iterator<Item = Range<usize>>) -> Vec<(usize, Script<'_>)> {
    let run = |(at, command): (usize, Range<usize>)| Some((at, Script::run_by(args(&packed[command]))?));
    commands.enumerate().filter_map(run).collect()
}

/// Runs a future on this thread, which sleeps while the future waits.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}
