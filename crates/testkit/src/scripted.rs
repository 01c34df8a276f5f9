//! A peer that does what no real server can be made to do.

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Accepts connections on a free loopback port and runs a closure for each, in a thread of its own.
///
/// ```
/// use testkit::{Client, ScriptedServer};
///
/// let server = ScriptedServer::start(|_index, stream| {
///     let mut peer = Client::from(stream);
///     assert_eq!(peer.read_frame(), testkit::encode(&["PING"]));
///     peer.send(b"-BUSY made up\r\n");
/// });
/// assert!(Client::connect(server.address()).cmd(&["PING"]).is_busy());
/// server.join();
/// ```
#[derive(Debug)]
pub struct ScriptedServer {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    handler: JoinHandle<()>,
}

impl ScriptedServer {
    /// Runs `script(index, stream)` for each connection; the first one has the index 0.
    pub fn start(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free loopback port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, &Arc::new(script)))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.connections.lock().expect("connections").len()
    }

    /// Takes no more connections, waits for the closures of all that came, and passes on the first panic.
    pub fn join(mut self) {
        self.stop_accepting();
        let connections = std::mem::take(&mut *self.shared.connections.lock().expect("connections"));
        for connection in connections {
            if let Err(panic) = connection.handler.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn stop_accepting(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        wake(self.address.parse().expect("an address"));
        let _ = acceptor.join();
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.stop_accepting();
        if let Ok(connections) = self.shared.connections.lock() {
            for connection in &*connections {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn accept<F>(listener: &TcpListener, shared: &Shared, script: &Arc<F>)
where
    F: Fn(usize, TcpStream) + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let mut connections = shared.connections.lock().expect("connections");
        let index = connections.len();
        let keep = stream.try_clone().expect("cannot clone a socket");
        let script = Arc::clone(script);
        let handler = thread::spawn(move || {
            // The clone in the list must not keep the connection open when the script is through with it.
            let end = EndOfScript(stream.try_clone().expect("cannot clone a socket"));
            script(index, stream);
            drop(end);
        });
        connections.push(Connection { stream: keep, handler });
    }
}

/// Closes the connection when the script returns or panics.
struct EndOfScript(TcpStream);

impl Drop for EndOfScript {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Makes a blocked `accept` return.
pub(crate) fn wake(address: SocketAddr) {
    let _ = TcpStream::connect(address);
}
