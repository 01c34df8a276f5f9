//! Malformed and hostile bytes from either side: a clear error to the one concerned, a line in the log, no panic,
//! bounded memory, and nobody else notices.
#[path = "e2e/mod.rs"]
mod e2e;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::{Client, Flavor, Proxy, Reply, ScriptedServer, Server, encode};

use e2e::{
    SOON, Wire, binary, command, make_busy, on_every_server, pipeline, ready, show, start_proxy, wait_until,
};

const MIB: u64 = 1 << 20;
/// What buffers may take while something endless passes.
const MEMORY_SLACK: u64 = 12 * MIB;

on_every_server!(
    clients_that_speak_no_resp,
    clients_that_stop_in_the_middle,
    clients_that_announce_much_and_send_little,
    clients_without_an_end,
    clients_that_never_read,
    random_bytes,
    malformed_bytes_while_busy,
);

/// A server, the proxy, and a client that must not notice anything.
struct Stage {
    server: Server,
    proxy: Proxy,
    bystander: Client,
    expected: i64,
}

impl Stage {
    fn new(flavor: Flavor) -> Self {
        let server = Server::start(flavor);
        let proxy = start_proxy(&server, &[]);
        let bystander = ready(proxy.address());
        Self { server, proxy, bystander, expected: 0 }
    }

    fn assert_untouched(&mut self, what: &str) {
        self.expected += 1;
        let begin = Instant::now();
        let count = self.bystander.cmd(&["INCR", "bystander"]).integer();
        assert_eq!(count, self.expected, "after {what}");
        assert!(begin.elapsed() < Duration::from_secs(1), "after {what}: {:?}", begin.elapsed());
        assert_eq!(ready(self.proxy.address()).cmd(&["ECHO", "x"]).text(), "x", "after {what}");
        assert_no_panic(&self.proxy, what);
    }
}

fn assert_no_panic(proxy: &Proxy, what: &str) {
    let log = proxy.log();
    assert!(!log.contains("panicked"), "after {what}:\n{log}");
}

/// Runs something and asserts that the proxy has hardly grown at its largest.
fn assert_memory_bounded(proxy: &Proxy, what: &str, act: impl FnOnce(&dyn Fn())) {
    let before = proxy.rss_bytes();
    act(&|| {
        let grown = proxy.rss_bytes().saturating_sub(before);
        assert!(grown < MEMORY_SLACK, "{what}: {} MiB more", grown / MIB);
    });
}

fn clients_that_speak_no_resp(flavor: Flavor) {
    let mut stage = Stage::new(flavor);
    let deep = b"*1\r\n".repeat(1_000_000);
    let cases: [(&str, &[u8]); 19] = [
        ("a negative number of words", b"*-2147483649\r\nPING\r\n"),
        ("a huge number of words", b"*9999999999\r\n"),
        ("more words than a number holds", b"*99999999999999999999999\r\n"),
        ("a negative length", b"*1\r\n$-2\r\n"),
        ("a huge length", b"*1\r\n$9223372036854775807\r\n"),
        ("a length beyond all numbers", b"*1\r\n$99999999999999999999999\r\n"),
        ("a length of letters", b"*1\r\n$five\r\n"),
        ("nested arrays", b"*1\r\n*1\r\n*1\r\n"),
        ("arrays nested a million deep", &deep),
        ("HTTP with a body", b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nSET k v"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("NULs", &[0; 5000]),
        ("high bytes", &[0xff; 5000]),
        ("returns", b"\r\r\r\r\r\n\r\r\r\n"),
        ("quotes", b"\"\"\"\"'''\r\n"),
        ("a reply", b"+OK\r\n:1\r\n$2\r\nhi\r\n-ERR x\r\n"),
        ("RESP3 aggregates", b"%1\r\n+a\r\n+b\r\n~1\r\n+x\r\n>1\r\n+x\r\n|1\r\n+a\r\n+b\r\n"),
        ("a stream", b"*?\r\n$?\r\n;4\r\nPING\r\n;0\r\n"),
    ];
    let mut refused = 0;
    for (what, bytes) in cases {
        // What the server itself says is the measure, up to where it closes.
        let direct = reaction(stage.server.address(), bytes);
        let proxied = reaction(stage.proxy.address(), bytes);
        let own_words = show(&proxied).starts_with("-ERR unbusy: ");
        assert!(
            own_words || proxied == direct,
            "{what}:\n  direct  {}\n  proxied {}",
            show(&direct),
            show(&proxied)
        );
        refused += usize::from(REFUSALS.iter().any(|text| show(&proxied).contains(text)));
        stage.assert_untouched(what);
    }
    assert!(refused >= 5, "{refused}");
    wait_until("a line in the log for each", || {
        stage.proxy.log().matches("a client sent malformed bytes").count() >= refused
    });
}

/// What servers say of bytes that the proxy cannot take for commands, either.
const REFUSALS: [&str; 3] = ["invalid multibulk length", "invalid bulk length", "expected '$'"];

/// Everything that comes for these bytes until the peer closes, which it does at the latest when nothing more comes.
fn reaction(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Wire::connect(address);
    let mut sender = wire.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.send(bytes);
            sender.half_close();
        });
        assert!(wire.wait_closed(SOON), "not closed after {}", show(&bytes[..bytes.len().min(100)]));
    });
    wire.take()
}

fn clients_that_stop_in_the_middle(flavor: Flavor) {
    const CLIENTS: usize = 300;
    let mut stage = Stage::new(flavor);
    let halves: [&[u8]; 8] = [
        b"*",
        b"*3\r\n",
        b"*3\r\n$3",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nab\r",
        b"SET k v",
        b"\"SET k",
        b"*2\r\n$4\r\nPING",
    ];
    let proxy = &stage.proxy;
    let mut wires = Vec::new();
    assert_memory_bounded(proxy, "half commands", |check| {
        for n in 0..CLIENTS {
            let mut wire = Wire::connect(proxy.address());
            wire.send(halves[n % halves.len()]);
            wires.push(wire);
        }
        check();
    });
    stage.assert_untouched("half commands");
    for wire in &mut wires {
        wire.read_ready();
        assert!(!wire.closed && wire.seen.is_empty(), "{}", show(&wire.seen));
    }
    // They can still go on.
    wires[3].send(&[&[b'x'; 96][..], b"\r\n"].concat());
    assert!(wires[3].wait_for(SOON, |seen| seen == b"+OK\r\n"), "{}", show(&wires[3].seen));
    wires.clear();
    stage.assert_untouched("their end");
}

fn clients_that_announce_much_and_send_little(flavor: Flavor) {
    const CLIENTS: usize = 50;
    let mut stage = Stage::new(flavor);
    let heads: [&[u8]; 3] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx",
        b"*1048576\r\n$1\r\nx\r\n",
        b"*1000000\r\n$4\r\nMSET\r\n",
    ];
    let proxy = &stage.proxy;
    let mut wires = Vec::new();
    assert_memory_bounded(proxy, "announcements", |check| {
        for n in 0..CLIENTS {
            let mut wire = Wire::connect(proxy.address());
            wire.send(heads[n % heads.len()]);
            wires.push(wire);
        }
        ready(proxy.address());
        check();
    });
    stage.assert_untouched("announcements");
}

fn clients_without_an_end(flavor: Flavor) {
    const CHUNK: usize = 256 << 10;
    let mut stage = Stage::new(flavor);
    // Blank lines are commands without a word, so they are fewer: each takes its time.
    let cases: [(&str, &[u8], u8, usize); 4] = [
        ("a line without an end", b"", b'x', 64 << 20),
        ("an array header without an end", b"*", b'1', 64 << 20),
        ("a bulk header without an end", b"*1\r\n$", b'1', 64 << 20),
        ("blank lines without an end", b"", b'\n', 1 << 20),
    ];
    for (what, head, byte, bytes) in cases {
        assert_memory_bounded(&stage.proxy, what, |check| {
            let mut wire = Wire::connect(stage.proxy.address());
            wire.send(head);
            let chunk = vec![byte; CHUNK];
            for _ in 0..bytes / CHUNK {
                check();
                // False when the server, or the proxy, has had enough.
                if !wire.send(&chunk) {
                    break;
                }
            }
            check();
            if byte != b'\n' {
                assert!(wire.wait_closed(SOON), "{what}: not closed");
                let clear = show(&wire.seen);
                assert!(clear.starts_with("-ERR ") || clear.is_empty(), "{what}: {clear}");
            }
        });
        stage.assert_untouched(what);
    }
}

fn clients_that_never_read(flavor: Flavor) {
    const CLIENTS: usize = 5;
    let mut stage = Stage::new(flavor);
    stage.server.client().cmd(&[&b"SET"[..], b"k", &vec![b'x'; 1 << 20]]);
    let proxy = &stage.proxy;
    let mut wires = Vec::new();
    assert_memory_bounded(proxy, "clients that do not read", |check| {
        for _ in 0..CLIENTS {
            let mut wire = Wire::connect(proxy.address());
            wire.send(&command("GET k").repeat(200));
            wires.push(wire);
        }
        // Each has begun: the first byte is there, and is not taken away.
        for wire in &mut wires {
            wait_until("a reply has begun", || wire.has_something());
        }
        check();
        for _ in 0..20 {
            ready(proxy.address());
            check();
        }
    });
    stage.assert_untouched("clients that do not read");
    wires.clear();
    stage.assert_untouched("their end");
}

/// Bytes that look almost like commands, the same in every run.
fn random_bytes(flavor: Flavor) {
    const PIECES: [&[u8]; 16] = [
        b"*1\r\n",
        b"*2\r\n",
        b"$4\r\n",
        b"$3\r\n",
        b"PING\r\n",
        b"GET\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"k",
        b"*",
        b"$",
        b"-1\r\n",
        b"\"",
        b"\0",
        b"EXEC\r\n",
    ];
    let mut stage = Stage::new(flavor);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..400 {
        let bytes: Vec<u8> = (0..=random(30)).flat_map(|_| PIECES[random(PIECES.len())].to_vec()).collect();
        let direct = reaction(stage.server.address(), &bytes);
        let proxied = reaction(stage.proxy.address(), &bytes);
        assert_eq!(show(&proxied), show(&direct), "round {round}: {}", show(&bytes));
    }
    stage.assert_untouched("random bytes");
}

fn malformed_bytes_while_busy(flavor: Flavor) {
    let mut stage = Stage::new(flavor);
    let broken: [&[u8]; 5] =
        [b"*1\r\n$-5\r\n", b"*abc\r\n", b"SET k \"\r\n", b"*2\r\n$3\r\nGET\r\n:1\r\n", b"*1\r\nPING\r\n"];
    let script = make_busy(&stage.server, Duration::from_millis(400));
    let mut alone: Vec<_> = broken.iter().map(|_| Wire::connect(stage.proxy.address())).collect();
    let mut behind: Vec<_> = broken.iter().map(|_| Wire::connect(stage.proxy.address())).collect();
    for (n, bytes) in broken.iter().enumerate() {
        alone[n].send(bytes);
        behind[n].send(&[command("INCR n"), bytes.to_vec(), command("INCR never")].concat());
    }
    for (wire, begin) in
        alone.iter_mut().zip(std::iter::repeat("")).chain(behind.iter_mut().zip(std::iter::repeat(":")))
    {
        assert!(wire.wait_closed(SOON), "closed");
        let seen = show(&wire.seen);
        assert!(seen.starts_with(begin) && seen.contains("-ERR Protocol error"), "{seen}");
    }
    script.join();
    stage.assert_untouched("malformed bytes");
    let mut client = stage.server.client();
    assert_eq!(client.cmd(&["GET", "n"]).text(), broken.len().to_string());
    assert_eq!(client.cmd(&["GET", "never"]), Reply::Null);
}

/// What a broken server may do when it is asked for something.
enum Answer {
    /// These bytes, and the connection stays open.
    Stay(Vec<u8>),
    /// These bytes, and it closes.
    Close(Vec<u8>),
    /// The first bytes, then so many bytes of the second without an end in sight.
    Endless(&'static [u8], u8, usize),
}

/// What the client is to see of it.
#[derive(Clone, Copy)]
enum Seen {
    /// An error of the proxy, and a close.
    Error,
    /// Just these bytes.
    Same,
    /// These bytes and then a close.
    SameAndClose,
    /// Anything, but bounded memory.
    Anything,
}

fn broken_answers() -> Vec<(&'static str, Answer, Seen)> {
    let stay = |bytes: &[u8]| Answer::Stay(bytes.to_vec());
    let close = |bytes: &[u8]| Answer::Close(bytes.to_vec());
    let deep = [b"*1\r\n".repeat(1_000_000), b":1\r\n".to_vec()].concat();
    let attributes = [b"|1\r\n+a\r\n+b\r\n".repeat(100_000), b":1\r\n".to_vec()].concat();
    vec![
        ("HTTP", stay(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Seen::Error),
        ("NULs", stay(&[0; 100]), Seen::Error),
        ("a line end alone", stay(b"\r\n"), Seen::Error),
        ("a negative length", stay(b"$-2\r\n"), Seen::Error),
        ("a length of letters", stay(b"$five\r\n"), Seen::Error),
        ("a length beyond all numbers", stay(b"$99999999999999999999\r\n"), Seen::Error),
        ("a negative array", stay(b"*-2\r\n"), Seen::Error),
        ("an array beyond all numbers", stay(b"*99999999999999999999\r\n"), Seen::Error),
        ("a map beyond all numbers", stay(b"%9223372036854775807\r\n"), Seen::Error),
        ("a bulk without its end", stay(b"$2\r\nabXX+OK\r\n"), Seen::Error),
        ("garbage in an array", stay(b"*2\r\n:1\r\ngarbage\r\n"), Seen::Error),
        ("more replies than asked", stay(b"+PONG\r\n+PONG\r\n+PONG\r\n"), Seen::Error),
        ("fewer replies than asked, and a close", close(b""), Seen::SameAndClose),
        ("half a reply and a close", close(b"$10\r\nabc"), Seen::SameAndClose),
        ("half an error and a close", close(b"-ERR half"), Seen::Anything),
        ("half a header and a close", close(b"*12"), Seen::SameAndClose),
        ("a deep reply", stay(&deep), Seen::Same),
        ("many attributes", stay(&attributes), Seen::Same),
        (
            "a long error",
            stay(&[b"-ERR ".to_vec(), vec![b'x'; 100_000], b"\r\n".to_vec()].concat()),
            Seen::Same,
        ),
        ("a huge bulk that never comes", stay(b"$1000000000\r\nabc"), Seen::Same),
        ("a huge array that never comes", stay(b"*1000000000\r\n:1\r\n"), Seen::Same),
        ("a line without an end", Answer::Endless(b"+", b'x', 64 << 20), Seen::Anything),
        ("an error without an end", Answer::Endless(b"-ERR ", b'x', 64 << 20), Seen::Anything),
        ("a BUSY without an end", Answer::Endless(b"-BUSY ", b'x', 64 << 20), Seen::Anything),
        ("a number without an end", Answer::Endless(b":", b'1', 64 << 20), Seen::Anything),
        ("a header without an end", Answer::Endless(b"$", b'1', 64 << 20), Seen::Error),
        ("depth without an end", Answer::Endless(b"", 0, 64 << 20), Seen::Anything),
        ("BUSY half", Answer::Close(b"-BUSY Redis is busy running a scr".to_vec()), Seen::Anything),
        ("a push that nobody asked for", stay(b">2\r\n+x\r\n+y\r\n+PONG\r\n"), Seen::Same),
    ]
}

/// A server whose connections do what the number in the client's first command says.
fn broken_server() -> ScriptedServer {
    ScriptedServer::start(|_, stream| {
        let mut out = stream.try_clone().expect("a socket");
        let mut peer = Client::from(stream);
        let asked = Reply::parse(&peer.read_frame());
        let number = asked.items().last().and_then(|word| word.text().parse::<usize>().ok());
        let Some((_, answer, _)) = number.and_then(|n| broken_answers().into_iter().nth(n)) else {
            return serve_properly(&mut peer);
        };
        match answer {
            Answer::Stay(bytes) => {
                send(&mut out, &bytes);
                // Until the other side ends it.
                peer.read_to_end(SOON * 3);
            }
            Answer::Close(bytes) => send(&mut out, &bytes),
            Answer::Endless(head, byte, count) => {
                send(&mut out, head);
                let chunk = if byte == 0 { b"*1\r\n".repeat(1 << 18) } else { vec![byte; 1 << 20] };
                (0..count / chunk.len()).for_each(|_| send(&mut out, &chunk));
            }
        }
    })
}

/// The proxy may close while it is being written to; that is no failure here.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = std::io::Write::write_all(stream, bytes);
}

/// The proxy's own questions and the bystander's are answered as a server would.
fn serve_properly(peer: &mut Client) {
    peer.send(b"+PONG\r\n");
    loop {
        peer.read_frame();
        peer.send(b"+PONG\r\n");
    }
}

#[test]
fn servers_that_are_broken() {
    let server = broken_server();
    let proxy = Proxy::start(binary(), &server.url(), &["--busy-threshold", "100ms"]);
    let mut bystander = ready(proxy.address());
    for (n, (what, answer, expected)) in broken_answers().into_iter().enumerate() {
        let lines_before = proxy.log().lines().count();
        assert_memory_bounded(&proxy, what, |check| {
            let mut wire = Wire::connect(proxy.address());
            wire.send(&encode(&["ECHO", &n.to_string()]));
            assert_seen(what, &mut wire, &answer, expected, check);
            check();
        });
        if matches!(expected, Seen::Error) {
            wait_until(&format!("a line in the log after {what}"), || {
                proxy.log().lines().skip(lines_before).any(|line| line.contains("a connection cannot go on"))
            });
        }
        assert_eq!(bystander.cmd(&["PING"]).text(), "PONG", "after {what}");
        assert_eq!(ready(proxy.address()).cmd(&["PING"]).text(), "PONG", "after {what}");
        assert_no_panic(&proxy, what);
    }
}

fn assert_seen(what: &str, wire: &mut Wire, answer: &Answer, expected: Seen, check: &dyn Fn()) {
    let bytes = match answer {
        Answer::Stay(bytes) | Answer::Close(bytes) => bytes.as_slice(),
        Answer::Endless(..) => b"",
    };
    match expected {
        Seen::Error => {
            assert!(wire.wait_closed(SOON), "{what}: not closed; {}", show(&wire.seen));
            assert!(
                wire.seen.windows(13).any(|w| w == b"-ERR unbusy: "),
                "{what}: no clear error but {}",
                show(&wire.seen)
            );
        }
        Seen::Same | Seen::SameAndClose => {
            let there = wire.wait_for(SOON, |seen| seen.len() >= bytes.len());
            assert!(there && wire.seen == bytes, "{what}: {}", show(&wire.seen));
            assert!(matches!(expected, Seen::Same) || wire.wait_closed(SOON), "{what}: not closed");
        }
        Seen::Anything => {
            // To the end, without keeping it.
            while wire.wait_for(Duration::from_millis(300), |seen| !seen.is_empty()) {
                wire.take();
                check();
            }
        }
    }
}

/// The client gets what there is, and then what its server does: the end, or nothing more.
#[test]
fn a_server_that_answers_too_little() {
    for closes in [true, false] {
        let server = ScriptedServer::start(move |_, stream| {
            let mut peer = Client::from(stream);
            if Reply::parse(&peer.read_frame()).items()[0].text() != "GET" {
                return serve_properly(&mut peer);
            }
            peer.send(b"+1\r\n");
            if !closes {
                peer.read_to_end(SOON * 3);
            }
        });
        let proxy = Proxy::start(binary(), &server.url(), &["--busy-threshold", "100ms"]);
        let mut bystander = ready(proxy.address());
        let mut wire = Wire::connect(proxy.address());
        wire.send(&pipeline(&["GET k", "GET k", "GET k"]));
        assert!(wire.wait_for(SOON, |seen| seen == b"+1\r\n"), "{}", show(&wire.seen));
        assert_eq!(bystander.cmd(&["PING"]).text(), "PONG");
        if closes {
            assert!(wire.wait_closed(SOON), "not closed");
            assert_eq!(show(&wire.seen), "+1\\r\\n");
        }
        drop(wire);
        assert_eq!(ready(proxy.address()).cmd(&["PING"]).text(), "PONG");
        assert_no_panic(&proxy, "too few replies");
    }
}

/// Between a reply too many and the next command the proxy must not take one for the other's.
#[test]
fn a_server_with_replies_to_spare() {
    let server = ScriptedServer::start(|_, stream| {
        let mut peer = Client::from(stream);
        loop {
            let twice =
                Reply::parse(&peer.read_frame()).items().first().is_some_and(|word| word.text() == "TWICE");
            peer.send(if twice { b"+1\r\n+2\r\n" } else { b"+PONG\r\n" });
        }
    });
    let proxy = Proxy::start(binary(), &server.url(), &["--busy-threshold", "100ms"]);
    let mut bystander = ready(proxy.address());
    let mut wire = Wire::connect(proxy.address());
    wire.send(&command("TWICE"));
    assert!(wire.wait_closed(SOON), "closed, for nobody knows any more what belongs to what");
    let seen = show(&wire.seen);
    assert!(seen.starts_with("+1\\r\\n") && seen.contains("-ERR unbusy: "), "{seen}");
    assert_eq!(bystander.cmd(&["PING"]).text(), "PONG");
    // The same before anything was asked, as a server says "too many clients".
    let server = ScriptedServer::start(|_, stream| {
        let mut peer = Client::from(stream);
        peer.send(b"-ERR max number of clients reached\r\n");
    });
    let proxy = Proxy::start(binary(), &server.url(), &["--busy-threshold", "100ms"]);
    let mut wire = Wire::connect(proxy.address());
    wire.send(&pipeline(&["PING"]));
    assert!(wire.wait_closed(SOON), "closed");
    assert!(show(&wire.seen).starts_with("-ERR "), "{}", show(&wire.seen));
}
