//! Much of it: big values, long pipelines, and clients that say early that they will send no more.

use std::thread;
use std::time::Duration;

use testkit::{BusyScript, Client, Flavor, Proxy, Server, busy_lua, encode};

use crate::e2e::{
    ENDLESS, SOON, Wire, command, make_busy, on_every_server, pipeline, ready, release, show, start_proxy,
};

const MIB: usize = 1 << 20;
const BUSY: Duration = Duration::from_millis(400);
/// Empty loops that go with each look at the clock. A server reads its clients each 100,000 instructions of a script, and
/// no more than some 100 KB of each: without them a big command would take many seconds.
const LOOPS: &str = "do for _ = 1, 1000 do end end";
/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(50);

on_every_server!(
    values_of_1_and_20_mib,
    a_value_of_100_mib,
    a_value_of_100_mib_while_busy,
    aggregates_with_many_elements,
    ten_thousand_commands,
    ten_thousand_commands_while_busy,
    a_few_commands_and_no_more,
    ten_thousand_commands_and_no_more,
    ten_thousand_commands_and_no_more_in_resp3,
    replies_are_read_late,
    no_reply_is_read_before_all_is_sent,
);

fn values_of_1_and_20_mib(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    for size in [MIB, 20 * MIB] {
        passes_both_ways(&mut Client::connect(server.address()), "direct", size);
        passes_both_ways(&mut Client::connect(proxy.address()), "proxied", size);
    }
    assert_same_value(&server, "direct", "proxied");
}

fn a_value_of_100_mib(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    passes_both_ways(&mut Client::connect(proxy.address()), "k", 100 * MIB);
}

fn a_value_of_100_mib_while_busy(flavor: Flavor) {
    const SIZE: usize = 100 * MIB;
    let server = Server::start(flavor);
    // Made before, so that it does not take the time of the script.
    let set = encode(&[b"SET", b"k".as_slice(), &value(SIZE)]);
    let proxy = start_proxy(&server, &[]);
    let reply = held_to_the_end(&server, &proxy, ready(proxy.address()), &set);
    assert_eq!(show(&reply), "+OK\\r\\n");
    // The reading half on a connection that has not said a word.
    let proxy = start_proxy(&server, &[]);
    let reply = held_to_the_end(&server, &proxy, Client::connect(proxy.address()), &encode(&["GET", "k"]));
    assert_is_value(&reply, SIZE);
}

/// Sends the first command that the proxy sees rejected, ends the script when it is held, and gives back the reply.
fn held_to_the_end(server: &Server, proxy: &Proxy, mut client: Client, command: &[u8]) -> Vec<u8> {
    let script = BusyScript::start_lua(server.address(), &busy_lua().replace("do end", LOOPS), ENDLESS);
    script.wait_until_busy(server.address());
    client.send(command);
    // Redis 6.2 takes seconds to read 100 MiB while it is busy.
    proxy.wait_log("commands are held", SOON * 2);
    let early = client.try_read_frame(A_WHILE);
    assert!(early.is_none(), "answered while the server is busy: {}", show(&early.unwrap_or_default()));
    release(server, script);
    client.read_frame()
}

fn passes_both_ways(client: &mut Client, key: &str, size: usize) {
    let set = encode(&[b"SET", key.as_bytes(), &value(size)]);
    let replies = client.exchange(&[set, encode(&["GET", key])].concat(), 2);
    assert_eq!(show(&replies[0]), "+OK\\r\\n");
    assert_is_value(&replies[1], size);
}

/// Not the same everywhere, so that a piece in the wrong place is seen; with line ends inside.
fn value(size: usize) -> Vec<u8> {
    (0..size).map(|n| if n % 1000 == 998 { b'\r' } else { (n / 7 % 251) as u8 }).collect()
}

fn assert_is_value(reply: &[u8], size: usize) {
    let header = format!("${size}\r\n");
    assert!(reply.starts_with(header.as_bytes()), "{}", show(&reply[..reply.len().min(100)]));
    assert!(reply[header.len()..reply.len() - 2] == value(size), "the value of {size} bytes differs");
}

fn assert_same_value(server: &Server, one: &str, other: &str) {
    let mut client = server.client();
    let (one, other) = (client.cmd(&["GET", one]), client.cmd(&["GET", other]));
    assert!(one == other, "the values differ");
}

fn aggregates_with_many_elements(flavor: Flavor) {
    const COUNT: usize = 20_000;
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let numbers: Vec<_> = (0..COUNT).map(|n| n.to_string()).collect();
    let with = |head: &[&str]| -> Vec<u8> {
        let words = head.iter().copied().chain(numbers.iter().map(String::as_str));
        encode(&words.collect::<Vec<_>>())
    };
    let commands = [
        encode(&["HELLO", "3"]),
        with(&["RPUSH", "l"]),
        with(&["SADD", "s"]),
        with(&["HSET", "h"]),
        with(&["MSET"]),
        with(&["MGET"]),
        with(&["SUBSCRIBE"]),
        encode(&["LRANGE", "l", "0", "-1"]),
        encode(&["SMEMBERS", "s"]),
        encode(&["HGETALL", "h"]),
    ];
    // HELLO tells the client's id, which differs.
    let frames = commands.len() - 1 + COUNT;
    let play = |address: &str| Client::connect(address).exchange(&commands.concat(), frames).split_off(1);
    let direct = play(server.address());
    assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    assert!(direct == play(proxy.address()), "the replies differ");
}

/// Commands of many kinds, and their replies on a quiet server.
fn mixture(server: &Server, count: usize) -> (Vec<u8>, Vec<u8>) {
    let lines = [
        "INCR n",
        "SET k 'some value'",
        "GET k",
        "LPUSH l x",
        "NOSUCH x",
        "LLEN l",
        "GET nothing",
        "ECHO hi",
    ];
    let commands = pipeline(&lines).repeat(count / lines.len());
    let replies = server.client().exchange(&commands, count).concat();
    assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    (commands, replies)
}

fn ten_thousand_commands(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let (commands, direct) = mixture(&server, 10_000);
    let proxied = Client::connect(proxy.address()).exchange(&commands, 10_000).concat();
    assert_equal(&proxied, &direct);
}

fn ten_thousand_commands_while_busy(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let (commands, direct) = mixture(&server, 10_000);
    let mut clients = [ready(proxy.address()), Client::connect(proxy.address())];
    let script = make_busy(&server, BUSY);
    let proxied = clients[0].exchange(&commands, 10_000).concat();
    assert_equal(&proxied, &direct);
    script.join();
    // The same on a connection that was made before and has not said a word.
    assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    let script = make_busy(&server, BUSY);
    let proxied = clients[1].exchange(&commands, 10_000).concat();
    assert_equal(&proxied, &direct);
    script.join();
}

/// As `printf … | nc` does it: the end of the client's bytes is there before anything is known of the server.
fn a_few_commands_and_no_more(flavor: Flavor) {
    let server = Server::start(flavor);
    for count in [1, 2, 5, 200] {
        let proxy = start_proxy(&server, &[]);
        let got = replies_after_half_close(proxy.address(), &command("ECHO x").repeat(count));
        assert_equal(&got, &b"$1\r\nx\r\n".repeat(count));
        // What the server has to say to the last one counts, too.
        let got =
            replies_after_half_close(proxy.address(), &[command("ECHO x"), b"*x\r\n".to_vec()].concat());
        assert_equal(&got, b"$1\r\nx\r\n-ERR Protocol error: invalid multibulk length\r\n");
    }
}

/// A client that shuts down its sending half at once still gets all replies, and then the end.
fn ten_thousand_commands_and_no_more(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let (commands, direct) = mixture(&server, 10_000);
    assert_equal(&replies_after_half_close(server.address(), &commands), &direct);
    assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    assert_equal(&replies_after_half_close(proxy.address(), &commands), &direct);
}

fn ten_thousand_commands_and_no_more_in_resp3(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let lines = ["HSET h f v", "HGETALL h", "GET nothing", "SUBSCRIBE a", "PUBLISH a x", "UNSUBSCRIBE a"];
    let commands = [encode(&["HELLO", "3"]), pipeline(&lines).repeat(1500)].concat();
    let play = |address: &str| {
        let replies = replies_after_half_close(address, &commands);
        // HELLO tells the client's id, which differs.
        let begin = replies.windows(6).position(|w| w == b":1\r\n%1").expect("the reply to HSET");
        replies[begin..].to_vec()
    };
    let direct = play(server.address());
    assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    assert_equal(&play(proxy.address()), &direct);
}

fn replies_after_half_close(address: &str, commands: &[u8]) -> Vec<u8> {
    let mut wire = Wire::connect(address);
    let mut sender = wire.sender();
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(commands);
            sender.half_close();
        });
        assert!(wire.wait_closed(SOON), "not closed; so far {} bytes", wire.seen.len());
    });
    wire.take()
}

/// More replies than any buffer takes, read only when the server is through with them.
fn replies_are_read_late(flavor: Flavor) {
    const TIMES: usize = 200;
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let value = value(MIB / 4);
    server.client().cmd(&[&b"SET"[..], b"k", &value]);
    let mut client = Client::connect(proxy.address());
    client.send(&pipeline(&["GET k", "INCR n"]).repeat(TIMES));
    // Another client is not in the way, and sees when the server has begun.
    let mut other = ready(proxy.address());
    crate::e2e::wait_until("the server began", || other.cmd(&["GET", "n"]) != testkit::Reply::Null);
    for n in (1..).take(TIMES) {
        assert!(client.read_reply() == testkit::Reply::Bulk(value.clone()), "the value differs");
        assert_eq!(client.read_reply().integer(), n);
    }
}

/// Many clients send a pipeline so, and a server takes it whatever it answers.
fn no_reply_is_read_before_all_is_sent(flavor: Flavor) {
    const COMMANDS: usize = 20_000;
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let value = value(1000);
    let mut client = Client::connect(proxy.address());
    client.send(&encode(&[b"SET", b"k".as_slice(), &value, b"GET"]).repeat(COMMANDS));
    assert_eq!(client.read_reply(), testkit::Reply::Null);
    for _ in 1..COMMANDS {
        assert!(client.read_reply() == testkit::Reply::Bulk(value.clone()), "the value differs");
    }
}

/// The proxy has read them by then, and the client takes its time.
#[test]
fn replies_come_though_the_server_has_closed_long_before() {
    const COMMANDS: usize = 40_000;
    let server = Server::start(Flavor::Redis70);
    let proxy = start_proxy(&server, &[]);
    let value = value(1000);
    let set = encode(&[b"SET", b"k".as_slice(), &value, b"GET"]);
    let mut client = Client::connect(proxy.address());
    // What is behind QUIT stays with the proxy, which therefore reads on.
    client.send(&[set.repeat(COMMANDS), command("QUIT"), set.repeat(300)].concat());
    for at in 0..COMMANDS {
        if at % 2000 == 0 {
            thread::sleep(Duration::from_millis(100));
        }
        let expected = if at == 0 { testkit::Reply::Null } else { testkit::Reply::Bulk(value.clone()) };
        assert!(client.read_reply() == expected, "reply {at} differs");
    }
    assert_eq!(show(&client.read_frame()), "+OK\\r\\n");
    assert!(client.read_to_end(SOON).is_empty());
}

fn assert_equal(got: &[u8], expected: &[u8]) {
    let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let near = |bytes: &[u8]| show(&bytes[same.saturating_sub(60)..bytes.len().min(same + 60)]);
    assert!(
        got == expected,
        "{} bytes instead of {}, different from byte {same} on:\n  expected …{}\n  got      …{}",
        got.len(),
        expected.len(),
        near(expected),
        near(got)
    );
}
