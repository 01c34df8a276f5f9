//! PSYNC and SYNC: the connection becomes a stream that is none of the proxy's business.

use std::time::Duration;

use testkit::{Flavor, Server, encode};

use crate::e2e::{SOON, Wire, command, make_busy, on_every_server, show, start_proxy, wait_until};

/// What a freshly attached replica reads at most before the data set begins.
const HEADER_MAX: usize = 1000;

on_every_server!(
    psync_with_a_file,
    psync_without_a_file,
    sync,
    psync_while_busy,
    psync_behind_other_commands,
);

fn psync_with_a_file(flavor: Flavor) {
    through_both(flavor, "no", |server, address| {
        let mut replica = Replica::connect(address);
        replica.ask("PSYNC ? -1", "+FULLRESYNC ");
        replica.read_file();
        replica.follow(server);
    });
}

fn psync_without_a_file(flavor: Flavor) {
    through_both(flavor, "yes", |server, address| {
        let mut replica = Replica::connect(address);
        replica.ask("REPLCONF capa eof capa psync2", "+OK");
        replica.ask("PSYNC ? -1", "+FULLRESYNC ");
        replica.read_until_mark();
        replica.follow(server);
    });
}

fn sync(flavor: Flavor) {
    through_both(flavor, "no", |server, address| {
        let mut replica = Replica::connect(address);
        replica.wire.send(&command("SYNC"));
        replica.read_file();
        replica.follow(server);
    });
}

fn psync_while_busy(flavor: Flavor) {
    let server = master(flavor, "no");
    let proxy = start_proxy(&server, &[]);
    let script = make_busy(&server, Duration::from_millis(300));
    let mut replica = Replica::connect(proxy.address());
    replica.ask("PING", "+PONG");
    assert_eq!(script.join().0, b":1\r\n");
    replica.ask("REPLCONF listening-port 1234", "+OK");
    let script = make_busy(&server, Duration::from_millis(300));
    replica.ask("PSYNC ? -1", "+FULLRESYNC ");
    assert_eq!(script.join().0, b":1\r\n");
    replica.read_file();
    replica.follow(&server);
}

fn psync_behind_other_commands(flavor: Flavor) {
    through_both(flavor, "no", |server, address| {
        let mut replica = Replica::connect(address);
        replica.ask("PING", "+PONG");
        replica.ask("INCR n", ":");
        replica.ask("PSYNC wrong", "-ERR ");
        replica.ask("INCR n", ":");
        replica.ask("PSYNC ? -1", "+FULLRESYNC ");
        replica.read_file();
        replica.follow(server);
    });
}

fn through_both(flavor: Flavor, diskless: &str, play: impl Fn(&Server, &str)) {
    let server = master(flavor, diskless);
    play(&server, server.address());
    let proxy = start_proxy(&server, &[]);
    play(&server, proxy.address());
}

/// A server with some data, that begins to send them at once.
fn master(flavor: Flavor, diskless: &str) -> Server {
    let args = ["--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0"];
    let server = args.iter().fold(Server::builder(flavor), testkit::ServerBuilder::arg).start();
    server.client().cmd(&[&b"SET"[..], b"k", &vec![b'x'; 300_000]]);
    server
}

struct Replica {
    wire: Wire,
    /// Where the stream of commands begins, as the master counts.
    offset: Option<usize>,
}

impl Replica {
    fn connect(address: &str) -> Self {
        Self { wire: Wire::connect(address), offset: None }
    }

    /// One by one: a server refuses PSYNC while a reply before it is not yet written.
    fn ask(&mut self, line: &str, begin: &str) {
        self.wire.send(&command(line));
        self.read_line(begin);
    }

    fn read_line(&mut self, begin: &str) -> String {
        let complete = self.wire.wait_for(SOON, |seen| seen.contains(&b'\n'));
        let end = self.wire.seen.iter().position(|&b| b == b'\n').filter(|_| complete);
        let end = end.unwrap_or_else(|| panic!("no {begin} but {}", self.head()));
        let line: Vec<u8> = self.wire.seen.drain(..=end).collect();
        let line = String::from_utf8(line).expect("a line of text").trim_end().to_owned();
        assert!(line.starts_with(begin), "no {begin} but {line}");
        if begin == "+FULLRESYNC " {
            self.offset = line.rsplit(' ').next().and_then(|number| number.parse().ok());
        }
        line
    }

    /// `$LENGTH`, perhaps after empty lines that keep the line alive.
    fn read_header(&mut self) -> String {
        loop {
            let line = self.read_line("");
            if let Some(length) = line.strip_prefix('$') {
                return length.to_owned();
            }
            assert!(line.is_empty(), "no $ but {line}");
        }
    }

    fn read_file(&mut self) {
        let length: usize = self.read_header().parse().expect("a length");
        assert!(self.wire.wait_for(SOON, |seen| seen.len() >= length), "{}", self.head());
        let file: Vec<u8> = self.wire.seen.drain(..length).collect();
        assert_is_data_set(&file);
    }

    fn read_until_mark(&mut self) {
        let header = self.read_header();
        let mark = header.strip_prefix("EOF:").expect("a mark").as_bytes();
        let end = |seen: &[u8]| seen.windows(mark.len()).position(|w| w == mark);
        assert!(self.wire.wait_for(SOON, |seen| end(seen).is_some()), "{}", self.head());
        let end = end(&self.wire.seen).expect("the mark");
        let data: Vec<u8> = self.wire.seen.drain(..end + mark.len()).collect();
        assert_is_data_set(&data[..end]);
    }

    /// What others write comes through, and the master hears what the replica says.
    fn follow(&mut self, server: &Server) {
        let mut other = server.client();
        assert!(other.cmd(&["SET", "from", "master"]).is_ok());
        self.wait_stream("SET from master");
        if self.offset.is_none() {
            return;
        }
        // Nothing is acknowledged of this one, so the master has to ask.
        assert!(other.cmd(&["SET", "again", "x"]).is_ok());
        other.send_cmd(&["WAIT", "1", "0"]);
        self.wait_stream("REPLCONF GETACK *");
        self.acknowledge();
        assert_eq!(other.read_reply().integer(), 1, "the acknowledgement reaches the master");
    }

    fn wait_stream(&mut self, line: &str) {
        let wanted = command(line);
        let there = |seen: &[u8]| seen.windows(wanted.len()).any(|w| w == wanted);
        wait_until(line, || {
            // A master that sent no file waits for a sign that its replica is ready, from some moment on.
            self.acknowledge();
            self.wire.wait_for(Duration::from_millis(50), there)
        });
    }

    fn acknowledge(&mut self) {
        let offset = self.offset.unwrap_or_default() + self.wire.seen.len();
        self.wire.send(&encode(&["REPLCONF", "ACK", &offset.to_string()]));
    }

    fn head(&self) -> String {
        show(&self.wire.seen[..self.wire.seen.len().min(HEADER_MAX)])
    }
}

fn assert_is_data_set(bytes: &[u8]) {
    let head = &bytes[..bytes.len().min(10)];
    assert!(head.starts_with(b"REDIS0") || head.starts_with(b"VALKEY"), "{}", show(head));
}
