//! The life of one client connection: from its acceptance to its last byte.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::io::ReadBuf;

use crate::pair::{End, Pair};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tally::Arrivals;
use crate::upstream::Connector;
use crate::worker::Context;

/// How long a client may take no byte of what is left for it, and how long to close when it has all.
const LAST_WORD_WAIT: Duration = Duration::from_secs(1);

/// A place among `--max-connections`.
pub(crate) struct Seat(Arc<Shared>);

impl Seat {
    /// Takes a seat, if there is one.
    pub(crate) fn take(shared: &Arc<Shared>, seats: usize) -> Option<Self> {
        let seats = u32::try_from(seats).unwrap_or(u32::MAX);
        let taken =
            shared.connections.fetch_update(Relaxed, Relaxed, |count| (count < seats).then_some(count + 1));
        let Arrivals { accepted, turned_away, .. } = &shared.arrivals;
        if taken.is_ok() { accepted } else { turned_away }.fetch_add(1, Relaxed);
        taken.is_ok().then(|| Self(Arc::clone(shared)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Serves a client until it or its server closes.
pub(crate) async fn serve(mut pair: Box<Pair>, context: &Context) {
    let end = (&mut *pair).await;
    // Boxed, so that the end leaves no mark on the size of every connection's task.
    Box::pin(take_leave(pair, end, context)).await;
}

/// Serves a client until it or its server closes, or until all is answered; then the connection comes back.
pub(crate) async fn serve_until_rest(mut pair: Box<Pair>, context: &Context) -> Option<Box<Pair>> {
    let end = poll_fn(|cx| match Pin::new(&mut *pair).poll(cx) {
        Poll::Pending if pair.is_at_rest() => Poll::Ready(None),
        ended => ended.map(Some),
    });
    let Some(end) = end.await else { return Some(pair) };
    take_leave(pair, end, context).await;
    None
}

async fn take_leave(mut pair: Box<Pair>, end: End, context: &Context) {
    let backlog = pair.take_backlog();
    pair.leave();
    let client = &mut pair.client;
    match end {
        End::Closed if backlog.is_empty() => flush(client).await,
        End::Closed => say(client, backlog).await,
        End::Refused(reason) => {
            context.shared.arrivals.unreached.fetch_add(1, Relaxed);
            refuse_unreached(client, &context.connector, backlog, &reason).await;
        }
        End::Io(error) => {
            tracing::debug!(%error, "a connection failed");
            if !backlog.is_empty() {
                say(client, backlog).await;
            }
        }
        End::Session(error) => {
            tracing::warn!(%error, "a connection cannot go on");
            refuse(client, backlog, &error.to_string()).await;
        }
    }
}

/// Tells a client that its server cannot be reached.
pub(crate) async fn refuse_unreached(
    client: &mut Stream,
    connector: &Connector,
    before: Vec<u8>,
    reason: &io::Error,
) {
    let text = format!("cannot reach {}: {reason}", connector.address());
    tracing::warn!("{text}");
    refuse(client, before, &text).await;
}

/// Tells a client why it is not served, and closes.
pub(crate) async fn refuse(client: &mut Stream, mut before: Vec<u8>, reason: &str) {
    let reason = reason.replace(['\r', '\n'], " ");
    before.extend_from_slice(format!("-ERR unbusy: {reason}\r\n").as_bytes());
    say(client, before).await;
}

/// What a ring has taken for the client is still sent, if the client takes it in time.
async fn flush(client: &mut Stream) {
    let flushed = poll_fn(|cx| client.poll_flush(cx));
    // The client may be gone.
    let _ = tokio::time::timeout(LAST_WORD_WAIT, flushed).await;
}

/// Writes last bytes, then reads until the client closes: closing on unread bytes would reset the connection and take
/// the last bytes from it.
async fn say(client: &mut Stream, bytes: Vec<u8>) {
    let mut written = 0;
    while written < bytes.len() {
        let some = poll_fn(|cx| client.poll_write(cx, &bytes[written..]));
        match tokio::time::timeout(LAST_WORD_WAIT, some).await {
            Ok(Ok(count)) => written += count,
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let talk = async {
        poll_fn(|cx| client.poll_flush(cx)).await?;
        poll_fn(|cx| client.poll_shutdown(cx)).await?;
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            poll_fn(|cx| client.poll_read(cx, &mut buffer)).await?;
            if buffer.filled().is_empty() {
                return io::Result::Ok(());
            }
        }
    };
    // The client may be gone; then there is nobody to tell.
    let _ = tokio::time::timeout(LAST_WORD_WAIT, talk).await;
}
