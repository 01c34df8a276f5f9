//! `unbusy proxy` as a process: what it logs, how it ends.
mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Running, outcome, unbusy, with_own_environment};
use rustix::process::Signal;
use testkit::{Client, Flavor, ScriptedServer, Server, encode};

/// A server that answers every command with PONG.
fn server() -> ScriptedServer {
    ScriptedServer::start(|_, stream| pong_for_ever(stream))
}

fn pong_for_ever(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer) {
        if stream.write_all(b"+PONG\r\n").is_err() {
            return;
        }
    }
}

/// A server that never answers PING, and refuses everything else.
fn silent_server() -> ScriptedServer {
    ScriptedServer::start(|_, stream| {
        let mut peer = Client::from(stream);
        peer.set_timeout(common::SOON);
        while let Some(command) = peer.try_read_frame(common::SOON) {
            if command != encode(&["PING"]) {
                peer.send(b"-ERR not here\r\n");
            }
        }
    })
}

fn proxy(server: &ScriptedServer, args: &[&str]) -> Running {
    let mut command = unbusy(&["proxy", "--listen", "127.0.0.1:0", "--upstream", &server.url()]);
    Running::with_log(command.args(args))
}

fn address(listening: &str) -> &str {
    let place = listening.split_once("listening on ").expect("an address").1;
    place.split_whitespace().next().expect("an address")
}

#[test]
fn says_where_it_listens_and_stops_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = server();
        let mut proxy = proxy(&server, &[]);
        let line = proxy.line_with("listening on");
        let (_, words) = line.split_once(" INFO ").expect("a level");
        assert!(!words.contains(":0 "), "{words}");
        assert_eq!(words, format!("listening on {} upstream={}", address(words), server.url()));
        assert_eq!(Client::connect(address(words)).cmd(&["PING"]).text(), "PONG");
        proxy.signal(signal);
        proxy.line_with("waiting up to 30s for commands in flight or held");
        let rest = proxy.rest();
        assert!(rest.last().is_some_and(|line| line.ends_with("INFO stopped")), "{rest:#?}");
        assert!(!rest.iter().any(|line| line.contains("cut off")), "{rest:#?}");
        assert_eq!(proxy.exit().code(), Some(0));
    }
}

#[test]
fn logs_json_with_fields() {
    let server = server();
    let proxy = proxy(&server, &["--log-format", "json"]);
    let line = proxy.line_with("listening on");
    let listen = address(&line).split('"').next().expect("an address");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    for field in [
        format!(r#""message":"listening on {listen}""#),
        format!(r#""listen":"{listen}""#),
        format!(r#""upstream":"{}""#, server.url()),
        r#""level":"INFO""#.to_owned(),
    ] {
        assert!(line.contains(&field), "{field} is not in {line}");
    }
}

#[test]
fn every_signal_that_ends_it_does_so_in_good_order() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("unbusy.sock");
    let server = server();
    let listen = format!("--listen=unix:{}", socket.display());
    let args = ["proxy", &listen, "--upstream", &server.url()];
    for (name, signal) in [("HUP", Signal::HUP), ("QUIT", Signal::QUIT)] {
        let start = |option: &str| {
            let option = format!("--{option}-signal={name}");
            let mut command = with_own_environment("env", &[&option, env!("CARGO_BIN_EXE_unbusy")]);
            let proxy = Running::with_log(command.args(args));
            proxy.line_with("listening on");
            proxy.signal(signal);
            proxy
        };
        let mut proxy = start("default");
        proxy.line_with(&format!("SIG{name}: waiting up to 30s"));
        assert_eq!(proxy.exit().code(), Some(0));
        assert!(!socket.exists());
        // As `nohup` and shells start it.
        let mut proxy = start("ignore");
        if signal == Signal::HUP {
            assert_eq!(Client::connect_unix(&socket).cmd(&["PING"]).text(), "PONG");
            proxy.signal(Signal::TERM);
        }
        let told = proxy.line_with("waiting up to");
        assert_eq!(told.contains("SIGTERM"), signal == Signal::HUP, "{told}");
        assert_eq!(proxy.exit().code(), Some(0));
    }
}

#[test]
fn logs_durations_as_numbers() {
    let server = Server::builder(Flavor::Redis70).threshold(Duration::from_millis(1500)).start();
    let args = ["proxy", "--listen=127.0.0.1:0", "--log-format=json", "-v", "--upstream", &server.url()];
    let proxy = Running::with_log(&mut unbusy(&args));
    let line = proxy.line_with("the server's threshold");
    assert!(line.contains(r#""threshold_ms":1500,"#), "{line}");
}

#[test]
fn listens_where_a_variable_says() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("unbusy.sock");
    let server = server();
    let mut command = unbusy(&["proxy"]);
    command.env("UNBUSY_LISTEN", format!("127.0.0.1:0, unix:{}", socket.display()));
    let mut proxy = Running::with_log(command.env("UNBUSY_UPSTREAM", server.url()));
    assert_eq!(Client::connect(address(&proxy.line_with("listening on 127"))).cmd(&["PING"]).text(), "PONG");
    proxy.line_with("listening on unix:");
    assert_eq!(Client::connect_unix(&socket).cmd(&["PING"]).text(), "PONG");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().code(), Some(0));
    assert!(!socket.exists());
}

/// A client whose command is in flight.
fn waiting_client(proxy: &Running, server: &ScriptedServer) -> Client {
    let before = server.accepted();
    let mut client = Client::connect(address(&proxy.line_with("listening on")));
    client.send_cmd(&["PING"]);
    while server.accepted() == before {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(100));
    client
}

#[test]
fn the_socket_of_a_successor_is_left_to_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("unbusy.sock");
    let listen = format!("--listen=unix:{}", socket.display());
    let server = server();
    let start = || {
        let started = proxy(&server, &[&listen]);
        started.line_with("listening on unix:");
        started
    };
    let mut first = start();
    std::fs::remove_file(&socket).expect("its file");
    let mut second = start();
    first.signal(Signal::TERM);
    assert_eq!(first.exit().code(), Some(0));
    assert_eq!(Client::connect_unix(&socket).cmd(&["PING"]).text(), "PONG");
    second.signal(Signal::TERM);
    assert_eq!(second.exit().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn waits_for_what_is_in_flight_until_a_second_signal() {
    let server = silent_server();
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = unbusy(&["proxy", "--listen=127.0.0.1:0", "--busy-threshold=5s"]);
        // Or the test may lead the group, as `timeout` does.
        let mut proxy = Running::with_log(command.args(["--upstream", &server.url()]).process_group(0));
        let _client = waiting_client(&proxy, &server);
        proxy.signal(Signal::TERM);
        proxy.line_with("waiting up to");
        let second = Instant::now();
        proxy.signal(signal);
        proxy.line_with("the second signal");
        proxy.line_with("cut off while commands were in flight or held connections=1");
        assert_eq!(proxy.exit().code(), Some(0));
        assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    }
}

/// `timeout` signals the process and at once its group, too. Often the system makes one of both; not four times.
#[test]
fn the_two_signals_of_timeout_are_one() {
    let server = silent_server();
    let args = ["--preserve-status", "2", env!("CARGO_BIN_EXE_unbusy"), "proxy", "--listen=127.0.0.1:0"];
    let start = || {
        let mut command = with_own_environment("timeout", &args);
        let command = command.args(["--busy-threshold=5s", "--drain=1s", "--upstream", &server.url()]);
        let proxy = Running::with_log(command);
        let client = waiting_client(&proxy, &server);
        (proxy, client)
    };
    let proxies: Vec<_> = (0..4).map(|_| start()).collect();
    for (mut proxy, _client) in proxies {
        proxy.line_with("waiting up to");
        let rest = proxy.rest();
        assert!(!rest.iter().any(|line| line.contains("SIGTERM")), "{rest:#?}");
        assert!(rest.iter().any(|line| line.contains("connections=1")), "{rest:#?}");
        assert_eq!(proxy.exit().code(), Some(0));
    }
}

#[test]
fn never_logs_the_password() {
    let server = server();
    let upstream = server.url().replace("redis://", "redis://user:secret@");
    let mut command = unbusy(&["proxy", "--listen=127.0.0.1:0", "-vvv"]);
    let mut proxy = Running::with_log(command.env("UNBUSY_UPSTREAM", upstream));
    let line = proxy.line_with("listening on");
    assert!(line.contains(&format!("upstream={}", server.url())) && !line.contains("secret"), "{line}");
    Client::connect(address(&line)).cmd(&["PING"]);
    proxy.signal(Signal::TERM);
    let rest = proxy.rest();
    assert!(!rest.iter().any(|line| line.contains("secret")), "{rest:#?}");
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn goes_on_when_nobody_reads_its_log() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("unbusy.sock");
    let server = server();
    let mut command = unbusy(&["proxy", "-vv", "--upstream", &server.url()]);
    command.arg(format!("--listen=unix:{}", socket.display()));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut proxy = Running::with_output(command.stdin(Stdio::null()).stderr(writer));
    // Its path is there a moment before it listens.
    while UnixStream::connect(&socket).is_err() {
        assert!(proxy.is_running());
        std::thread::yield_now();
    }
    assert_eq!(Client::connect_unix(&socket).cmd(&["PING"]).text(), "PONG");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().code(), Some(0));
}

/// `unbusy proxy` in a shell that limits open files.
fn limited(ulimit: &str, clients: &str, server: &ScriptedServer) -> Running {
    let script =
        format!("ulimit {ulimit} && exec {} proxy --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_unbusy"));
    let mut command = with_own_environment("sh", &["-c", &script]);
    Running::with_log(command.env("UNBUSY_UPSTREAM", server.url()).env("UNBUSY_MAX_CONNECTIONS", clients))
}

#[test]
fn raises_the_limit_on_open_files_as_far_as_it_may() {
    let server = server();
    let proxy = limited("-Sn 200", "500", &server);
    proxy.line_with("listening on");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).expect("its limits");
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    assert_eq!(open_files.split_whitespace().nth(3), Some("1064"));

    let warning = limited("-n 264", "500", &server).line_with("open files");
    assert!(warning.contains("WARN") && warning.contains("room for 100 clients, not 500"), "{warning}");
}

/// The usual 10000 are nobody's wish.
#[test]
fn a_limit_on_open_files_is_warned_of_only_if_it_matters() {
    let server = server();
    for (ulimit, clients, warns) in [("-n 2064", "", false), ("-n 2062", "", true), ("-n 2064", "1001", true)]
    {
        let proxy = limited(ulimit, clients, &server);
        proxy.line_with("listening on");
        proxy.signal(Signal::TERM);
        let rest = proxy.rest();
        assert_eq!(
            rest.iter().any(|line| line.contains("open files")),
            warns,
            "{ulimit} {clients} {rest:#?}"
        );
    }
}

#[test]
fn an_address_in_use_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("an address").to_string();
    let (code, _, message) = outcome(&mut unbusy(&["proxy", "--listen", &taken]));
    assert_eq!(code, Some(1), "{message}");
    assert!(message.starts_with(&format!("error: cannot listen on {taken}: ")), "{message}");
    assert_eq!(message.matches("in use").count(), 1, "{message}");
}

/// It is no listener, so it takes no connections; but it is somebody's.
#[test]
fn a_socket_of_another_kind_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("log.sock");
    let theirs = UnixDatagram::bind(&path).expect("a socket");
    let (code, _, message) = outcome(unbusy(&["proxy"]).arg(format!("--listen=unix:{}", path.display())));
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains(&path.display().to_string()) && message.contains("in use"), "{message}");
    let sent = UnixDatagram::unbound().and_then(|sender| sender.send_to(b"still there", &path));
    assert_eq!(sent.ok(), Some(11));
    drop(theirs);
}

#[test]
fn listening_beyond_this_machine_must_be_allowed() {
    let (code, _, message) = outcome(&mut unbusy(&["proxy", "--listen", "0.0.0.0:0"]));
    assert_eq!(code, Some(2), "{message}");
    assert!(message.starts_with("error: ") && message.contains("0.0.0.0:0"), "{message}");
    let server = server();
    let remote = proxy(&server, &["--listen=0.0.0.0:0", "--allow-remote"]);
    remote.line_with("listening on 0.0.0.0:");
}

#[test]
fn a_proxy_is_not_its_own_server() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let folder = tempfile::tempdir().expect("a directory");
    let (socket, link) = (folder.path().join("unbusy.sock"), folder.path().join("link"));
    std::os::unix::fs::symlink(&socket, &link).expect("a link");
    let (local, everywhere) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    let socket = format!("unix:{}", socket.display());
    for (listen, upstream) in [
        (&local, format!("redis://127.0.0.1:{port}")),
        (&local, format!("redis://localhost:{port}")),
        (&local, format!("rediss://[::ffff:127.0.0.1]:{port}")),
        (&local, format!("redis://0.0.0.0:{port}")),
        (&everywhere, format!("redis://127.0.0.1:{port}")),
        (&socket, socket.clone()),
        (&socket, format!("unix:{}", link.display())),
    ] {
        let args = ["proxy", "--allow-remote", "--listen", listen, "--upstream", &upstream];
        let (code, _, message) = outcome(&mut unbusy(&args));
        assert_eq!(code, Some(2), "{message}");
        let place = upstream.split_once("//").map_or(upstream.as_str(), |(_, place)| place);
        assert!(message.contains(place) && message.contains("this proxy itself"), "{message}");
    }
    assert_eq!(folder.path().read_dir().expect("a directory").count(), 1, "only the link is left");
    let server = server();
    let other = server.address().rsplit_once(':').expect("a port").1;
    let proxy = proxy(&server, &["--allow-remote", &format!("--listen=127.0.0.2:{other}")]);
    proxy.line_with("listening on 127.0.0.2");
}
