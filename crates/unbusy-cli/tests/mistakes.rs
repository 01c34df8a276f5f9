//! Wrong settings: what is said about each, wherever it was written, and which source counts.
mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use common::{outcome, unbusy};

/// A wrong value for every setting that is more than a file's name.
const WRONG: [(&str, &str); 28] = [
    ("listen", "6380"),
    ("listen", "127.0.0.1:6380,localhost"),
    ("listen", "*:6380"),
    ("listen", "0.0.0.0:0"),
    ("upstream", "localhost:6379"),
    ("upstream", "redis://user:secret@host:port?password=secret"),
    ("upstream", "redis://:secret@127.0.0.1:6379/3"),
    ("upstream", "redis://:secret"),
    ("upstream", "user:secret"),
    ("max-wait", "2x"),
    ("max-wait", "9000000h"),
    ("hold", "bussy"),
    ("hold", "busy,downtime"),
    ("busy-threshold", "100"),
    ("busy-threshold", "366d"),
    ("ordering", "lax"),
    ("connect-timeout", "0s"),
    ("threads", "0"),
    ("io", "io_uring"),
    ("max-connections", "many"),
    ("drain", "30"),
    ("allow-remote", "maybe"),
    ("admin", "9380"),
    ("admin", "unix:/run/unbusy.sock"),
    ("admin", "0.0.0.0:0"),
    ("upstream-sni", "https://host"),
    ("log-format", "xml"),
    ("upstream-ca", "ca.pem"),
];

/// The message of a command that ends with the code of a usage error.
fn mistake(command: &mut Command) -> String {
    let (code, _, message) = outcome(command);
    assert_eq!(code, Some(2), "{message}");
    assert!(!message.contains("secret"), "a password is shown: {message}");
    message
}

fn each(of_one: impl Fn(&str, &str) -> String) -> String {
    WRONG.iter().fold(String::new(), |mut all, (name, value)| {
        let _ = write!(all, "{}", of_one(name, value));
        all
    })
}

/// A server with TLS, for those settings that have a meaning only then.
fn needs_tls(name: &str) -> bool {
    name == "upstream-sni"
}

fn variable(name: &str) -> String {
    format!("UNBUSY_{}", name.to_uppercase().replace('-', "_"))
}

fn with_file<'a>(folder: &Path, text: &str, args: &[&str], command: &'a mut Command) -> &'a mut Command {
    std::fs::write(folder.join("unbusy.toml"), text).expect("a file");
    command.current_dir(folder).args(["proxy", "--config", "unbusy.toml"]).args(args)
}

fn mistake_in_file(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    mistake(with_file(folder.path(), text, &[], &mut unbusy(&[])))
}

#[test]
fn in_options() {
    let messages = each(|name, value| {
        let mut command = unbusy(&["proxy", &format!("--{name}={value}")]);
        command.args(needs_tls(name).then_some("--upstream=rediss://host"));
        mistake(&mut command)
    });
    insta::assert_snapshot!(messages);
}

#[test]
fn in_variables() {
    let messages = each(|name, value| {
        let mut command = unbusy(&["proxy"]);
        command.args(needs_tls(name).then_some("--upstream=rediss://host"));
        mistake(command.env(variable(name), value))
    });
    insta::assert_snapshot!(messages);
}

#[test]
fn in_the_file() {
    let messages = each(|name, value| {
        let tls = if needs_tls(name) { "upstream = 'rediss://host'\n" } else { "" };
        mistake_in_file(&format!("{tls}{name} = '{value}'\n"))
    });
    insta::assert_snapshot!(messages);
}

#[test]
fn of_the_files_own_kinds() {
    let texts = [
        "max-wait = 30",
        "threads = 0",
        "verbose = 'very'",
        "max-wait = ['1s', '2s']",
        "hold = []",
        "listen = []",
        "drain = []",
        "listen = { port = 1 }",
        "max-wiat = '30s'",
        "upstreams = 'redis://h'",
        "colour = 'blue'",
        "hold = 'busy'\nupstream = redis://:secret@host",
        "hold = 'busy'\nhold = 'busy'",
    ];
    let messages = texts.map(mistake_in_file).concat();
    insta::assert_snapshot!(messages);
}

#[test]
fn of_pairs() {
    let mut messages = String::new();
    for args in [
        &["--tls-cert=a.pem"][..],
        &["--tls-key=a.key"],
        &["--tls-client-ca=ca.pem"],
        &["--upstream=rediss://host", "--upstream-cert=a.pem"],
        &["--kill-never=report"],
        &["--kill-after=30s", "--hold=loading"],
        &["--kill-after=30s", "--kill-only=two words"],
    ] {
        messages += &mistake(unbusy(&["proxy"]).args(args));
    }
    messages += &mistake(unbusy(&["proxy"]).env("UNBUSY_TLS_CERT", "a.pem"));
    messages += &mistake_in_file("tls-client-ca = 'ca.pem'");
    insta::assert_snapshot!(messages);
}

/// What is wrong with them is seen only when the proxy starts.
#[test]
fn of_tls_files() {
    let folder = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    let identity = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (one, other) = (identity(), identity());
    write("cert.pem", &one.cert.pem());
    write("key.pem", &one.signing_key.serialize_pem());
    write("other.pem", &other.signing_key.serialize_pem());
    write("bad.pem", "no PEM at all");
    write("cut.pem", &one.cert.pem()[..100]);
    write("unbusy.toml", "tls-cert = 'cert.pem'\ntls-key = 'bad.pem'");
    let message = |args: &[&str]| mistake(unbusy(args).current_dir(&folder));
    let proxy = |args: &[&str]| message(&[&["proxy", "--listen=127.0.0.1:0"], args].concat());
    let serving = |cert, key| proxy(&["--tls-cert", cert, "--tls-key", key]);
    let upstream = |args: &[&str]| proxy(&[&["--upstream=rediss://h"], args].concat());
    let messages = [
        serving("bad.pem", "key.pem"),
        serving("cut.pem", "key.pem"),
        serving("/nonexistent.pem", "key.pem"),
        serving("cert.pem", "cert.pem"),
        serving("cert.pem", "other.pem"),
        proxy(&["--tls-cert=cert.pem", "--tls-key=key.pem", "--tls-client-ca=key.pem"]),
        proxy(&["--config=unbusy.toml"]),
        upstream(&["--upstream-ca=bad.pem"]),
        upstream(&["--upstream-cert=cert.pem", "--upstream-key=other.pem"]),
        upstream(&["--upstream-sni=a..b"]),
        proxy(&["--upstream=rediss://a..b"]),
        mistake(unbusy(&["run", "--env=CACHE", "--", "true"]).env("CACHE", "rediss://:secret@a..b")),
        message(&["demo", "--yes", "--plain", "--upstream=rediss://h", "--upstream-ca=bad.pem"]),
        mistake(
            unbusy(&["run", "--upstream=rediss://h", "--", "true"])
                .env("UNBUSY_UPSTREAM_CA", "bad.pem")
                .current_dir(&folder),
        ),
    ];
    insta::assert_snapshot!(messages.concat());
}

#[test]
fn of_a_missing_file() {
    insta::assert_snapshot!(
        mistake(unbusy(&["proxy"]).env("UNBUSY_CONFIG", "/no/such.toml")),
        @r#"error: UNBUSY_CONFIG "/no/such.toml": cannot be read: No such file or directory (os error 2); write it like /etc/unbusy/unbusy.toml"#
    );
    insta::assert_snapshot!(
        mistake(&mut unbusy(&["run", "--config", "/", "--", "true"])),
        @r#"error: --config "/": cannot be read: Is a directory (os error 21); write it like /etc/unbusy/unbusy.toml"#
    );
}

#[test]
fn of_the_log_filter() {
    insta::assert_snapshot!(
        mistake(unbusy(&["proxy"]).env("RUST_LOG", "unbusy=loud")),
        @r#"error: RUST_LOG "unbusy=loud": not a log filter; write it like debug or unbusy_proxy=trace"#
    );
}

#[test]
fn of_run() {
    let one = mistake(&mut unbusy(&["run", "--env", "A=B", "--", "true"]));
    let two = mistake(unbusy(&["run", "--env", "BROKER", "--", "true"]).env("BROKER", "http://:secret@host"));
    let three = mistake(
        unbusy(&["run", "--env", "CACHE", "--env", "QUEUE", "--", "true"])
            .env("CACHE", "redis://:secret@a/1")
            .env("QUEUE", "redis://b/1"),
    );
    let four = mistake(&mut unbusy(&["run", "--env", "CACHE,QUEUE", "--", "true"]));
    let messages = [one, two, three, four].concat();
    insta::assert_snapshot!(messages);
}

#[test]
fn of_top_and_status() {
    let wrong: [&[&str]; 9] = [
        &["top", "redis://127.0.0.1:1", "--interval=1ms"],
        &["top", "redis://127.0.0.1:1", "--interval=1h"],
        &["top", "redis://127.0.0.1:1", "--interval=fast"],
        &["top", "http://127.0.0.1"],
        &["top", "https://127.0.0.1:9380"],
        &["top", "127.0.0.1:9380"],
        &["status", "http://u:secret@127.0.0.1:9380"],
        &["top", "redis://:secret@127.0.0.1:1"],
        &["top"],
    ];
    let messages = wrong.map(|args| mistake(&mut unbusy(args))).concat();
    insta::assert_snapshot!(messages);
}

/// The same setting is wrong everywhere: the message names the source that counts.
#[test]
fn an_option_counts_more_than_a_variable_and_that_more_than_the_file() {
    let folder = tempfile::tempdir().expect("a directory");
    let blames = |args: &[&str], variable: Option<&str>| {
        let mut command = unbusy(&[]);
        command.envs(variable.map(|value| ("UNBUSY_DRAIN", value)));
        mistake(with_file(folder.path(), "drain = 'in the file'", args, &mut command))
    };
    assert!(blames(&["--drain", "option"], Some("variable")).starts_with("error: --drain \"option\":"));
    assert!(blames(&[], Some("variable")).starts_with("error: UNBUSY_DRAIN \"variable\":"));
    assert!(blames(&[], Some("")).starts_with("error: drain = \"in the file\" in unbusy.toml:"));
    assert!(blames(&[], None).starts_with("error: drain = \"in the file\" in unbusy.toml:"));
}

/// A right value hides a wrong one that counts less: only the mistake that is read later is told.
#[test]
fn what_does_not_count_is_not_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut command = unbusy(&[]);
    command.env("UNBUSY_HOLD", "busy").env("UNBUSY_MAX_WAIT", "wrong");
    let text = "hold = 'wrong'\nmax-wait = 'wrong'";
    let message = mistake(with_file(folder.path(), text, &["--max-wait=1s", "--drain=wrong"], &mut command));
    assert!(message.starts_with("error: --drain"), "{message}");
}

/// They are those of a proxy that is started from the same environment.
#[test]
fn settings_for_tls_are_none_for_run_and_demo_with_a_plain_server_unless_they_are_options() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("unbusy.toml");
    std::fs::write(&file, "upstream-sni = 'redis.example.com'\n").expect("a file");
    let with_settings = |args: &[&str]| {
        let mut command = unbusy(args);
        command.env("UNBUSY_UPSTREAM_CA", "/nonexistent.pem").env("UNBUSY_UPSTREAM_CERT", "a.pem");
        command.env("UNBUSY_CONFIG", &file);
        command
    };
    let (code, _, message) = outcome(&mut with_settings(&["run", "--", "true"]));
    assert_eq!((code, message.as_str()), (Some(0), ""));
    let (code, _, message) = outcome(&mut with_settings(&["demo", "--plain", "--server", "/bin/false"]));
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("/bin/false does not start"), "{message}");
    for command in [&["run", "--upstream-ca=ca.pem", "--", "true"][..], &["demo", "--upstream-ca=ca.pem"]] {
        let message = mistake(&mut with_settings(command));
        assert!(message.starts_with("error: --upstream-ca is for TLS"), "{message}");
    }
    let message = mistake(&mut with_settings(&["proxy"]));
    assert!(message.starts_with("error: UNBUSY_UPSTREAM_CA is for TLS"), "{message}");
}
