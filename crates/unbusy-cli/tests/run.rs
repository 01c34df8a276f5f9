//! `unbusy run` as a process: the child's URL, signals, exit code, and what is left behind.
mod common;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{Running, outcome, terminal, unbusy, with_own_environment};
use rustix::process::Signal;
use testkit::{BusyScript, Client, Flavor, ScriptedServer, Server, encode};

const UNBUSY: &str = env!("CARGO_BIN_EXE_unbusy");

/// What a child that prints `text` prints, with these variables around it.
fn printed(args: &[&str], variables: &[(&str, &str)], text: &str) -> String {
    let print = format!("printf %s \"{text}\"");
    let mut command = unbusy(&["run"]);
    command.args(args).args(["--", "sh", "-c", &print]).envs(variables.iter().copied());
    let (code, output, errors) = outcome(&mut command);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    output
}

fn without_port(url: &str) -> String {
    let (before, after) = url.split_once("127.0.0.1:").expect("a loopback address");
    format!("{before}PROXY{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn the_child_finds_the_proxy_in_its_variable() {
    let of = |args, variables: &[_]| without_port(&printed(args, variables, "$REDIS_URL"));
    assert_eq!(of(&[], &[]), "redis://PROXY");
    assert_eq!(
        of(&[], &[("REDIS_URL", "redis://u:p%40@h:1/3?protocol=3")]),
        "redis://u:p%40@PROXY/3?protocol=3"
    );
    assert_eq!(of(&["--upstream=redis://:x@h/4"], &[("REDIS_URL", "redis://h/3")]), "redis://:x@PROXY/4");
    assert_eq!(
        of(&[], &[("UNBUSY_UPSTREAM", "redis://h/5"), ("REDIS_URL", "redis://h/3")]),
        "redis://PROXY/5"
    );
}

/// What is the child's stays its own: with another server, too.
#[test]
fn the_child_keeps_what_the_upstream_does_not_say() {
    let of = |upstream, own| {
        without_port(&printed(&[], &[("UNBUSY_UPSTREAM", upstream), ("REDIS_URL", own)], "$REDIS_URL"))
    };
    let own = "redis://u:p@g/3?protocol=3";
    assert_eq!(of("redis://h", own), "redis://u:p@PROXY/3?protocol=3");
    assert_eq!(of("redis://:x@h/4", own), "redis://:x@PROXY/4?protocol=3");
    assert_eq!(of("unix:///run/redis.sock?db=5", own), "redis://u:p@PROXY/5?protocol=3");
    let variables = [("UNBUSY_UPSTREAM", "redis://h"), ("A", "redis://g/1"), ("B", "redis://:p@g/2")];
    let output = printed(&["--env=A", "--env=B", "--env=C"], &variables, "$A $B $C");
    let proxied: Vec<_> = output.split(' ').map(without_port).collect();
    assert_eq!(proxied, ["redis://PROXY/1", "redis://:p@PROXY/2", "redis://PROXY/1"]);
}

/// Each of two nested runs has a server of its own, wherever the outer one's is written.
#[test]
fn a_nested_run_does_not_take_the_upstream_of_the_outer_one() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("unbusy.toml");
    std::fs::write(&file, "upstream = 'redis://outer'\n").expect("a file");
    let nested = |outer: &[&str], inner: &[&str], variables: &[(&str, &str)]| {
        let mut command = unbusy(&["run", "-v", "--env=A"]);
        command.args(outer).args(["--", UNBUSY, "run", "-v", "--env=B"]).args(inner).args(["--", "true"]);
        let (code, _, log) = outcome(command.current_dir(&folder).envs(variables.iter().copied()));
        let servers = log.lines().filter_map(|line| line.split_once("upstream=")).map(|(_, server)| server);
        (code, servers.map(str::to_owned).collect::<Vec<_>>(), log)
    };
    let both = ["redis://outer:6379".to_owned(), "redis://inner:6379".to_owned()];
    let b = ("B", "redis://inner");
    let in_variable = ("UNBUSY_CONFIG", "unbusy.toml");
    let option = ["--config", "./unbusy.toml"];
    for (outer, inner, variables) in [
        (&[][..], &[][..], &[b, in_variable][..]),
        (&[], &[], &[b, in_variable, ("UNBUSY_UPSTREAM", "redis://outer")]),
        (&[], &[], &[b, ("UNBUSY_UPSTREAM", "redis://outer")]),
        (&option, &option, &[b]),
        (&[], &["--upstream=redis://inner"], &[in_variable]),
    ] {
        let (code, servers, log) = nested(outer, inner, variables);
        assert_eq!((code, &servers[..]), (Some(0), &both[..]), "{log}");
    }
    for variables in [[in_variable], [("UNBUSY_UPSTREAM", "redis://outer")]] {
        let (code, _, log) = nested(&[], &[], &variables);
        let message = log.lines().last().unwrap_or_default();
        assert_eq!(code, Some(2), "{log}");
        assert!(message.starts_with("error: B is not set, and the upstream in "), "{log}");
    }
}

#[test]
fn several_variables_keep_their_databases() {
    let output = printed(
        &["--env", "BROKER", "--env=CACHE", "--env=OTHER"],
        &[("BROKER", "redis://:p@h/1"), ("CACHE", "redis://h:6379/2"), ("REDIS_URL", "redis://z/9")],
        "$BROKER $CACHE $OTHER $REDIS_URL",
    );
    let urls: Vec<_> = output.split(' ').collect();
    let proxied: Vec<_> = urls[..3].iter().map(|url| without_port(url)).collect();
    assert_eq!(proxied, ["redis://:p@PROXY/1", "redis://PROXY/2", "redis://:p@PROXY/1"]);
    assert_eq!(urls[3], "redis://z/9");
}

#[test]
fn options_of_tls_are_not_for_the_child() {
    let mut command = unbusy(&["run", "--", "sh", "-c", "printf %s $REDIS_URL"]);
    command.env("REDIS_URL", "rediss://:secret@localhost:6390/1?ssl_cert_reqs=none");
    let (code, output, errors) = outcome(&mut command);
    assert_eq!((code, without_port(&output).as_str()), (Some(0), "redis://:secret@PROXY/1"));
    assert!(errors.contains("WARN") && errors.contains("ssl_") && !errors.contains("secret"), "{errors}");
}

#[test]
fn its_commands_reach_the_server() {
    let server = ScriptedServer::start(|_, stream| {
        let mut peer = Client::from(stream);
        while let Some(command) = peer.try_read_frame(common::SOON) {
            peer.send(if command == encode(&["PING"]) { b"+PONG\r\n" } else { b"-ERR not here\r\n" });
        }
    });
    let mut command =
        unbusy(&["run", "--upstream", &server.url(), "--", "sh", "-c", "echo $REDIS_URL; read line"]);
    let mut run = Running::with_output(command.stdin(Stdio::piped()));
    let url = run.line_with("redis://");
    assert_eq!(Client::connect(url.trim_start_matches("redis://")).cmd(&["PING"]).text(), "PONG");
    run.close_input();
    assert_eq!(run.exit().code(), Some(1));
}

#[test]
fn an_episode_is_told_from_its_begin_to_its_end() {
    let server = Server::start(Flavor::Redis70);
    let script = "echo $REDIS_URL >&2; exec sleep 100";
    let run = Running::with_log(&mut unbusy(&["run", "--upstream", &server.url(), "--", "sh", "-c", script]));
    let url = run.line_with("redis://");
    let mut client = Client::connect(url.trim_start_matches("redis://"));
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    let script = BusyScript::start(server.address(), Duration::from_millis(600));
    script.wait_until_busy(server.address());
    assert_eq!(client.cmd(&["INCR", "k"]).integer(), 1);
    script.join();
    assert!(run.line_with("the server is busy").contains("WARN"));
    assert!(run.line_with("the server accepts commands again").contains("INFO"));
    run.signal(Signal::TERM);
    assert_eq!(run.rest(), [""; 0], "nothing else is said");
}

#[test]
fn a_socket_is_private_and_goes_with_the_child() {
    let folder = tempfile::tempdir().expect("a directory");
    let script = "stat -c '%a %F' $(dirname ${REDIS_URL#unix://:p@}); echo $REDIS_URL";
    let mut command = unbusy(&["run", "--unix", "--upstream=redis://:p@h/3", "--", "sh", "-c", script]);
    let (code, output, errors) = outcome(command.env("TMPDIR", folder.path()));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (directory, url) = output.split_once('\n').expect("two lines");
    assert_eq!(directory, "700 directory");
    assert!(url.starts_with(&format!("unix://:p@{}/unbusy-", folder.path().display())), "{url}");
    assert!(url.trim_end().ends_with("/redis.sock?db=3"), "{url}");
    assert!(is_empty(folder.path()));
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().expect("a directory").next().is_none()
}

#[test]
fn the_exit_code_is_the_childs() {
    let code = |script: &str| outcome(&mut unbusy(&["run", "--", "sh", "-c", script])).0;
    assert_eq!(code("exit 0"), Some(0));
    assert_eq!(code("exit 42"), Some(42));
    assert_eq!(code("exit 255"), Some(255));
    assert_eq!(code("kill -KILL $$"), Some(128 + 9));
    assert_eq!(code("kill -TERM $$"), Some(128 + 15));
}

#[test]
fn a_command_that_cannot_be_run() {
    let folder = tempfile::tempdir().expect("a directory");
    let plain_file = folder.path().join("text");
    File::create(&plain_file).and_then(|mut file| file.write_all(b"text")).expect("a file");
    let plain_file = plain_file.display().to_string();

    let run = |program: &str| outcome(unbusy(&["run", "--unix", "--", program]).env("TMPDIR", folder.path()));
    let (code, _, message) = run("no-such-command");
    assert_eq!((code, message.as_str()), (Some(127), "error: cannot run no-such-command: not found\n"));
    let (code, _, message) = run(&plain_file);
    assert_eq!(code, Some(126));
    assert_eq!(message, format!("error: cannot run {plain_file}: Permission denied (os error 13)\n"));
    assert_eq!(folder.path().read_dir().expect("a directory").count(), 1, "only the file is left");
}

#[test]
fn signals_reach_the_child() {
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("WINCH", Signal::WINCH),
        ("ALRM", Signal::ALARM),
        ("ABRT", Signal::ABORT),
    ] {
        let script =
            format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.02; done");
        // Whoever runs the tests may have it ignored.
        let default = format!("--default-signal={name}");
        let mut command = with_own_environment("env", &[&default, UNBUSY, "run", "--", "sh", "-c", &script]);
        let mut run = Running::with_output(command.stdin(Stdio::null()));
        run.line_with("ready");
        run.signal(signal);
        run.line_with(&format!("got {name}"));
        assert_eq!(run.exit().code(), Some(7), "{name}");
    }
}

#[test]
fn a_signal_that_kills_the_child_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut command = unbusy(&["run", "--unix", "--", "sh", "-c", "echo ready; exec sleep 100"]);
    let mut run = Running::with_output(command.env("TMPDIR", folder.path()).stdin(Stdio::null()));
    run.line_with("ready");
    run.signal(Signal::TERM);
    assert_eq!(run.exit().code(), Some(128 + 15));
    assert!(is_empty(folder.path()));
    // One that the system sends, as it was told before we began; the child's own clock is not set.
    let program = "alarm 1; exec @ARGV";
    let args = ["-e", program, UNBUSY, "run", "--unix", "--", "sleep", "100"];
    let (code, ..) = outcome(with_own_environment("perl", &args).env("TMPDIR", folder.path()));
    assert_eq!(code, Some(128 + 14));
    assert!(is_empty(folder.path()));
}

#[test]
fn ignored_signals_stay_ignored() {
    let script = ["run", "--", "sh", "-c", "kill -HUP $$; echo alive"];
    let args: Vec<_> = ["--ignore-signal=HUP", UNBUSY].into_iter().chain(script).collect();
    assert_eq!(outcome(&mut with_own_environment("env", &args)).1, "alive\n");
}

/// Ctrl-C reaches the child from the terminal, and not from us as well: a child that has left the terminal's process
/// group, as `setsid` makes it, hears nothing.
#[test]
fn ctrl_c_is_not_delivered_twice() {
    let script = "trap 'echo interrupted' INT; echo ready; sleep 0.6; echo end";
    assert_eq!(after_ctrl_c(&["sh", "-c", script]), ["interrupted", "end"]);
    assert_eq!(after_ctrl_c(&["setsid", "sh", "-c", script]), ["end"]);
}

/// What a child in a terminal says after Ctrl-C was pressed.
fn after_ctrl_c(child: &[&str]) -> Vec<String> {
    let (mut keyboard, terminal) = terminal();
    let args = ["--ctty", "env", "--default-signal=INT", UNBUSY, "run", "--"];
    let mut command = with_own_environment("setsid", &args);
    let mut run = Running::with_output(command.args(child).stdin(terminal));
    run.line_with("ready");
    keyboard.write_all(b"\x03").expect("a terminal");
    let words = run.rest();
    assert_eq!(run.exit().code(), Some(0));
    words
}
