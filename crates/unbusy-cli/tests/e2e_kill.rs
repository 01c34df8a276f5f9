//! What ends a script, or the server, acts at once while everybody else is held.
#[path = "e2e/mod.rs"]
mod e2e;

use std::time::{Duration, Instant};

use testkit::{BusyScript, Client, Flavor, Proxy, Reply, Server, busy_lua, encode};

use e2e::{
    SOON, Wire, busy_text, command, make_busy, on_every_server, pipeline, ready, show, start_proxy,
    wait_until,
};

const AT_ONCE: Duration = Duration::from_millis(200);
/// Longer than any test: only a kill ends it.
const LONG: Duration = Duration::from_secs(60);
const PASSWORD: &str = "secret";

on_every_server!(
    script_kill,
    script_kill_with_password,
    script_kill_of_a_script_that_came_through_the_proxy,
    script_kill_behind_a_held_command_waits_for_it,
    refused_kills,
    a_script_that_has_written,
    function_kill_and_stats,
    shutdown,
);

/// Everybody who is held gets an answer when the kill has worked.
struct Held(Vec<Client>);

impl Held {
    fn hold(proxy: &Proxy, count: usize) -> Self {
        let mut clients: Vec<_> = (0..count).map(|_| Client::connect(proxy.address())).collect();
        for client in &mut clients {
            client.send_cmd(&["INCR", "held"]);
        }
        clients.iter_mut().for_each(assert_held);
        Self(clients)
    }

    fn assert_answered(self, server: &Server) {
        let count = self.0.len();
        let mut replies: Vec<_> =
            self.0.into_iter().map(|mut client| client.read_reply().integer()).collect();
        replies.sort_unstable();
        assert!((1..).zip(&replies).all(|(n, reply)| n == *reply), "{replies:?}");
        assert_eq!(server.client().cmd(&["GETSET", "held", "0"]).text(), count.to_string());
    }
}

fn assert_held(client: &mut Client) {
    let early = client.try_read_frame(Duration::from_millis(20));
    assert_eq!(early, None, "answered while the server is busy");
}

/// Sends bytes and takes the last of the replies, which must be there at once.
fn at_once(client: &mut Client, bytes: &[u8], frames: usize) -> Vec<u8> {
    let begin = Instant::now();
    client.send(bytes);
    let reply = (0..frames).map(|_| client.read_frame()).last().expect("a reply");
    let took = begin.elapsed();
    assert!(took < AT_ONCE, "{} was answered after {took:?}", show(bytes));
    reply
}

fn script_kill(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    // On a connection that has done something, and on new ones, with what clients say first.
    let ways: [(&str, bool, Vec<u8>, usize); 6] = [
        ("ready", true, command("SCRIPT KILL"), 1),
        ("new", false, command("SCRIPT KILL"), 1),
        ("new, inline", false, b"script kill\r\n".to_vec(), 1),
        ("new, behind HELLO", false, pipeline(&["HELLO 3", "SCRIPT KILL"]), 2),
        ("new, behind HELLO with a name", false, pipeline(&["HELLO 2 SETNAME me", "SCRIPT KILL"]), 2),
        ("ready, behind HELLO", true, pipeline(&["HELLO 3", "SCRIPT KILL"]), 2),
    ];
    for (way, is_ready, bytes, frames) in ways {
        let mut killer = is_ready.then(|| ready(proxy.address()));
        let script = make_busy(&server, LONG);
        let held = Held::hold(&proxy, 3);
        let mut killer = killer.take().unwrap_or_else(|| Client::connect(proxy.address()));
        assert_eq!(show(&at_once(&mut killer, &bytes, frames)), "+OK\\r\\n", "{way}");
        assert!(script.join().0.starts_with(b"-ERR "), "{way}: the script was killed");
        held.assert_answered(&server);
    }
}

fn script_kill_with_password(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let mut control = server.client();
    let mut script = server.client();
    assert!(control.cmd(&["CONFIG", "SET", "requirepass", PASSWORD]).is_ok());
    script.cmd(&["AUTH", PASSWORD]);
    let ways = [
        pipeline(&["AUTH secret", "SCRIPT KILL"]),
        pipeline(&["AUTH default secret", "SCRIPT KILL"]),
        pipeline(&["HELLO 3 AUTH default secret", "SCRIPT KILL"]),
    ];
    for way in ways {
        script.send_cmd(&["EVAL", busy_lua(), "0", "60000"]);
        wait_until("the server is busy", || control.cmd(&["PING"]).is_busy());
        let mut killer = Client::connect(proxy.address());
        assert_eq!(show(&at_once(&mut killer, &way, 2)), "+OK\\r\\n", "{}", show(&way));
        assert!(script.read_reply().error().is_some());
        // Without the password it is the server that refuses, as at once.
        let refused = at_once(&mut Client::connect(proxy.address()), &command("SCRIPT KILL"), 1);
        assert!(refused.starts_with(b"-NOAUTH "), "{}", show(&refused));
    }
}

fn script_kill_of_a_script_that_came_through_the_proxy(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let script = BusyScript::start(proxy.address(), LONG);
    script.wait_until_busy(server.address());
    let held = Held::hold(&proxy, 3);
    let mut killer = Client::connect(proxy.address());
    assert_eq!(show(&at_once(&mut killer, &command("SCRIPT KILL"), 1)), "+OK\\r\\n");
    assert!(script.join().0.starts_with(b"-ERR "));
    held.assert_answered(&server);
}

/// The order of one connection counts more: a kill never overtakes.
fn script_kill_behind_a_held_command_waits_for_it(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let mut client = ready(proxy.address());
    let script = make_busy(&server, Duration::from_millis(400));
    client.send(&pipeline(&["INCR n", "SCRIPT KILL", "INCR n"]));
    assert_held(&mut client);
    assert_eq!(script.join().0, b":1\r\n", "not killed");
    assert_eq!(client.read_reply().integer(), 1);
    assert!(client.read_frame().starts_with(b"-NOTBUSY "));
    assert_eq!(client.read_reply().integer(), 2);
}

/// What the server says to a kill is passed on, whatever it is, and never said again.
fn refused_kills(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let mut control = server.client();
    assert!(
        control
            .cmd(&["ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-script", "-shutdown"])
            .is_ok()
    );
    let idle = at_once(&mut Client::connect(proxy.address()), &command("SCRIPT KILL"), 1);
    assert!(idle.starts_with(b"-NOTBUSY "), "{}", show(&idle));

    let script = make_busy(&server, LONG);
    let held = Held::hold(&proxy, 2);
    // Each is said twice to the server itself and once through the proxy.
    let limited = pipeline(&["AUTH limited pw", "SCRIPT KILL"]);
    let mut questions = vec![
        (limited, 2),
        (command("SHUTDOWN"), 1),
        (command("SHUTDOWN SAVE"), 1),
        (command("SHUTDOWN BADWORD"), 1),
        (command("SCRIPT KILL now"), 1),
    ];
    if flavor != Flavor::Redis62 {
        questions
            .extend(["FUNCTION KILL", "FUNCTION STATS", "SHUTDOWN ABORT"].map(|line| (command(line), 1)));
    }
    for (bytes, frames) in questions {
        let direct = at_once(&mut server.client(), &bytes, frames);
        let proxied = at_once(&mut Client::connect(proxy.address()), &bytes, frames);
        assert_eq!(show(&proxied), show(&direct), "{}", show(&bytes));
        assert!(direct.starts_with(b"-"), "{}", show(&direct));
    }
    assert_eq!(
        show(&at_once(&mut Client::connect(proxy.address()), &command("SCRIPT KILL"), 1)),
        "+OK\\r\\n"
    );
    script.join();
    held.assert_answered(&server);
}

fn a_script_that_has_written(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let lua = format!("redis.call('SET', 'written', 1) {}", busy_lua());
    let lua = format!("if redis.replicate_commands then redis.replicate_commands() end {lua}");
    let mut script = server.client();
    script.send_cmd(&["EVAL", &lua, "0", "500"]);
    testkit::wait_until_busy(server.address());
    let held = Held::hold(&proxy, 2);
    let refused = at_once(&mut Client::connect(proxy.address()), &command("SCRIPT KILL"), 1);
    assert!(refused.starts_with(b"-UNKILLABLE "), "{}", show(&refused));
    assert_eq!(script.read_reply(), Reply::Integer(1));
    held.assert_answered(&server);
}

fn function_kill_and_stats(flavor: Flavor) {
    if flavor == Flavor::Redis62 {
        return;
    }
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let library =
        format!("#!lua name=lib\nredis.register_function('slow', function(KEYS, ARGV) {} end)", busy_lua());
    assert_eq!(server.client().cmd(&["FUNCTION", "LOAD", &library]).text(), "lib");
    for through_proxy in [false, true] {
        let mut killer = ready(proxy.address());
        let mut caller = Client::connect(if through_proxy { proxy.address() } else { server.address() });
        caller.send_cmd(&["FCALL", "slow", "0", "60000"]);
        testkit::wait_until_busy(server.address());
        let held = Held::hold(&proxy, 3);

        for client in [&mut killer, &mut Client::connect(proxy.address())] {
            let stats = at_once(client, &command("FUNCTION STATS"), 1);
            let text = show(&stats);
            assert!(
                text.contains("running_script") && text.contains("slow") && text.contains("60000"),
                "{text}"
            );
        }
        let mut new = Client::connect(proxy.address());
        let stats = at_once(&mut new, &pipeline(&["HELLO 3", "FUNCTION STATS"]), 2);
        assert!(stats.starts_with(b"%"), "{}", show(&stats));
        // The other kill says that it is the wrong one.
        let wrong = at_once(&mut killer, &command("SCRIPT KILL"), 1);
        assert_eq!(show(&wrong), show(&at_once(&mut server.client(), &command("SCRIPT KILL"), 1)));
        assert!(wrong.starts_with(b"-BUSY "), "{}", show(&wrong));

        let killer = if through_proxy { &mut killer } else { &mut new };
        assert_eq!(show(&at_once(killer, &command("FUNCTION KILL"), 1)), "+OK\\r\\n");
        assert!(caller.read_reply().error().is_some_and(|e| e.contains("killed by user")));
        held.assert_answered(&server);
    }
}

fn shutdown(flavor: Flavor) {
    for (is_ready, before) in [(true, None), (false, None), (false, Some("HELLO 3"))] {
        let server = Server::start(flavor);
        let proxy = start_proxy(&server, &[]);
        let mut wire = Wire::connect(proxy.address());
        if is_ready {
            wire.send(&command("PING"));
            assert!(wire.wait_for(SOON, |seen| seen == b"+PONG\r\n"));
        }
        wire.take();
        let mut direct = Wire::connect(server.address());
        let _script = make_busy(&server, LONG);
        let mut held = Wire::connect(proxy.address());
        held.send(&command("INCR n"));
        assert!(!held.wait_for(Duration::from_millis(20), |seen| !seen.is_empty()), "held");

        let begin = Instant::now();
        let hello = before.map(command).unwrap_or_default();
        wire.send(&[hello, encode(&["SHUTDOWN", "NOSAVE"])].concat());
        assert!(direct.wait_closed(SOON), "the server ends");
        assert!(wire.wait_closed(SOON), "the client of the server that ended is closed");
        assert!(begin.elapsed() < AT_ONCE, "it took {:?}", begin.elapsed());
        assert!(before.is_some() || wire.seen.is_empty(), "no reply, but {}", show(&wire.seen));
        assert!(held.wait_closed(SOON), "what is held follows the fate of its connection");
        assert!(!held.seen.starts_with(b":"), "{}", show(&held.seen));
    }
}

/// Not a test of the proxy: the text that the others rely on.
#[test]
fn the_servers_say_busy() {
    for flavor in Flavor::ALL {
        assert!(busy_text(&Server::start(flavor)).ends_with(b"SHUTDOWN NOSAVE.\r\n"));
    }
}
