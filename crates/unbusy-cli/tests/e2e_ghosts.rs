//! Ghosts and sick connections: what a client gave up is not executed later, and one client's trouble is not
//! everybody's.
mod e2e_support;

use std::{
    io::Write as _,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use e2e_support::{
    PATIENCE, StopOnDrop, alone, client_list, counter, on_every_server, proxy, proxy_to, quantile, wait_until,
};
use testkit::{BusyScript, Client, Flavor, Proxy, Relay, Reply, ScriptedServer, Server, encode};

const CLIENTS: usize = 50;
const STALL: Duration = Duration::from_secs(2);
const GHOSTS_AT_MOST: usize = 6;
/// A delay that may be where the server or a connection is really sick.
const SOME_DELAY: Duration = Duration::from_millis(500);
/// "Delays nobody": what scheduling on a small machine may cost, and less than any time-out of the engine's.
const NO_DELAY: Duration = Duration::from_millis(90);
/// For how long the others are watched while one client misbehaves.
const WATCH: Duration = Duration::from_secs(1);

// === Clients that give up in a stall

/// The control. Not on Valkey 9.1, which looks whether a client is still there before it reads from it.
#[test]
fn without_a_proxy_redis_executes_all() {
    for flavor in [Flavor::Redis62, Flavor::Redis70] {
        let server = Stalling::start(flavor);
        for timing in [Timing::AtOnce, Timing::Spread, Timing::Newcomers] {
            assert!(server.0.client().cmd(&["FLUSHALL"]).is_ok());
            assert_eq!(server.ghosts_of(server.0.address(), timing), CLIENTS, "{flavor}, {timing:?}");
        }
    }
}

#[test]
fn clients_that_give_up_at_once_leave_few_ghosts() {
    leave_few_ghosts(Timing::AtOnce);
}

#[test]
fn clients_that_give_up_one_after_the_other_leave_few_ghosts() {
    leave_few_ghosts(Timing::Spread);
}

#[test]
fn clients_that_come_in_the_stall_and_give_up_leave_few_ghosts() {
    leave_few_ghosts(Timing::Newcomers);
}

fn leave_few_ghosts(timing: Timing) {
    let _alone = alone();
    for flavor in Flavor::ALL {
        let server = Stalling::start(flavor);
        let proxy = proxy(&server.0, &[]);
        let ghosts = server.ghosts_of(proxy.address(), timing);
        assert!(ghosts <= GHOSTS_AT_MOST, "{flavor}, {timing:?}: {ghosts} of {CLIENTS} were executed");
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Timing {
    /// All are connected and send in the same moment.
    AtOnce,
    /// All are connected and send 5 ms apart.
    Spread,
    /// They connect when they are to send, 5 ms apart.
    Newcomers,
}

/// A server whose threshold is far above the stall.
struct Stalling(Server);

impl Stalling {
    const BEFORE_THE_FIRST: Duration = Duration::from_millis(300);
    const CLIENTS_PATIENCE: Duration = Duration::from_millis(300);
    const APART: Duration = Duration::from_millis(5);

    fn start(flavor: Flavor) -> Self {
        Self(Server::builder(flavor).threshold(Duration::from_secs(5)).start())
    }

    /// Stalls the server, lets the clients send one INCR each and give up, and counts the INCRs executed at last.
    fn ghosts_of(&self, address: &str, timing: Timing) -> usize {
        let mut observer = self.0.client();
        // One that stays makes sure that whatever a proxy opens for itself is open now.
        let mut stays = Client::connect(address);
        assert_eq!(stays.cmd(&["PING"]).text(), "PONG");
        let others = client_list(&mut observer).len();
        let connected = (timing != Timing::Newcomers).then(|| connected_clients(address));
        let script = BusyScript::start(self.0.address(), STALL);
        // No event tells that a script has begun; the time before the first command is part of the scenario anyway.
        thread::sleep(Self::BEFORE_THE_FIRST);
        let apart = if timing == Timing::AtOnce { Duration::ZERO } else { Self::APART };
        let begin = Instant::now();
        thread::scope(|scope| {
            let clients = connected.map(|clients| clients.into_iter().map(Some).collect());
            let clients: Vec<Option<Client>> =
                clients.unwrap_or_else(|| (0..CLIENTS).map(|_| None).collect());
            for (n, client) in (0..).zip(clients) {
                scope.spawn(move || {
                    thread::sleep((begin + apart * n).saturating_duration_since(Instant::now()));
                    give_up(client.unwrap_or_else(|| Client::connect(address)), Self::CLIENTS_PATIENCE);
                });
            }
        });
        let (_, end) = script.join();
        assert!(begin.elapsed() > Self::CLIENTS_PATIENCE && end > begin, "the stall was too short");
        // What reached the server is executed when its connection is read, which comes before its end is seen. Those
        // that wait for being accepted come before a connection that is made now.
        assert_eq!(self.0.client().cmd(&["PING"]).text(), "PONG");
        wait_until("the server sees the clients' end", || client_list(&mut observer).len() <= others);
        counter(&mut observer, "k")
    }
}

/// Clients of whom the server knows.
fn connected_clients(address: &str) -> Vec<Client> {
    (0..CLIENTS)
        .map(|_| {
            let mut client = Client::connect(address);
            client.cmd(&["PING"]);
            client
        })
        .collect()
}

fn give_up(mut client: Client, patience: Duration) {
    client.send_cmd(&["INCR", "k"]);
    assert_eq!(client.try_read_frame(patience), None, "the server does not stall");
}

// === Clients behind a hole

/// What no real server does: it rejects the first command of a pipeline and executes the one behind it. The client has its
/// answers then, and the next one needs not wait until the gate has lost patience with it.
#[test]
fn a_client_behind_a_hole_delays_nobody() {
    const BUSY: &[u8] =
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    let _alone = alone();
    let server = ScriptedServer::start(|_, stream| {
        let mut peer = Client::from(stream);
        let mut rejects = true;
        while let Some(frame) = peer.try_read_frame(PATIENCE) {
            // The line seems long, so patience is, too; and the gate hears of the rejection before the hole is seen.
            thread::sleep(Duration::from_millis(20));
            let rejected = frame == encode(&["INCR", "n"]) && std::mem::take(&mut rejects);
            peer.send(if rejected { BUSY } else { b"+OK\r\n" });
        }
    });
    let proxy = proxy_to(&server.url(), &["--busy-threshold", "60s"]);
    let mut other = Client::connect(proxy.address());
    assert!(other.cmd(&["PING"]).is_ok());
    // Without a lease the commands are sent one by one, which makes no hole.
    let hole = (0..20).find_map(|_| {
        let mut client = Client::connect(proxy.address());
        assert!(client.cmd(&["PING"]).is_ok());
        let got = client.exchange(&[encode(&["INCR", "n"]), encode(&["PING"])].concat(), 2);
        got[0].starts_with(b"-BUSY").then_some(client)
    });
    assert!(hole.is_some(), "there is no hole");
    let began = Instant::now();
    assert!(other.cmd(&["PING"]).is_ok());
    assert!(began.elapsed() < NO_DELAY, "the other one was delayed by {:?}", began.elapsed());
}

// === Connections that are cut off without a reset

#[test]
fn a_connection_cut_off_in_silence_does_not_stop_the_others() {
    let _alone = alone();
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let mut setup = Lossy::start(&server);
        setup.relay.freeze(setup.sick_index);
        setup.sick.send_cmd(&["INCR", "sick"]);
        let delays = setup.others_in_turn(&server);
        assert!(quantile(&delays, 1.0) <= SOME_DELAY, "{flavor}: {delays:?}");
        setup.assert_recovers();
    }
}

#[test]
fn a_leader_cut_off_in_silence_does_not_stop_the_others() {
    let _alone = alone();
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let mut setup = Lossy::start(&server);
        let script = BusyScript::start(server.address(), Duration::from_secs(1));
        script.wait_until_busy(server.address());
        // The first to be held is the leader.
        let before = (setup.relay.bytes_to_upstream(), setup.relay.bytes_to_client());
        setup.sick.send_cmd(&["INCR", "sick"]);
        wait_for_answer(&setup.relay, before);
        setup.relay.freeze(setup.sick_index);
        for client in &mut setup.others {
            client.send_cmd(&["INCR", "k"]);
        }
        let (_, end) = script.join();
        for client in &mut setup.others {
            assert!(client.read_reply().integer() > 0);
        }
        assert!(end.elapsed() <= SOME_DELAY, "{flavor}: the others had to wait {:?}", end.elapsed());
        setup.assert_recovers();
    }
}

/// Clients whose upstream connections go through a relay; one of these can be frozen.
struct Lossy {
    sick: Client,
    sick_index: usize,
    others: Vec<Client>,
    relay: Relay,
    _proxy: Proxy,
}

impl Lossy {
    const OTHERS: usize = 7;
    const ROUNDS: usize = 40;
    /// Longer than any lease at a threshold of 100 ms, so that most rounds begin with a scout.
    const BETWEEN_ROUNDS: Duration = Duration::from_millis(40);

    fn start(server: &Server) -> Self {
        let relay = Relay::start(server.address());
        // A given threshold saves the proxy a question of its own, so that the relay sees clients' connections only.
        let proxy = proxy_to(&relay.url(), &["--busy-threshold", "100ms"]);
        let connect = || {
            let mut client = Client::connect(proxy.address());
            assert_eq!(client.cmd(&["PING"]).text(), "PONG");
            client
        };
        let sick = connect();
        let sick_index = relay.accepted() - 1;
        let others = (0..Self::OTHERS).map(|_| connect()).collect();
        Self { sick, sick_index, others, relay, _proxy: proxy }
    }

    /// How long each of the others waits for its reply, round after round.
    fn others_in_turn(&mut self, server: &Server) -> Vec<Duration> {
        let mut delays = Vec::new();
        for _ in 0..Self::ROUNDS {
            thread::sleep(Self::BETWEEN_ROUNDS);
            delays.extend(self.others.iter_mut().map(|client| timed_cmd(client, &["INCR", "k"])));
        }
        assert_eq!(counter(&mut server.client(), "k"), delays.len());
        delays
    }

    /// The sick one was really cut off, and goes on where it stopped.
    fn assert_recovers(&mut self) {
        assert_eq!(
            self.sick.try_read_frame(Duration::from_millis(1)),
            None,
            "the wrong connection was frozen"
        );
        self.relay.unfreeze();
        assert_eq!(self.sick.read_reply().integer(), 1);
        assert_eq!(self.sick.cmd(&["INCR", "sick"]).integer(), 2);
    }
}

/// Waits until something more goes to the server and comes back.
fn wait_for_answer(relay: &Relay, before: (u64, u64)) {
    wait_until("a request and its reply", || {
        relay.bytes_to_upstream() > before.0 && relay.bytes_to_client() > before.1
    });
}

// === Writes parked by the server

#[test]
fn a_pause_of_writes_does_not_delay_reads() {
    let _alone = alone();
    on_every_server(|server, proxy| {
        let mut readers = clients(proxy, 3);
        let mut writers = clients(proxy, 5);
        assert!(server.client().cmd(&["CLIENT", "PAUSE", "3000", "WRITE"]).is_ok());
        let paused = Instant::now();
        for writer in &mut writers {
            writer.send_cmd(&["INCR", "k"]);
        }
        let mut delays = Vec::new();
        while paused.elapsed() < Duration::from_millis(2500) {
            delays.extend(readers.iter_mut().map(|reader| timed_cmd(reader, &["GET", "k"])));
            thread::sleep(Duration::from_millis(20));
        }
        let longest = quantile(&delays, 1.0);
        assert!(longest <= SOME_DELAY, "{}: a read took {longest:?}", server.flavor());
        assert_eq!(counter(&mut server.client(), "k"), 0, "the pause was over too soon");
        for writer in &mut writers {
            assert!(writer.read_reply().integer() > 0);
        }
        assert_eq!(counter(&mut server.client(), "k"), writers.len());
    });
}

// === Clients that are slow themselves

#[test]
fn a_big_value_sent_slowly_delays_nobody() {
    const SIZE: usize = 100_000_000;
    const PIECES: u32 = 100;
    let _alone = alone();
    on_every_server(|server, proxy| {
        let mut slow = TcpStream::connect(proxy.address()).expect("the proxy");
        let head = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${SIZE}\r\n");
        let piece = vec![b'x'; SIZE / PIECES as usize];
        let delays = watch_others(proxy, || {
            slow.write_all(head.as_bytes()).expect("the head");
            for _ in 0..PIECES {
                slow.write_all(&piece).expect("a piece");
                thread::sleep(WATCH / PIECES);
            }
            slow.write_all(b"\r\n").expect("the end");
        });
        assert_no_delay(&delays, server);
        let mut slow = Client::from(slow);
        assert!(slow.read_reply().is_ok());
        assert_eq!(server.client().cmd(&["STRLEN", "big"]), Reply::Integer(100_000_000));
    });
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    const VALUE: usize = 1_000_000;
    const GETS: usize = 100;
    let _alone = alone();
    on_every_server(|server, proxy| {
        assert!(server.client().cmd(&["SET", "big", &"x".repeat(VALUE)]).is_ok());
        let mut lazy = Client::connect(proxy.address());
        lazy.send(&encode(&["GET", "big"]).repeat(GETS));
        let delays = watch_others(proxy, || thread::sleep(WATCH));
        assert_no_delay(&delays, server);
        for _ in 0..GETS {
            assert_eq!(lazy.read_frame().len(), format!("${VALUE}\r\n").len() + VALUE + 2);
        }
    });
}

#[test]
fn a_blocking_command_delays_nobody() {
    let _alone = alone();
    on_every_server(|server, proxy| {
        let mut blocked = clients(proxy, 3);
        blocked[0].send_cmd(&["BLPOP", "list", "0"]);
        blocked[1].send_cmd(&["XREAD", "BLOCK", "0", "STREAMS", "stream", "$"]);
        blocked[2].send_cmd(&["WAIT", "1", "3000"]);
        let delays = watch_others(proxy, || thread::sleep(WATCH));
        assert_no_delay(&delays, server);
        let mut pusher = Client::connect(proxy.address());
        assert_eq!(pusher.cmd(&["RPUSH", "list", "x"]).integer(), 1);
        assert!(matches!(pusher.cmd(&["XADD", "stream", "*", "f", "v"]), Reply::Bulk(_)));
        assert_eq!(blocked[0].read_reply().items()[1].text(), "x");
        assert_eq!(blocked[1].read_reply().items().len(), 1);
        assert_eq!(blocked[2].read_reply().integer(), 0);
    });
}

/// Modules may answer from a thread of their own: late, while the server is open for everybody else.
#[test]
fn a_slow_command_of_a_module_delays_nobody() {
    let _alone = alone();
    let server = ScriptedServer::start(|_, stream| serve_module(stream));
    let proxy = proxy_to(&server.url(), &[]);
    let mut slow = clients(&proxy, 3);
    for client in &mut slow {
        client.send_cmd(&["SLOWMODULE.RUN"]);
    }
    let delays = watch_others(&proxy, || {
        for client in &mut slow {
            assert_eq!(client.read_reply().text(), "DONE");
        }
    });
    let longest = quantile(&delays, 1.0);
    assert!(longest <= NO_DELAY, "a command took {longest:?}");
}

/// One connection to a server with such a module; ends with a panic that nobody sees when the proxy closes.
fn serve_module(stream: TcpStream) {
    let mut peer = Client::from(stream);
    peer.set_timeout(PATIENCE);
    loop {
        let request = peer.read_reply();
        let reply: &[u8] = match request.items()[0].text().to_ascii_uppercase().as_str() {
            "SLOWMODULE.RUN" => {
                thread::sleep(WATCH);
                b"+DONE\r\n"
            }
            "INCR" => b":1\r\n",
            "PING" => b"+PONG\r\n",
            _ => b"-ERR unknown command\r\n",
        };
        peer.send(reply);
    }
}

// === Watching the others

/// Commands of some other clients, one after the other, until `trouble` has ended; how long each took.
fn watch_others(proxy: &Proxy, trouble: impl FnOnce() + Send) -> Vec<Duration> {
    let stopping = AtomicBool::new(false);
    let mut others = clients(proxy, 3);
    let mut delays = Vec::new();
    thread::scope(|scope| {
        let stopping = &stopping;
        scope.spawn(move || {
            let _stop = StopOnDrop(stopping);
            trouble();
        });
        while !stopping.load(Ordering::Relaxed) {
            delays.extend(others.iter_mut().map(|client| timed_cmd(client, &["INCR", "others"])));
            // Longer than a lease: each round begins with a scout, which another's trouble could hold up.
            thread::sleep(Duration::from_millis(30));
        }
    });
    delays
}

fn assert_no_delay(delays: &[Duration], server: &Server) {
    let longest = quantile(delays, 1.0);
    assert!(longest <= NO_DELAY, "{}: a command took {longest:?}", server.flavor());
}

fn clients(proxy: &Proxy, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = Client::connect(proxy.address());
            assert_eq!(client.cmd(&["PING"]).text(), "PONG");
            client
        })
        .collect()
}

fn timed_cmd(client: &mut Client, words: &[&str]) -> Duration {
    let start = Instant::now();
    let reply = client.cmd(words);
    assert_eq!(reply.error(), None);
    start.elapsed()
}
