//! What goes to the client, and what waits until it is taken.

use std::io::IoSlice;
use std::task::{Context, Poll};

use unbusy_core::session::{Out, Piece};

use super::Pair;
use crate::sync;

impl Pair {
    /// Writes to the client; what it does not take now goes to the backlog.
    pub(super) fn deliver(&mut self, cx: &mut Context<'_>, read: &[u8], out: &Out) {
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
            self.backlog.put(&bytes[done..]);
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

    pub(super) fn flush_backlog(&mut self, cx: &mut Context<'_>) -> bool {
        let mut written = 0;
        while !self.backlog.is_empty() && !self.client_lost {
            match self.client.poll_write(cx, self.backlog.rest()) {
                Poll::Ready(Ok(count)) => {
                    self.backlog.take(count);
                    written += count;
                }
                Poll::Ready(Err(_)) => self.lose_client(),
                Poll::Pending => break,
            }
            self.unflushed = true;
        }
        if self.client_lost {
            self.backlog.take(usize::MAX);
        }
        let progress = written > 0;
        if progress {
            self.tally().to_clients.add(written as u64);
        }
        progress
    }

    /// The client is gone for good. What is in flight may still be answered, which the gate wants to hear.
    pub(super) fn lose_client(&mut self) {
        self.client_lost = true;
        self.client_closed = true;
        self.session.client_lost();
        if self.session.is_idle() {
            self.leave_gate(sync::now());
        }
    }
}
