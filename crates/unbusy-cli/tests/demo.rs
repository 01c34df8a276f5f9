//! `unbusy demo` on real servers: what it tells, and that it leaves nothing behind.
mod common;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::screen::Screen;
use common::{Running, outcome, unbusy};
use rustix::process::{Pid, Signal, test_kill_process};
use testkit::{Client, Flavor, Reply, Server};

const CTRL_C: Option<i32> = Some(128 + 2);
/// In the lines while a script runs; the claims write it otherwise.
const BUSY: &str = " BUSY  ";

fn program(flavor: Flavor) -> String {
    let binary = flavor.binary().expect("a server: run `cargo xtask servers` once");
    binary.display().to_string()
}

/// The demo in lines, with its temporary files in a folder of the test's own.
fn demo(args: &[&str], folder: &Path) -> Command {
    let mut command = unbusy(&["demo", "--plain"]);
    command.args(args).env("TMPDIR", folder);
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Asserts that what the demo claims was seen. A machine with too much to do may miss the one claim about time; then
/// the demo says so.
fn assert_shown(code: Option<i32>, output: &str, errors: &str) {
    assert_eq!(errors, "", "{output}");
    let failed: Vec<_> = output.lines().filter(|line| line.starts_with('✗')).collect();
    match failed[..] {
        [] => assert_eq!(code, Some(0), "{output}"),
        [late] => {
            assert!(late.contains("added wait"), "{output}");
            assert!(output.contains("This machine paused the demo"), "{output}");
            assert_eq!(code, Some(1), "{output}");
        }
        _ => panic!("{output}"),
    }
    assert_eq!(output.lines().filter(|line| line.starts_with(['✓', '✗'])).count(), 6, "{output}");
    let row = |measure: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(measure)?.strip_prefix("  "));
        let line = line.unwrap_or_else(|| panic!("no {measure} in {output}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for measure in ["errors", "lost", "duplicated", "out of order"] {
        assert_eq!(row(measure)[1..], ["0", "0"], "{output}");
    }
    assert_eq!(row("errors")[0], row("probes sent")[0], "each command that failed was one: {output}");
    assert_eq!(row("commands").len(), 3, "{output}");
    let waits = ["p50", "p99", "max"].map(|of| row(&format!("added wait, {of}")).len());
    assert_eq!(waits, [5; 3], "two numbers with their units: {output}");
    assert!(output.contains(" open ") && output.contains(BUSY), "{output}");
    let longest = output.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "wider than a terminal: {output}");
}

#[test]
fn tells_its_story_on_a_server_of_its_own() {
    let folder = folder();
    let server = program(Flavor::Valkey91);
    let (code, output, errors) = outcome(&mut demo(&["--server", &server], folder.path()));
    assert_shown(code, &output, &errors);
    assert_empty(folder.path());
}

#[test]
fn finds_a_server_on_the_path() {
    let (folder, path) = (folder(), folder());
    std::os::unix::fs::symlink(program(Flavor::Redis62), path.path().join("redis-server")).expect("a link");
    let mut command = demo(&[], folder.path());
    let mut run = Running::with_output(command.env("PATH", path.path()));
    run.line_with(" open ");
    run.signal(Signal::TERM);
    assert_eq!(run.exit().code(), Some(128 + 15));
    assert_empty(folder.path());
}

#[test]
fn a_missing_server_is_a_mistake() {
    let nowhere = folder();
    let (code, output, errors) = outcome(demo(&[], nowhere.path()).env("PATH", nowhere.path()));
    assert_eq!((code, output.as_str()), (Some(2), ""));
    for word in ["redis-server", "valkey-server", "cargo xtask demo", "--server"] {
        assert!(errors.contains(word), "{errors}");
    }
    let (code, _, errors) = outcome(&mut demo(&["--server", "/nonexistent/server"], nowhere.path()));
    assert_eq!(code, Some(2));
    assert!(errors.contains("/nonexistent/server"), "{errors}");
    let (code, _, errors) = outcome(&mut demo(&["--server", "/bin/false"], nowhere.path()));
    assert_eq!(code, Some(1));
    assert!(errors.contains("/bin/false does not start"), "{errors}");
    assert_empty(nowhere.path());
}

#[test]
fn ctrl_c_leaves_no_server_and_no_files() {
    for (signal, code) in [(Signal::INT, CTRL_C), (Signal::QUIT, Some(128 + 3))] {
        assert_leaves_nothing(signal, code);
    }
}

fn assert_leaves_nothing(signal: Signal, code: Option<i32>) {
    let (folder, tools) = (folder(), folder());
    // Tells its process id, and becomes the server.
    let (wrapper, pid_file) = (tools.path().join("server"), tools.path().join("pid"));
    let script =
        format!("#!/bin/sh\necho $$ > {}\nexec {} \"$@\"\n", pid_file.display(), program(Flavor::Redis70));
    fs::write(&wrapper, script)
        .and_then(|()| fs::set_permissions(&wrapper, Permissions::from_mode(0o755)))
        .expect("a file");
    let mut run =
        Running::with_output(&mut demo(&["--server", &wrapper.display().to_string()], folder.path()));
    run.line_with(BUSY);
    let pid = fs::read_to_string(pid_file).expect("a file").trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.expect("a process id");
    assert!(test_kill_process(pid).is_ok(), "it runs");
    run.signal(signal);
    assert_eq!(run.exit().code(), code);
    assert!(test_kill_process(pid).is_err(), "it still runs");
    assert_empty(folder.path());
}

#[test]
fn the_users_server_is_left_as_it_was() {
    let folder = folder();
    let server = Server::builder(Flavor::Redis62).arg("--requirepass").arg("secret").start();
    let mut client = server.client();
    assert_eq!(client.cmd(&["AUTH", "secret"]).text(), "OK");
    assert_eq!(client.cmd(&["SET", "theirs", "1"]).text(), "OK");
    let url = format!("redis://:secret@{}/3", server.address());
    let (code, output, errors) = outcome(&mut demo(&["--yes", "--upstream", &url], folder.path()));
    assert_shown(code, &output, &errors);
    assert_eq!(keys(&mut client, "3"), Reply::Integer(0));
    assert_eq!(keys(&mut client, "0"), Reply::Integer(1));
}

#[test]
fn ctrl_c_leaves_no_keys() {
    for flavor in Flavor::ALL {
        let folder = folder();
        let server = Server::start(flavor);
        let mut run = Running::with_output(&mut demo(&["--yes", "--upstream", &server.url()], folder.path()));
        run.line_with(BUSY);
        let interrupted = Instant::now();
        run.signal(Signal::INT);
        assert_eq!(run.exit().code(), CTRL_C);
        let took = interrupted.elapsed();
        assert_eq!(keys(&mut server.client(), "0"), Reply::Integer(0), "{flavor}");
        // The script, too, was ended: a second and more was left of it.
        assert!(took < Duration::from_millis(1200), "{took:?}");
    }
}

/// The demo as a person has it before them: asked, watched, and ended with a key.
#[test]
fn a_person_is_told_how_to_end_it_and_what_it_does_then() {
    let server = Server::start(Flavor::Redis70);
    let mut screen = Screen::start(&["demo", "--upstream", &server.url()]);
    screen.wait_for("Go on? [y/N]");
    screen.press("YES\n");
    screen.wait_for("Ctrl-C or q ends it");
    testkit::wait_until_busy(server.address());
    screen.press("q");
    screen.wait_for("Ending: SCRIPT KILL goes to the server");
    assert_eq!(screen.exit(), CTRL_C);
    assert_eq!(keys(&mut server.client(), "0"), Reply::Integer(0));
}

#[test]
fn tls_to_the_users_server() {
    let folder = folder();
    let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, identity.cert.pem()).expect("a file");
    fs::write(&key, identity.signing_key.serialize_pem()).expect("a file");
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let server = Server::builder(Flavor::Redis70)
        .arg("--tls-port")
        .arg(address.port().to_string())
        .arg("--tls-auth-clients")
        .arg("no")
        .arg("--tls-cert-file")
        .arg(&cert)
        .arg("--tls-key-file")
        .arg(&key)
        .arg("--tls-ca-cert-file")
        .arg(&cert)
        .start();
    let (url, ca) = (format!("rediss://{address}"), cert.display().to_string());
    let args = ["--yes", "--upstream", &url, "--upstream-ca", &ca];
    let (code, output, errors) = outcome(&mut demo(&args, folder.path()));
    assert_shown(code, &output, &errors);
    assert_eq!(keys(&mut server.client(), "0"), Reply::Integer(0));
}

#[test]
fn without_a_terminal_it_does_not_block_a_users_server() {
    let folder = folder();
    let url = "redis://u:secret@127.0.0.1:1";
    let (code, output, errors) = outcome(&mut demo(&["--upstream", url], folder.path()));
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert!(errors.contains("--yes") && errors.contains("redis://127.0.0.1:1"), "{errors}");
    assert!(!errors.contains("secret"), "{errors}");
}

#[test]
fn a_server_that_cannot_be_reached_or_is_never_busy() {
    let folder = folder();
    let run = |url: &str| outcome(&mut demo(&["--yes", "--upstream", url], folder.path()));
    let (code, _, errors) = run("redis://127.0.0.1:1");
    assert_eq!(code, Some(1));
    assert!(errors.contains("cannot reach 127.0.0.1:1"), "{errors}");
    let server = Server::builder(Flavor::Valkey91).threshold(Duration::ZERO).start();
    let (code, _, errors) = run(&server.url());
    assert_eq!(code, Some(1));
    assert!(errors.contains("never answers BUSY"), "{errors}");
}

#[test]
fn help() {
    let (code, output, _) = outcome(&mut unbusy(&["demo", "--help"]));
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(output);
}

fn keys(client: &mut Client, db: &str) -> Reply {
    assert_eq!(client.cmd(&["SELECT", db]).text(), "OK");
    client.cmd(&["DBSIZE"])
}

fn assert_empty(folder: &Path) {
    let left: Vec<_> = folder.read_dir().expect("a directory").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
