//! The admin endpoint: what it tells of a real episode, that it describes what it tells, and that nobody who uses or misuses it
//! is noticed by the proxy's clients.
mod admin;
mod e2e_support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use admin::{Endpoint, Listener};
use e2e_support::{PATIENCE, on_every_server, proxy, proxy_to, wait_until};
use serde_json::Value;
use testkit::{Client, Flavor, Server, busy_lua, encode, wait_until_busy};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];
/// Longer than any test: it is killed.
const SCRIPT_MILLIS: &str = "60000";

#[test]
fn an_episode_is_seen_while_it_lasts_and_afterwards() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy(&server, &ADMIN);
        let endpoint = Endpoint::of(&proxy);
        let mut events = Listener::to(&endpoint);
        assert_eq!(endpoint.count("unbusy_busy"), 0);
        assert_eq!(endpoint.state()["state"], "open");

        let sha = server.client().cmd(&["SCRIPT", "LOAD", busy_lua()]).text();
        let (mut runner, mut waiter) = (Client::connect(proxy.address()), Client::connect(proxy.address()));
        let begin = Instant::now();
        runner.send_cmd(&["EVALSHA", &sha, "0", SCRIPT_MILLIS]);
        wait_until_busy(server.address());
        waiter.send(&encode(&["INCR", "n"]).repeat(10));
        let mut state = Value::Null;
        wait_until("the script is named", || {
            state = endpoint.state();
            assert_ne!(state["counters"]["episodes_ended"], 1, "{flavor}: over before it was seen: {state}");
            state["busy"]["script"] == sha && state["held_commands"] == 10
        });
        assert_eq!(state["state"], "busy", "{flavor}: {state}");
        assert_eq!(state["busy"]["client"], runner.local_address(), "{flavor}: {state}");
        assert_eq!(state["held_connections"], 1, "{flavor}: {state}");
        assert_eq!(endpoint.count("unbusy_busy"), 1, "{flavor}");
        assert_eq!(endpoint.count("unbusy_held_commands"), 10, "{flavor}");
        assert!(endpoint.metric("unbusy_busy_seconds_total") > 0.0, "{flavor}");
        events.wait("state", |state| state["busy"]["script"] == sha);

        assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
        let replies: Vec<_> = (0..10).map(|_| waiter.read_reply()).collect();
        assert!(replies.iter().all(|reply| reply.error().is_none()), "{flavor}: {replies:?}");
        let told = events.wait("episodes", |_| true);
        wait_until("the episode is over", || endpoint.count("unbusy_busy") == 0);
        let state = endpoint.state();
        assert_eq!((&state["state"], &state["busy"]), (&"open".into(), &Value::Null), "{flavor}: {state}");
        assert_eq!(state["episodes"], told, "{flavor}");
        let episode = &state["episodes"][0];
        assert_eq!(episode["script"], sha, "{flavor}: {episode}");
        let numbers = ["number", "connections", "commands", "given_up"].map(|name| episode[name].as_u64());
        assert_eq!(numbers, [Some(1), Some(1), Some(10), Some(0)], "{flavor}: {episode}");
        let lasted = Duration::from_millis(episode["lasted_ms"].as_u64().expect("a number"));
        assert!(!lasted.is_zero() && lasted < begin.elapsed(), "{flavor}: {episode}");

        assert_eq!(endpoint.count("unbusy_episodes_total{cause=\"script\"}"), 1, "{flavor}");
        assert_eq!(endpoint.count("unbusy_wait_seconds_count{for=\"busy\"}"), 1, "{flavor}");
        let wait = endpoint.metric("unbusy_wait_seconds_sum{for=\"busy\"}");
        assert!(wait > 0.0 && wait < begin.elapsed().as_secs_f64(), "{flavor}: {wait}");
        assert!(endpoint.count("unbusy_rejected_total") >= 1, "{flavor}");
        assert_eq!(endpoint.count("unbusy_scripts_total"), 1, "{flavor}");
        assert_eq!(endpoint.count("unbusy_client_connections"), 2, "{flavor}");
        let bytes = endpoint.count("unbusy_sent_bytes_total{to=\"clients\"}");
        let expected = replies.iter().map(|reply| format!(":{}\r\n", reply.integer()).len()).sum::<usize>();
        assert!(runner.read_reply().error().is_some(), "{flavor}: it was killed");
        assert!(bytes >= expected as u64, "{flavor}: {bytes} of {expected}");
    }
}

/// Many scripts, none of which makes the server busy, may still keep it from everybody else.
#[test]
fn a_storm_of_short_scripts_is_seen_by_what_they_cost() {
    const COSTLY: &str = "for i = 1, ARGV[1] * 100 do end return KEYS[1]";
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy(&server, &ADMIN);
        let endpoint = Endpoint::of(&proxy);
        let (mut first, mut second) = (Client::connect(proxy.address()), Client::connect(proxy.address()));
        let began = Instant::now();
        let sha = first.cmd(&["SCRIPT", "LOAD", COSTLY]).text();
        for _ in 0..10 {
            // The argument makes 6 million rounds of it, some 20 ms.
            assert_eq!(first.cmd(&["EVALSHA", &sha, "1", "hidden-key", "60123"]).text(), "hidden-key");
            assert_eq!(second.cmd(&["EVAL", "return 1", "0"]).integer(), 1);
        }
        let took = began.elapsed();
        let told = || serde_json::from_str::<Value>(&endpoint.get("/api/scripts").body).expect("JSON");
        // The client has its answer a moment before that is written down.
        wait_until("the last answer in the ledger", || {
            told()["scripts"]
                .as_array()
                .is_some_and(|scripts| scripts.iter().all(|script| script["runs"] == 10))
        });
        let (told, metrics) = (told(), endpoint.get("/metrics").body);
        let [costly, cheap] = told["scripts"].as_array().expect("a list").as_slice() else {
            panic!("{flavor}: two scripts, not {told}")
        };
        assert_eq!((&costly["script"], &costly["text"]), (&sha.as_str().into(), &COSTLY.into()), "{flavor}");
        assert_eq!(cheap["text"], "return 1", "{flavor}");
        assert_eq!((&costly["runs"], &cheap["runs"]), (&10.into(), &10.into()), "{flavor}");
        let blocked = |script: &Value| script["blocked_ms"].as_f64().expect("a number") / 1000.0;
        assert!(blocked(costly) > blocked(cheap), "{flavor}: {told}");
        assert!(blocked(costly) + blocked(cheap) <= took.as_secs_f64(), "{flavor}: {told} in {took:?}");
        let sample = format!("unbusy_script_blocked_seconds_count{{script=\"{sha}\"}}");
        assert_eq!(endpoint.count(&sample), 10, "{flavor}");
        for secret in ["hidden-key", "60123"] {
            assert!(
                !told.to_string().contains(secret) && !metrics.contains(secret),
                "{flavor}: {told} {metrics}"
            );
        }
    }
}

/// Readiness is about the proxy's clients, whom a busy server does not keep from being served.
#[test]
fn ready_is_who_can_serve() {
    let server = Server::start(Flavor::Redis70);
    let mut proxy = proxy(&server, &ADMIN);
    let endpoint = Endpoint::of(&proxy);
    assert_eq!(endpoint.get("/healthz").status, 200);
    assert_eq!(endpoint.get("/readyz").status, 200);

    let mut runner = server.client();
    runner.send_cmd(&["EVAL", busy_lua(), "0", SCRIPT_MILLIS]);
    wait_until_busy(server.address());
    let mut waiter = Client::connect(proxy.address());
    waiter.send_cmd(&["INCR", "n"]);
    wait_until("it waits", || endpoint.count("unbusy_held_connections") == 1);
    // What was known before is good for a second.
    std::thread::sleep(Duration::from_millis(1100));
    let ready = endpoint.get("/readyz");
    assert_eq!(ready.status, 200, "while busy: {ready:?}");

    proxy.terminate();
    let mut refused = endpoint.get("/readyz");
    wait_until("it drains", || {
        refused = endpoint.get("/readyz");
        refused.status == 503
    });
    assert!(refused.body.contains("draining"), "{refused:?}");
    assert_eq!(endpoint.get("/healthz").status, 200);
    assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
    assert!(waiter.read_reply().error().is_none());
    assert!(proxy.wait_exit(PATIENCE).success());

    let address = server.address().to_owned();
    drop(server);
    let proxy = proxy_to(&format!("redis://{address}"), &ADMIN);
    let refused = Endpoint::of(&proxy).get("/readyz");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains(&format!("cannot reach {address}")), "{refused:?}");
}

/// A page of somebody else's could have its own name lead to this machine.
#[test]
fn only_own_names_are_answered() {
    let server = Server::start(Flavor::Redis70);
    let status = |endpoint: &Endpoint, headers: &str| {
        endpoint.talk(&format!("GET /api/state HTTP/1.1\r\n{headers}\r\n")).status
    };
    let local = proxy(&server, &ADMIN);
    let local = Endpoint::of(&local);
    for own in ["localhost", "LOCALHOST:9380", "127.0.0.1", "127.0.0.1:80", "[::1]:80", "127.1.2.3"] {
        assert_eq!(status(&local, &format!("Host: {own}\r\n")), 200, "{own}");
    }
    for strange in
        ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", ""]
    {
        assert_eq!(status(&local, &format!("Host: {strange}\r\n")), 403, "{strange}");
    }
    assert_eq!(status(&local, ""), 403);
    assert_eq!(status(&local, "Host: evil.example\r\nX-Forwarded-Host: localhost\r\n"), 403);
    let remote = proxy(&server, &["--admin", "127.0.0.1:0", "--allow-remote"]);
    assert_eq!(status(&Endpoint::of(&remote), "Host: metrics.example\r\n"), 200);
}

/// What is no request, or a huge one.
fn malformed() -> Vec<Vec<u8>> {
    let long = "x".repeat(1 << 20);
    let head = "Host: localhost\r\n";
    let huge = [
        format!("GET / HTTP/1.1\r\n{head}X: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
        format!("POST / HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{long}", long.len()),
    ];
    let small: [&[u8]; 5] = [
        b"\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    small.into_iter().map(<[u8]>::to_vec).chain(huge.map(String::into_bytes)).collect()
}

#[test]
fn misuse_harms_nobody() {
    const SLOW: usize = 200;
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &ADMIN);
    let endpoint = Endpoint::of(&proxy);
    let mut client = Client::connect(proxy.address());
    let mut longest = Duration::ZERO;
    let mut sent = 0;
    let mut work = || {
        let begin = Instant::now();
        sent += 1;
        assert_eq!(client.cmd(&["INCR", "n"]).integer(), sent);
        longest = longest.max(begin.elapsed());
    };

    // Most send a little of a request, the others nothing, and all of them later a little more.
    let mut slow: Vec<_> = (0..SLOW).map(|_| endpoint.connect()).collect();
    for (at, connection) in slow.iter_mut().enumerate() {
        if at % 10 > 0 {
            connection.send(b"GET /metrics HTTP/1.1\r\nX-");
        }
        work();
    }
    assert_eq!(endpoint.get("/metrics").status, 200, "beside {SLOW} slow clients");

    for bytes in malformed() {
        let mut connection = endpoint.connect();
        connection.send(&bytes);
        let head = bytes.escape_ascii().take(60).collect::<Vec<_>>();
        let answer = connection.answer(PATIENCE);
        work();
        assert!(answer.is_none_or(|answer| answer.status >= 400), "{:?}", String::from_utf8_lossy(&head));
    }
    for (method, path, status) in [
        ("POST", "/metrics", 405),
        ("DELETE", "/api/state", 405),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/api", 404),
    ] {
        let answer = endpoint.talk(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(answer.status, status, "{method} {path}");
    }

    // Those that listen for long do not take all places either.
    let listeners: Vec<_> = (0..64).map(|_| Listener::try_to(&endpoint)).collect();
    assert_eq!(listeners.iter().flatten().count(), 32);
    assert_eq!(endpoint.get("/healthz").status, 200);
    drop(listeners);

    for connection in &mut slow {
        connection.send(b"y");
        assert!(
            connection.answer(PATIENCE).is_none_or(|answer| answer.status >= 400),
            "a slow client is sent away"
        );
        work();
    }
    wait_until("all places are free", || Listener::try_to(&endpoint).is_some());
    assert!(longest < Duration::from_secs(2), "a command took {longest:?}");
}

/// The word of a metric in a text about metrics, such as a query.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("unbusy_") || word.starts_with("process_")).map(Into::into).collect()
}

fn read(path: &str) -> String {
    let path = format!("{}/../../docs/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_metric_is_described_and_every_one_that_is_named_exists() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &ADMIN);
    let page = Endpoint::of(&proxy).get("/metrics").body;
    let announced = |what: &str| -> BTreeSet<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(what));
        lines.map(|line| line.split_whitespace().next().expect("a name").to_owned()).collect()
    };
    let (helps, types) = (announced("# HELP "), announced("# TYPE "));
    assert_eq!(helps, types);
    let mut samples = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        samples.insert(name.split('{').next().expect("a name").to_owned());
    }
    let family = |name: &String| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        histogram.filter(|family| types.contains(*family)).unwrap_or(name).to_owned()
    };
    assert_eq!(samples.iter().map(family).collect::<BTreeSet<_>>(), types);

    for file in ["monitoring/grafana-dashboard.json", "monitoring/alerts.yaml"] {
        let named = names_in(&read(file));
        assert!(named.len() > 5, "{file} names metrics");
        let unknown: Vec<_> = named.difference(&samples).collect();
        assert!(unknown.is_empty(), "{file} names what does not exist: {unknown:?}");
    }
    let table = names_in(&read("monitoring.md")).iter().map(family).collect::<BTreeSet<_>>();
    assert_eq!(
        types.difference(&table).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in docs/monitoring.md"
    );
    assert_eq!(
        table.difference(&types).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "only in docs/monitoring.md"
    );
    serde_json::from_str::<Value>(&read("monitoring/grafana-dashboard.json")).expect("JSON");
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../unbusy-proxy/src/admin/dashboard");

/// What the page is made of: the path and the text of each file.
fn dashboard() -> Vec<(String, String)> {
    let files = std::fs::read_dir(DASHBOARD).expect("the dashboard's files").map(|file| {
        let file = file.expect("a file");
        let name = file.file_name().into_string().expect("a name in UTF-8");
        let path = if name == "index.html" { "/".to_owned() } else { format!("/dashboard/{name}") };
        (path, std::fs::read_to_string(file.path()).expect("a text"))
    });
    files.collect()
}

#[test]
fn the_dashboard_is_served_and_loads_nothing_from_elsewhere() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &ADMIN);
    let endpoint = Endpoint::of(&proxy);
    for (path, text) in dashboard() {
        let answer = endpoint.get(&path);
        assert_eq!((answer.status, &answer.body), (200, &text), "{path}");
        let headers = [
            ("content-type", kind(&path)),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ];
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        // The name of SVG's vocabulary is no place from which anything is loaded.
        let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!has_origin(&text), "{path} refers to another origin");
    }
    let page = endpoint.get("/").body;
    for named in page.split(['"', '\'']).filter(|word| word.starts_with("dashboard/")) {
        assert_eq!(endpoint.get(&format!("/{named}")).status, 200, "{named}, which the page names");
    }
}

/// By which a browser tells what it is.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "js")) => JAVASCRIPT,
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

/// Whether a text names a place on another machine: `//` with a name behind it. Comments have a space there.
fn has_origin(text: &str) -> bool {
    text.split("//").skip(1).any(|rest| rest.starts_with(|first: char| first.is_ascii_alphanumeric()))
}

/// What the dashboard's scripts read of a state, and of an episode.
const STATE_FIELDS: [&str; 14] = [
    "started_ms",
    "now_ms",
    "version",
    "upstream",
    "listen",
    "state",
    "draining",
    "busy",
    "stalled_ms",
    "threshold_ms",
    "held_connections",
    "held_commands",
    "longest_wait_ms",
    "counters",
];
const COUNTERS: [&str; 5] = ["episodes", "busy_ms", "given_up", "holes", "ambiguous"];
const EPISODE_FIELDS: [&str; 10] = [
    "began_ms",
    "lasted_ms",
    "cause",
    "script",
    "client",
    "client_name",
    "user",
    "connections",
    "commands",
    "given_up",
];
const LOSS_FIELDS: [&str; 7] = ["at_ms", "command", "commands", "waited_ms", "client", "client_name", "user"];
const SCRIPT_FIELDS: [&str; 6] = ["script", "runs", "blocked_ms", "longest_ms", "last_ms", "text"];

fn assert_has_all(object: &Value, fields: &[&str]) {
    let missing: Vec<_> = fields.iter().filter(|field| object.get(field).is_none()).collect();
    assert!(missing.is_empty(), "no {missing:?} in {object}");
}

#[test]
fn what_the_dashboard_reads_is_there() {
    let scripts = dashboard().into_iter().filter(|(path, _)| kind(path) == JAVASCRIPT);
    let scripts: String = scripts.map(|(_, text)| text).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = scripts.split(|c| !is_word(c)).collect();
    let lists = [&STATE_FIELDS[..], &COUNTERS, &EPISODE_FIELDS, &SCRIPT_FIELDS, &LOSS_FIELDS].concat();
    // Both ways: a list that lags behind the scripts would prove nothing.
    let timely: BTreeSet<_> = words.iter().copied().filter(|word| word.ends_with("_ms")).collect();
    assert_eq!(timely.difference(&lists.iter().copied().collect()).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(lists.iter().all(|field| words.contains(field)), "the scripts read all of {lists:?}");

    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &ADMIN);
    let endpoint = Endpoint::of(&proxy);
    let mut events = Listener::to(&endpoint);
    let mut runner = server.client();
    runner.send_cmd(&["EVAL", busy_lua(), "0", "400"]);
    wait_until_busy(server.address());
    assert_eq!(Client::connect(proxy.address()).cmd(&["INCR", "n"]).integer(), 1);

    let state = events.wait("state", |state| state["busy"].is_object());
    assert_has_all(&state, &STATE_FIELDS);
    assert_has_all(&state["counters"], &COUNTERS);
    assert_has_all(&state["busy"], &EPISODE_FIELDS);
    let episodes = events.wait("episodes", |_| true);
    assert_has_all(&episodes[0], &[&EPISODE_FIELDS[..], &["number"]].concat());
    let whole = endpoint.state();
    assert_has_all(&whole, &[&STATE_FIELDS[..], &["episodes"]].concat());
    assert_has_all(&whole["episodes"][0], &[&EPISODE_FIELDS[..], &["number"]].concat());
    Client::connect(proxy.address()).cmd(&["EVAL", "return 1", "0"]);
    let scripts: Value = serde_json::from_str(&endpoint.get("/api/scripts").body).expect("JSON");
    assert_has_all(&scripts["scripts"][0], &SCRIPT_FIELDS);
}

#[test]
fn what_was_given_up_is_told_by_its_name() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &["--admin", "127.0.0.1:0", "--max-wait", "200ms"]);
    let endpoint = Endpoint::of(&proxy);
    let losses = || serde_json::from_str::<Value>(&endpoint.get("/api/given-up").body).expect("JSON");
    assert_eq!(losses()["given_up"], Value::Array(Vec::new()));
    let mut runner = server.client();
    runner.send_cmd(&["EVAL", busy_lua(), "0", "800"]);
    wait_until_busy(server.address());
    let mut hasty = Client::connect(proxy.address());
    hasty.send(&[encode(&["incr", "secret-key"]), encode(&["GET", "secret-key"])].concat());
    assert!(hasty.read_reply().is_busy());
    wait_until("what was given up", || losses()["given_up"][0].is_object());
    let told = losses();
    // What waited behind it may be told of apart, and later.
    let loss = told["given_up"].as_array().and_then(|all| all.last()).expect("one");
    assert_has_all(loss, &LOSS_FIELDS);
    assert_eq!(
        (&loss["command"], &loss["client"]),
        (&"INCR".into(), &hasty.local_address().into()),
        "{told}"
    );
    assert!(loss["waited_ms"].as_u64().is_some_and(|waited| waited >= 200), "{told}");
    assert!(!told.to_string().contains("secret"), "{told}");
    assert_eq!(runner.read_reply().integer(), 1);
}

#[test]
fn nothing_is_served_unless_it_is_asked_for() {
    on_every_server(|_, proxy| assert!(!proxy.log().contains("http"), "{}", proxy.log()));
}
