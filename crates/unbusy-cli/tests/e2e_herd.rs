//! A crowd that waits for the end of a script: it costs the server next to nothing while it waits, and everybody has
//! an answer when the script is over.
//!
//! The latencies are printed; `--nocapture` shows them.
mod e2e_support;

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use e2e_support::{alone, counter, on_every_server, proxy, quantile, wait_until};
use testkit::{BusyScript, Client, Flavor, Proxy, Server};

const CLIENTS: usize = 200;
const SCRIPT: Duration = Duration::from_secs(3);
const REJECTIONS_AT_MOST: u64 = 400;
/// When the reply of the script itself wakes everybody, only those that ask before the server is known to be busy
/// may be rejected.
const REJECTIONS_WITHOUT_POLLING: u64 = 20;
const ANSWERED_WITHIN: Duration = Duration::from_millis(50);
const SHARE: f64 = 0.99;

#[test]
fn a_direct_script_on_redis_6_2() {
    direct(Flavor::Redis62);
}

#[test]
fn a_direct_script_on_redis_7_0() {
    direct(Flavor::Redis70);
}

#[test]
fn a_direct_script_on_valkey_9_1() {
    direct(Flavor::Valkey91);
}

#[test]
fn a_script_through_the_proxy_wakes_without_polling() {
    let _alone = alone();
    on_every_server(|server, proxy| {
        let run = wait_for_script(server, proxy, proxy.address());
        run.report(&format!("{}, script through the proxy", server.flavor()));
        run.assert_all_answered_soon();
        assert!(run.rejections <= REJECTIONS_WITHOUT_POLLING, "{} rejections", run.rejections);
    });
}

/// The first answer that the proxy ever measures took as long as the stall; that says nothing about the line.
#[test]
fn a_stall_at_the_very_start_makes_nobody_wait_longer_later() {
    const THRESHOLD: Duration = Duration::from_millis(400);
    let _alone = alone();
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).threshold(THRESHOLD).start();
        let proxy = proxy(&server, &[]);
        let mut client = Client::connect(proxy.address());
        let stall = BusyScript::start(server.address(), THRESHOLD * 7 / 8);
        client.send_cmd(&["INCR", "k"]);
        assert_eq!(client.read_reply(), testkit::Reply::Integer(1));
        stall.join();
        let script = BusyScript::start(server.address(), THRESHOLD * 5 / 2);
        script.wait_until_busy(server.address());
        client.send_cmd(&["INCR", "k"]);
        let reply = client.read_reply();
        let answered = Instant::now();
        let (_, end) = script.join();
        assert_eq!(reply, testkit::Reply::Integer(2));
        let late = answered.saturating_duration_since(end);
        assert!(late <= ANSWERED_WITHIN, "{flavor}: answered only {late:?} after the script's end");
    }
}

/// Proxies that start together ask before the others have their connections.
#[test]
fn connections_that_came_soon_after_the_start_make_tries_rarer() {
    const OTHERS: usize = 500;
    const SCRIPT: Duration = Duration::from_secs(1);
    let _alone = alone();
    let server = Server::start(Flavor::Valkey91);
    let proxy = proxy(&server, &[]);
    wait_until("the proxy has asked", || calls_of_config(&server) > 0);
    let asked = calls_of_config(&server);
    let _others: Vec<_> = (0..OTHERS).map(|_| server.client()).collect();
    wait_until("the proxy has asked again", || calls_of_config(&server) > asked);
    let mut client = Client::connect(proxy.address());
    let before = server.rejections();
    let script = BusyScript::start(server.address(), SCRIPT);
    assert_eq!(client.cmd(&["INCR", "k"]), testkit::Reply::Integer(1));
    script.join();
    let rejections = server.rejections() - before;
    // A hundred if it knew of nobody else, one in 100 ms as it is.
    assert!((1..=30).contains(&rejections), "{rejections} rejections");
}

fn calls_of_config(server: &Server) -> u32 {
    let stats = server.client().cmd(&["INFO", "commandstats"]).text();
    let calls =
        stats.lines().find_map(|line| line.strip_prefix("cmdstat_config|get:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

fn direct(flavor: Flavor) {
    let _alone = alone();
    let server = Server::start(flavor);
    let run = wait_for_script(&server, &proxy(&server, &[]), server.address());
    run.report(&format!("{flavor}, direct script"));
    run.assert_all_answered_soon();
}

/// What a crowd has met.
struct Run {
    rejections: u64,
    /// From the script's end to each client's answer.
    latencies: Vec<Duration>,
}

/// Sends a script to `script_address`, then a command of each client through the proxy, and waits for all.
fn wait_for_script(server: &Server, proxy: &Proxy, script_address: &str) -> Run {
    let crowd = crowd(proxy);
    let rejections_before = server.rejections();
    let script = BusyScript::start(script_address, SCRIPT);
    // This costs one rejection, as it stops at the first.
    script.wait_until_busy(server.address());
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for mut client in crowd {
            let sender = sender.clone();
            scope.spawn(move || {
                client.send_cmd(&["INCR", "k"]);
                let reply = client.read_reply();
                sender.send((reply, Instant::now())).expect("the test waits for all");
            });
        }
    });
    let (_, end) = script.join();
    let answers: Vec<_> = receiver.try_iter().collect();
    assert!(answers.iter().all(|(reply, _)| reply.error().is_none()), "{:?}", answers[0]);
    assert_eq!(counter(&mut server.client(), "k"), CLIENTS);
    Run {
        rejections: server.rejections() - rejections_before,
        latencies: answers.iter().map(|(_, at)| at.saturating_duration_since(end)).collect(),
    }
}

fn crowd(proxy: &Proxy) -> Vec<Client> {
    (0..CLIENTS)
        .map(|_| {
            let mut client = Client::connect(proxy.address());
            assert_eq!(client.cmd(&["PING"]).text(), "PONG");
            client
        })
        .collect()
}

impl Run {
    #[expect(clippy::print_stdout, reason = "numbers for those who ask for them")]
    fn report(&self, what: &str) {
        println!(
            "{what}: {} rejections; answered after the script's end: first {:?}, median {:?}, 99% {:?}, last {:?}",
            self.rejections,
            quantile(&self.latencies, 0.0),
            quantile(&self.latencies, 0.5),
            quantile(&self.latencies, SHARE),
            quantile(&self.latencies, 1.0),
        );
    }

    fn assert_all_answered_soon(&self) {
        assert!(self.rejections <= REJECTIONS_AT_MOST, "{} rejections", self.rejections);
        let latency = quantile(&self.latencies, SHARE);
        assert!(latency <= ANSWERED_WITHIN, "99% have their answer only after {latency:?}");
    }
}
