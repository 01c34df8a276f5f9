//! Asynchronous connections.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use super::redis::aio::{ConnectionLike, MultiplexedConnection};
use super::redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd};
use unbusy_core::command::Command;
use unbusy_core::{Script, Time};

use super::batch::{Batch, Turn, drive_batch, goes_straight, scripts_among};
use super::call::{Call, Step, Verdict, drive_call};
use super::lease::wait_for_lease;
use super::patience::Patience;
use super::reply;
use super::transaction::{Fate, Transaction, drive_transaction};
use super::words::{describe, length, script, watches, words};
use crate::alarm::{Alarm, Overdue};
use crate::door::Door;
use crate::gate::now;

pub use super::aio_pubsub::{PubSub, PubSubSink};

/// What an asynchronous connection of the `redis` crate can do without a box around each future. Use [`Any`] for
/// connections that this is not implemented for.
pub trait Link: Send {
    /// Sends a command and awaits its reply.
    fn command(&mut self, command: &Cmd) -> impl Future<Output = RedisResult<Value>> + Send;

    /// Sends a pipeline, skips `offset` replies and awaits `count`.
    fn commands(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> impl Future<Output = RedisResult<Vec<Value>>> + Send;

    /// The database this connection is bound to.
    fn db(&self) -> i64;

    /// Whether replies to reads may come from a cache, so that they tell nothing of the server.
    fn caches(&self) -> bool {
        false
    }
}

impl Link for MultiplexedConnection {
    fn command(&mut self, command: &Cmd) -> impl Future<Output = RedisResult<Value>> + Send {
        self.send_packed_command(command)
    }

    fn commands(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> impl Future<Output = RedisResult<Vec<Value>>> + Send {
        self.send_packed_commands(pipeline, offset, count)
    }

    fn db(&self) -> i64 {
        self.get_db()
    }

    #[cfg(feature = "cache-aio")]
    fn caches(&self) -> bool {
        self.get_cache_statistics().is_some()
    }
}

/// Any asynchronous connection.
#[derive(Debug, Clone)]
pub struct Any<C>(pub C);

impl<C: ConnectionLike + Send> Link for Any<C> {
    async fn command(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.0.req_packed_command(command).await
    }

    async fn commands(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count).await
    }

    fn db(&self) -> i64 {
        self.0.get_db()
    }
}

/// Awaits what the server answers to something sent now, but not longer than the door's alarm says. A macro, since moving a
/// future of a kilobyte costs more than all else that is done here.
macro_rules! in_time {
    ($door:expr, $sent:expr, $answer:expr) => {{
        let alarm = $door.alarm.as_ref();
        if let Some(alarm) = alarm {
            alarm.set($sent);
        }
        let mut answer = pin!($answer);
        poll_fn(|cx| poll_in_time(alarm, answer.as_mut(), cx)).await
    }};
}
pub(super) use in_time;

pub(super) fn poll_in_time<T>(
    alarm: Option<&Alarm>,
    answer: Pin<&mut impl Future<Output = RedisResult<T>>>,
    cx: &mut Context<'_>,
) -> Poll<RedisResult<T>> {
    let answer = answer.poll(cx);
    match alarm {
        Some(alarm) if answer.is_pending() => {
            alarm.poll_overdue(cx).map(|Overdue| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        }
        Some(alarm) => {
            alarm.unset();
            answer
        }
        None => answer,
    }
}

/// An asynchronous connection whose commands wait while the server is busy. Used like the connection that it wraps.
#[derive(Clone)]
pub struct Connection<L = MultiplexedConnection> {
    link: L,
    door: Door,
}

impl<L: fmt::Debug> fmt::Debug for Connection<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.link).finish()
    }
}

impl<L> Connection<L> {
    pub(crate) const fn new(link: L, door: Door) -> Self {
        Self { link, door }
    }

    /// From now on it gives up on an answer so long after it sent something; `None`: that is the wrapped connection's part.
    pub(crate) fn give_up_after(&mut self, limit: Option<Duration>) {
        self.door.alarm = limit.map(Alarm::new);
    }

    /// The wrapped connection, for what only it can do. What is sent on it directly does not wait while the server is busy, and
    /// is waited for without end if [`Client::get_multiplexed_async_connection`](crate::Client::get_multiplexed_async_connection)
    /// made it.
    pub const fn get_mut(&mut self) -> &mut L {
        &mut self.link
    }

    #[cfg(feature = "cache-aio")]
    pub(crate) const fn link(&self) -> &L {
        &self.link
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.door.clone())
    }

    /// The wrapped connection, as [`Connection::get_mut`] has it.
    pub fn into_inner(self) -> L {
        self.link
    }
}

impl<L: Link> Connection<L> {
    /// The same as [`ConnectionLike::req_packed_command`], under the name that the connections of the `redis` crate have
    /// for it.
    ///
    /// # Errors
    /// As [`MultiplexedConnection::send_packed_command`].
    pub async fn send_packed_command(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.req_packed_command(command).await
    }

    /// The same as [`ConnectionLike::req_packed_commands`].
    ///
    /// # Errors
    /// As [`MultiplexedConnection::send_packed_commands`].
    pub async fn send_packed_commands(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.req_packed_commands(pipeline, offset, count).await
    }

    /// The way of a command that does not go straight through; in a box of its own, so that the others' are small.
    #[cold]
    fn detour<'a>(
        &'a mut self,
        command: &'a Cmd,
        first: Option<(RedisResult<Value>, Time)>,
    ) -> RedisFuture<'a, Value> {
        if command.is_no_response() {
            Box::pin(self.unanswered(command))
        } else {
            Box::pin(self.held(command, first))
        }
    }

    async fn held(&mut self, command: &Cmd, first: Option<(RedisResult<Value>, Time)>) -> RedisResult<Value> {
        let Self { link, door } = self;
        let mut call = Call::new(door, seen_through(link, describe(command)));
        drive_call!(
            call,
            first: first,
            next: call.next().await,
            send: send(link, door, command).await,
            ping: send(link, door, &cmd("PING")).await
        )
    }

    /// A command whose reply nobody is told: it must not be rejected, and that it was sent proves nothing.
    async fn unanswered(&mut self, command: &Cmd) -> RedisResult<Value> {
        let Self { link, door } = self;
        wait_for_lease!(&*door, |call| next: call.next().await, ping: send(link, door, &cmd("PING")).await)?;
        // It counts as in flight until something behind it is answered.
        door.note_sent(bytes_of(command));
        drop(door.runs(script(command)));
        in_time!(door, now(), link.command(command))
    }

    async fn batch(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let Self { link, door } = self;
        let begun = now();
        let mut first = None;
        let bytes = bytes_of_all(pipeline);
        let read = pipeline.cmd_iter().map(|command| Some(Command::of_words(words(command.args_iter()))));
        if let Some(last) = goes_straight(door, begun, bytes, read)
            && let Some(mark) = door.claim(bytes)
        {
            let replies = in_time!(door, now(), link.commands(pipeline, 0, pipeline.len()));
            door.note_answer(mark, &replies);
            if reply::is_good(&replies) {
                door.prove(begun, || seen_through(link, last));
                return replies;
            }
            first = Some((replies, begun));
        }
        let commands = pipeline.cmd_iter().map(|command| {
            let args = command.args_iter();
            (seen_through(link, Command::of_words(words(args.clone()))), length(words(args)))
        });
        let scripts = scripts(pipeline);
        let mut batch = Batch::new(door, commands);
        drive_batch!(
            batch,
            first: first,
            next: batch.next().await,
            send: |chosen| {
                let running = door.runs(scripts_among(&scripts, &chosen));
                let replies = if chosen.len() == pipeline.len() {
                    in_time!(door, now(), link.commands(pipeline, 0, chosen.len()))
                } else {
                    let part = part(pipeline, &chosen);
                    in_time!(door, now(), link.commands(&part, 0, chosen.len()))
                };
                reply::end_script(running, &replies);
                replies
            },
            ping: send(link, door, &cmd("PING")).await
        )
    }

    async fn transaction(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let Self { link, door } = self;
        let bytes = bytes_of_all(pipeline);
        let scripts = scripts(pipeline);
        let mut transaction = Transaction::new(door, bytes);
        drive_transaction!(
            transaction,
            next: transaction.next().await,
            send: {
                let running = door.runs(scripts.iter().map(|(_, script)| *script));
                let mark = door.note_sent(bytes);
                let replies = in_time!(door, now(), link.commands(pipeline, offset, count));
                reply::end_script(running, &replies);
                door.note_answer(mark, &replies);
                replies
            }
        )
    }
}

impl<L: Link> ConnectionLike for Connection<L> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let sent = now();
            let mut first = None;
            if self.door.is_free(sent) && !command.is_no_response() {
                let running = self.door.runs(script(command));
                let mark = self.door.note_sent(bytes_of(command));
                let reply = in_time!(self.door, sent, self.link.command(command));
                reply::end_script(running, &reply);
                self.door.note_answer(mark, &reply);
                if reply::is_good(&reply) && !self.door.is_watching() && !watches(command) {
                    self.door.prove(sent, || seen_through(&self.link, describe(command)));
                    return reply;
                }
                first = Some((reply, sent));
            }
            self.detour(command, first).await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        if pipeline.is_empty() {
            // The error about it is the wrapped connection's own.
            Box::pin(self.link.commands(pipeline, offset, count))
        } else if pipeline.is_transaction() {
            Box::pin(self.transaction(pipeline, offset, count))
        } else {
            Box::pin(self.batch(pipeline))
        }
    }

    fn get_db(&self) -> i64 {
        self.link.db()
    }
}

/// What may be answered by a cache does not speak for the server.
fn seen_through<L: Link>(link: &L, command: Command) -> Command {
    if command.read && link.caches() { Command { scout: false, proof: false, ..command } } else { command }
}

async fn send<L: Link>(link: &mut L, door: &Door, command: &Cmd) -> RedisResult<Value> {
    let running = door.runs(script(command));
    let mark = door.note_sent(bytes_of(command));
    let reply = in_time!(door, now(), link.command(command));
    reply::end_script(running, &reply);
    door.note_answer(mark, &reply);
    reply
}

fn bytes_of(command: &Cmd) -> u64 {
    length(words(command.args_iter()))
}

fn bytes_of_all(pipeline: &Pipeline) -> u64 {
    pipeline.cmd_iter().map(|command| length(words(command.args_iter()))).sum()
}

/// The chosen commands of a pipeline, in its order.
fn part(pipeline: &Pipeline, chosen: &[usize]) -> Pipeline {
    let mut part = Pipeline::new();
    let mut chosen = chosen.iter().copied().peekable();
    for (at, command) in pipeline.cmd_iter().enumerate() {
        if chosen.next_if_eq(&at).is_some() {
            let mut copy = Cmd::new();
            for word in words(command.args_iter()) {
                copy.arg(word);
            }
            part.add_command(copy);
        }
    }
    part
}

/// The scripts that a pipeline runs, each with its place in it.
fn scripts(pipeline: &Pipeline) -> Vec<(usize, Script<'_>)> {
    let run = |(at, words)| Some((at, Script::run_by(words)?));
    pipeline.cmd_iter().map(|command| words(command.args_iter())).enumerate().filter_map(run).collect()
}
