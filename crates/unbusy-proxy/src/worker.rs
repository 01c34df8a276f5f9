//! A worker: a thread with a runtime of its own that serves the connections it was given.
//!
//! A connection never moves to another worker, so that no lock is shared between connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::{io, thread};

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::connecting::Caller;
use crate::direct::{Direct, Loan, Socket};
use crate::pair::Pair;
use crate::serve::{Seat, refuse_unreached, serve, serve_until_rest};
use crate::shared::{Shared, Stage};
use crate::stream::Stream;
use crate::upstream::Connector;
use crate::uring;

/// A connection on its way to a worker.
pub(crate) enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
    /// From this process: our end, and the other one, which the caller gets.
    Inner(Ends, Caller<std::os::unix::net::UnixStream>),
}

type Ends = [std::os::unix::net::UnixStream; 2];

/// What a worker is told.
pub(crate) enum Order {
    Serve(Accepted, Seat),
    /// Connect to the server for a caller in this process that drives the connection itself.
    Connect(Caller<Direct>, Seat, mpsc::UnboundedSender<Self>),
    /// Drive a connection that its user drove until now, and who has the other end of this socket.
    Adopt(Box<Pair>, std::os::unix::net::UnixStream, Seat),
    /// The same until all is answered; then give it back.
    Borrow(Box<Pair>, std::os::unix::net::UnixStream, Loan),
    /// The stage has changed: every connection is to look at it.
    Look,
}

/// A running worker.
pub(crate) struct Worker {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) thread: thread::JoinHandle<()>,
}

/// All that a worker's connections need.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Context {
    /// Sockets with TLS are not on the ring, and must not wait for those that are.
    fn waiting(&self) -> uring::Waiting {
        let has_tls = self.tls.is_some() || self.connector.has_tls();
        if has_tls { uring::Waiting::InLoop } else { uring::Waiting::OnRing }
    }
}

/// Starts worker number `index`.
pub(crate) fn start(index: usize, has_ring: bool, context: Context) -> io::Result<Worker> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    if has_ring {
        runtime.on_thread_park(uring::turn);
    }
    let runtime = runtime.enable_all().build()?;
    let thread = thread::Builder::new().name(format!("unbusy-{index}")).spawn(move || {
        runtime.block_on(async {
            let begun = if has_ring { uring::start(context.waiting()) } else { Ok(()) };
            let goes_on = begun.is_ok();
            // Whoever does not wait for it any more has given up the whole proxy.
            let _ = ready.send(begun);
            if goes_on {
                // Not here: what wakes this future writes to a descriptor, even from this thread.
                let _ = tokio::spawn(work(index, context, inbox)).await;
            }
        });
        // First the connections, then the ring that they are on.
        drop(runtime);
        uring::stop();
    })?;
    started.recv().map_err(io::Error::other)??;
    Ok(Worker { orders, thread })
}

async fn work(index: usize, context: Context, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let (reports, mut inbox_reports) = mpsc::unbounded_channel();
    // Wakers of the connections; `None` until a new one has run for the first time.
    let mut connections: HashMap<u64, Option<Waker>> = HashMap::new();
    let mut next = 0;
    loop {
        tokio::select! {
            Some(report) = inbox_reports.recv() => match report {
                Report::Began(id, waker) => { connections.insert(id, Some(waker)); }
                Report::Ended(id) => { connections.remove(&id); }
            },
            order = inbox.recv() => match order {
                None => break,
                Some(Order::Look) => connections.values().flatten().for_each(Waker::wake_by_ref),
                Some(Order::Connect(caller, seat, orders)) => {
                    tokio::spawn(connect(caller, seat, context.clone(), index, orders));
                }
                Some(Order::Serve(accepted, seat)) => {
                    next += 1;
                    connections.insert(next, None);
                    let beginning = Beginning::New(accepted);
                    tokio::spawn(attend(next, beginning, seat, context.clone(), index, reports.clone()));
                }
                Some(Order::Adopt(pair, client, seat)) => {
                    next += 1;
                    connections.insert(next, None);
                    let beginning = Beginning::Adopted(pair, client);
                    tokio::spawn(attend(next, beginning, seat, context.clone(), index, reports.clone()));
                }
                Some(Order::Borrow(pair, client, loan)) => {
                    next += 1;
                    connections.insert(next, None);
                    tokio::spawn(borrow(next, pair, client, loan, context.clone(), reports.clone()));
                }
            },
        }
        match context.shared.stage() {
            Stage::Stopped => break,
            Stage::Draining if connections.is_empty() => break,
            _ => {}
        }
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "which keeps what it is given twice, in the task of every connection"
)]
fn attend(
    id: u64,
    beginning: Beginning,
    seat: Seat,
    context: Context,
    worker: usize,
    reports: mpsc::UnboundedSender<Report>,
) -> impl Future<Output = ()> {
    async move {
        report_beginning(id, &reports).await;
        let pair = match beginning {
            // Boxed, so that it leaves no mark on the size of every connection's task.
            Beginning::New(accepted) => Box::pin(begin(accepted, &context, worker)).await,
            Beginning::Adopted(pair, client) => adopt(pair, client).map(Some),
        };
        match pair {
            Ok(Some(pair)) => serve(pair, &context).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "a connection failed before it was served"),
        }
        drop(seat);
        let _ = reports.send(Report::Ended(id));
    }
}

async fn report_beginning(id: u64, reports: &mpsc::UnboundedSender<Report>) {
    let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
    // A worker that has ended needs no reports.
    let _ = reports.send(Report::Began(id, waker));
}

/// How a connection comes to a worker.
enum Beginning {
    New(Accepted),
    Adopted(Box<Pair>, std::os::unix::net::UnixStream),
}

enum Report {
    Began(u64, Waker),
    Ended(u64),
}

/// Connects a new client with the server; `None` if the server cannot be reached, which the client was told.
async fn begin(accepted: Accepted, context: &Context, worker: usize) -> io::Result<Option<Box<Pair>>> {
    let (mut client, caller) = match accepted {
        Accepted::Unix(stream) => (Stream::Unix(UnixStream::from_std(stream)?), None),
        Accepted::Inner([inner, outer], caller) => {
            (Stream::Unix(UnixStream::from_std(inner)?), Some((outer, caller)))
        }
        Accepted::Tcp(stream) => {
            let stream = TcpStream::from_std(stream)?;
            match &context.tls {
                None => (Stream::Tcp(stream), None),
                Some(tls) => (Stream::Tls(Box::new(tls.accept(stream).await?.into())), None),
            }
        }
    };
    let server = context.connector.connect().await;
    if server.is_err() {
        context.shared.arrivals.unreached.fetch_add(1, Relaxed);
    }
    match (server, caller) {
        (Ok(server), caller) => {
            let (client, server) = (uring::adopt(client)?, uring::adopt(server)?);
            if let Some((outer, caller)) = caller {
                caller.tell(Ok(outer));
            }
            return Ok(Some(Box::new(Pair::new(Arc::clone(&context.shared), worker, client, server))));
        }
        (Err(reason), Some((_, caller))) => caller.tell(Err(reason)),
        (Err(reason), None) => refuse_unreached(&mut client, &context.connector, Vec::new(), &reason).await,
    }
    Ok(None)
}

/// Takes over a connection that was driven by its user before.
fn adopt(mut pair: Box<Pair>, client: std::os::unix::net::UnixStream) -> io::Result<Box<Pair>> {
    pair.adopt(Stream::Unix(UnixStream::from_std(client)?))?;
    Ok(pair)
}

/// Serves a connection for its user, who takes it back once all is answered.
async fn borrow(
    id: u64,
    pair: Box<Pair>,
    client: std::os::unix::net::UnixStream,
    loan: Loan,
    context: Context,
    reports: mpsc::UnboundedSender<Report>,
) {
    report_beginning(id, &reports).await;
    if let Err(error) = serve_borrowed(pair, client, loan, &context).await {
        tracing::debug!(%error, "a connection was not given back");
    }
    let _ = reports.send(Report::Ended(id));
}

async fn serve_borrowed(
    pair: Box<Pair>,
    client: std::os::unix::net::UnixStream,
    mut loan: Loan,
    context: &Context,
) -> io::Result<()> {
    let mut pair = adopt(pair, client)?;
    while let Some(at_rest) = serve_until_rest(pair, context).await {
        let Some(kept) = loan.give_back(at_rest)? else { break };
        (pair, loan) = kept;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Connects for a caller that goes on from there.
async fn connect(
    caller: Caller<Direct>,
    seat: Seat,
    context: Context,
    worker: usize,
    orders: mpsc::UnboundedSender<Order>,
) {
    let server = context.connector.connect().await.and_then(Socket::out_of);
    if server.is_err() {
        context.shared.arrivals.unreached.fetch_add(1, Relaxed);
    }
    caller.tell(server.map(|server| Direct::new(server, context.shared, worker, orders, seat)));
}
