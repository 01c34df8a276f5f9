//! A client at work: appends numbered elements to a list of its own.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, Group, Tally};
use super::link::{Link, encode, error_in, is_busy};

/// Commands that a client sends at once, as pipelines are what is reordered most easily. The home remedy knows single
/// commands only.
const PIPELINE: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// The remedy that goes round: after BUSY sleep, and try again.
const REMEDY_SLEEP: Duration = Duration::from_secs(2);
const REMEDY_TRIES: usize = 60;

/// A command that the server executed, as far as its client knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) number: u32,
    pub(super) sent: Instant,
    pub(super) answered: Instant,
}

pub(super) struct Client {
    pub(super) group: Group,
    pub(super) key: String,
    pub(super) accepted: Vec<Accepted>,
    link: Link,
    board: Arc<Board>,
    next: u32,
}

impl Client {
    pub(super) fn new(group: Group, key: String, link: Link, board: Arc<Board>) -> Self {
        Self { group, key, accepted: Vec::new(), link, board, next: 1 }
    }

    /// Works until told to stop, or until the connection fails.
    pub(super) async fn work(mut self) -> Self {
        while !self.board.stopping() {
            if let Err(error) = self.step().await {
                self.board.tally(self.group).failed_strangely(error.to_string());
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self
    }

    async fn step(&mut self) -> io::Result<()> {
        let numbers = self.next..self.next + PIPELINE;
        self.next = numbers.end;
        let board = Arc::clone(&self.board);
        let tally = board.tally(self.group);
        let _waiting = tally.waiting();
        if self.group != Group::Remedy {
            return self.pipeline(numbers, tally).await;
        }
        for number in numbers {
            self.patiently(number, tally).await?;
        }
        Ok(())
    }

    async fn pipeline(&mut self, numbers: Range<u32>, tally: &Tally) -> io::Result<()> {
        let commands: Vec<u8> = numbers.clone().flat_map(|number| self.command(number)).collect();
        let sent = Instant::now();
        self.link.send(&commands).await?;
        for number in numbers {
            let reply = self.link.reply().await?;
            self.note(number, sent, &reply, tally);
        }
        Ok(())
    }

    async fn patiently(&mut self, number: u32, tally: &Tally) -> io::Result<()> {
        let sent = Instant::now();
        for _ in 1..REMEDY_TRIES {
            let reply = self.once(number).await?;
            if !is_busy(&reply) {
                self.note(number, sent, &reply, tally);
                return Ok(());
            }
            tally.rejected();
            tokio::time::sleep(REMEDY_SLEEP).await;
        }
        let reply = self.once(number).await?;
        self.note(number, sent, &reply, tally);
        Ok(())
    }

    async fn once(&mut self, number: u32) -> io::Result<Vec<u8>> {
        let command = self.command(number);
        self.link.send(&command).await?;
        self.link.reply().await
    }

    fn command(&self, number: u32) -> Vec<u8> {
        encode(&["RPUSH", &self.key, &number.to_string()])
    }

    /// Takes a final reply.
    fn note(&mut self, number: u32, sent: Instant, reply: &[u8], tally: &Tally) {
        match error_in(reply) {
            None => {
                self.accepted.push(Accepted { number, sent, answered: Instant::now() });
                tally.accepted();
            }
            Some(_) if is_busy(reply) => {
                tally.rejected();
                tally.failed();
            }
            Some(error) => tally.failed_strangely(error),
        }
    }
}
