//! Transports: TLS and unix sockets, towards clients and towards the server, with and without client certificates.
//!
//! Of the test servers only Redis 7.0 speaks TLS itself; the others are reached through a second proxy that does.
mod e2e_support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use e2e_support::{PATIENCE, on_every_server, proxy, proxy_to, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redis::{Client, ClientTlsConfig, Commands as _, Connection, RedisResult, TlsCertificates};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::{BusyScript, Flavor, Proxy, Server, ServerBuilder};

const SCRIPT: Duration = Duration::from_millis(500);
const BIG: usize = 10_000_000;

// === TLS towards clients

#[test]
fn clients_can_use_tls() {
    let pki = Pki::new();
    let local = pki.issue("127.0.0.1");
    on_every_server(|server, _| {
        let proxy = proxy(server, &["--tls-cert", local.cert(), "--tls-key", local.key()]);
        let mut connection = pki.connect(&proxy, None).expect("a connection");
        assert_works(server, &mut connection);
    });
}

#[test]
fn clients_can_be_asked_for_a_certificate() {
    let pki = Pki::new();
    let (local, known) = (pki.issue("127.0.0.1"), pki.issue("client"));
    let elsewhere = Pki::new();
    let stranger = elsewhere.issue("client");
    on_every_server(|server, _| {
        let args = ["--tls-cert", local.cert(), "--tls-key", local.key(), "--tls-client-ca", pki.ca()];
        let proxy = proxy(server, &args);
        let mut connection = pki.connect(&proxy, Some(&known)).expect("a connection");
        assert_works(server, &mut connection);
        for refused in [None, Some(&stranger)] {
            // With TLS 1.3 the client may hear of it only when it asks something.
            let answer = pki.connect(&proxy, refused).and_then(|mut c| c.get::<_, Option<String>>("k"));
            assert!(answer.is_err(), "{answer:?}");
        }
        assert_works(server, &mut connection);
    });
}

#[test]
fn clients_that_do_not_speak_tls_disturb_nobody() {
    let pki = Pki::new();
    let local = pki.issue("127.0.0.1");
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &["--tls-cert", local.cert(), "--tls-key", local.key()]);
    let silent = TcpStream::connect(proxy.address()).expect("the proxy");
    let mut plain = TcpStream::connect(proxy.address()).expect("the proxy");
    plain.write_all(b"PING\r\n").expect("sending");
    plain.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut answer = Vec::new();
    let _reset_or_end = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"+PONG"), "served without TLS");
    let mut connection = pki.connect(&proxy, None).expect("a connection");
    assert_works(&server, &mut connection);
    drop(silent);
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_mistake() {
    let pki = Pki::new();
    let (one, other) = (pki.issue("127.0.0.1"), pki.issue("127.0.0.1"));
    for (cert, key) in [("/nonexistent.pem", one.key()), (one.key(), one.key()), (one.cert(), other.key())] {
        let output = Command::new(env!("CARGO_BIN_EXE_unbusy"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"])
            .args(["--tls-cert", cert, "--tls-key", key])
            .stdin(Stdio::null())
            .output()
            .expect("the binary");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{cert} {key}: {said}");
        assert!(said.contains(cert) || said.contains(key), "which file? {said}");
    }
}

// === TLS towards the server

#[test]
fn the_server_can_be_reached_by_tls() {
    let pki = Pki::new();
    let server = TlsServer::start(&pki, "no");
    let proxy = proxy_to(&server.url(), &["--upstream-ca", pki.ca()]);
    assert_works(&server.server, &mut connect(&proxy.url()).expect("a connection"));
}

#[test]
fn the_state_of_a_server_is_seen_through_tls() {
    let pki = Pki::new();
    let server = TlsServer::start(&pki, "no");
    let status = |ca: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unbusy"));
        command
            .args(["status", &server.url(), "--timeout", "300ms", "--upstream-ca", ca])
            .stdin(Stdio::null());
        command.output().expect("the binary").status.code()
    };
    assert_eq!(status(pki.ca()), Some(0), "open");
    assert_eq!(status("/nonexistent.pem"), Some(2), "a mistake");
    assert_eq!(status(Pki::new().ca()), Some(4), "not the server that was meant");
    let script = BusyScript::start(server.server.address(), SCRIPT);
    script.wait_until_busy(server.server.address());
    assert_eq!(status(pki.ca()), Some(1), "busy");
    script.join();
    // The system takes the connection; the handshake is not answered.
    let pid = i32::try_from(server.server.pid()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::STOP).expect("it runs");
    assert_eq!(status(pki.ca()), Some(3), "stalled");
}

#[test]
fn the_server_can_ask_for_a_certificate() {
    let pki = Pki::new();
    let known = pki.issue("proxy");
    let server = TlsServer::start(&pki, "yes");
    let with = ["--upstream-ca", pki.ca(), "--upstream-cert", known.cert(), "--upstream-key", known.key()];
    let proxy = proxy_to(&server.url(), &with);
    assert_works(&server.server, &mut connect(&proxy.url()).expect("a connection"));
    let without = proxy_to(&server.url(), &["--upstream-ca", pki.ca()]);
    // With TLS 1.3 the proxy, as a client, hears of it only after the handshake.
    let expected = format!("cannot reach {}: ", server.address);
    let answer = raw_answer(&without);
    assert!(answer.starts_with(&format!("-ERR unbusy: {expected}")), "{answer}");
    assert!(answer.to_lowercase().contains("certificate"), "no reason in {answer}");
    let warning = without.wait_log(&expected, PATIENCE);
    assert!(warning.contains("WARN"), "{warning}");
}

#[test]
fn a_server_that_cannot_be_trusted_is_not_used() {
    let pki = Pki::new();
    let server = TlsServer::start(&pki, "no");
    let stranger = Pki::new();
    for args in [
        ["--upstream-ca", stranger.ca()].as_slice(),
        &["--upstream-ca", pki.ca(), "--upstream-sni", "redis.example.com"],
        &[],
    ] {
        let answer = raw_answer(&proxy_to(&server.url(), args));
        let expected = format!("-ERR unbusy: cannot reach {}: ", server.address);
        assert!(answer.starts_with(&expected), "{args:?}: {answer}");
        assert!(answer.to_lowercase().contains("certificate"), "{args:?}: no reason in {answer}");
    }
}

#[test]
fn the_name_in_the_servers_certificate_can_be_given() {
    let pki = Pki::new();
    let server = TlsServer::start_as(&pki, "no", "redis.example.com");
    let args = ["--upstream-ca", pki.ca(), "--upstream-sni", "redis.example.com"];
    let proxy = proxy_to(&server.url(), &args);
    assert_works(&server.server, &mut connect(&proxy.url()).expect("a connection"));
}

#[test]
fn a_plain_server_behind_rediss_is_an_error() {
    let pki = Pki::new();
    let server = Server::start(Flavor::Redis70);
    let url = server.url().replace("redis://", "rediss://");
    let answer = raw_answer(&proxy_to(&url, &["--upstream-ca", pki.ca(), "--connect-timeout", "1s"]));
    assert!(answer.starts_with("-ERR unbusy: cannot reach "), "{answer}");
}

/// Client, proxy, TLS with certificates on both sides, proxy, server.
#[test]
fn proxies_can_be_chained_by_tls() {
    let pki = Pki::new();
    let (local, known) = (pki.issue("127.0.0.1"), pki.issue("proxy"));
    on_every_server(|server, _| {
        let args = ["--tls-cert", local.cert(), "--tls-key", local.key(), "--tls-client-ca", pki.ca()];
        let near_server = proxy(server, &args);
        let args =
            ["--upstream-ca", pki.ca(), "--upstream-cert", known.cert(), "--upstream-key", known.key()];
        let near_client = proxy_to(&format!("rediss://{}", near_server.address()), &args);
        assert_works(server, &mut connect(&near_client.url()).expect("a connection"));
    });
}

// === Unix sockets

#[test]
fn unix_sockets_on_both_sides() {
    on_every_server(|server, _| {
        let folder = TempDir::with_prefix("unbusy-").expect("a folder");
        let path = folder.path().join("proxy.sock");
        let upstream = format!("unix:{}", server.unix_path().display());
        let proxy = proxy_to(&upstream, &["--listen", &format!("unix:{}", path.display())]);
        proxy.wait_log(&format!("listening on unix:{}", path.display()), PATIENCE);
        assert_works(server, &mut connect(&format!("unix://{}", path.display())).expect("a connection"));
        assert_works(server, &mut connect(&proxy.url()).expect("a connection"));
    });
}

#[test]
fn a_unix_socket_goes_with_its_proxy_and_can_be_used_again() {
    let server = Server::start(Flavor::Redis70);
    let folder = TempDir::with_prefix("unbusy-").expect("a folder");
    let path = folder.path().join("proxy.sock");
    let listen = format!("unix:{}", path.display());
    let start = || {
        let proxy = proxy(&server, &["--listen", &listen]);
        proxy.wait_log(&format!("listening on {listen}"), PATIENCE);
        proxy
    };
    let url = format!("unix://{}", path.display());
    let mut ended = start();
    assert_eq!(connect(&url).and_then(|mut c| c.incr("k", 1)), Ok(1));
    ended.terminate();
    ended.wait_exit(PATIENCE);
    assert!(!path.exists(), "the socket is left behind");
    // One that is killed leaves its socket, which must not stop the next.
    drop(start());
    assert!(path.exists());
    let _next = start();
    assert_eq!(connect(&url).and_then(|mut c| c.incr("k", 1)), Ok(2));
}

#[test]
fn a_unix_socket_in_use_is_not_taken() {
    let server = Server::start(Flavor::Redis70);
    let in_use = server.unix_path();
    let output = Command::new(env!("CARGO_BIN_EXE_unbusy"))
        .args(["proxy", "--upstream", &server.url(), "--listen"])
        .arg(format!("unix:{}", in_use.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(in_use.to_str().expect("text")), "{said}");
    assert!(connect(&format!("unix://{}", in_use.display())).is_ok(), "the server has lost its socket");
}

// === Helpers

/// Single commands, a transaction and a big value, one of them held.
fn assert_works(server: &Server, connection: &mut Connection) {
    assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    let value = vec![b'x'; BIG];
    assert_eq!(connection.set::<_, _, ()>("big", &value), Ok(()));
    assert!(connection.get::<_, Vec<u8>>("big").as_ref() == Ok(&value));

    let before = server.rejections();
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    assert_eq!(connection.incr("k", 1), Ok(1));
    script.join();
    // One is that of the question whether the server is busy.
    assert!(server.rejections() > before + 1, "nothing was held");

    let counted: RedisResult<Vec<usize>> = redis::pipe().atomic().incr("k", 1).incr("k", 1).query(connection);
    assert_eq!(counted, Ok(vec![2, 3]));
    assert_eq!(server.client().cmd(&["GET", "k"]).text(), "3");
}

fn connect(url: &str) -> RedisResult<Connection> {
    patient(&Client::open(url)?)
}

fn patient(client: &Client) -> RedisResult<Connection> {
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// What a client is told before its connection ends.
fn raw_answer(proxy: &Proxy) -> String {
    let mut client = testkit::Client::connect(proxy.address());
    client.send_cmd(&["PING"]);
    String::from_utf8(client.read_to_end(PATIENCE)).expect("text")
}

/// An authority of the test's own.
struct Pki {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

/// A certificate and its key, in files.
struct Identity {
    cert: PathBuf,
    key: PathBuf,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        let folder = TempDir::with_prefix("unbusy-").expect("a folder");
        let ca = write(folder.path(), "ca.pem", &cert.pem());
        Self { folder, issuer: Issuer::new(params, key), ca: text(&ca).to_owned() }
    }

    fn ca(&self) -> &str {
        &self.ca
    }

    /// A certificate for a host name or an address. Its files live as long as the authority.
    fn issue(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder").keep();
        Identity {
            cert: write(&folder, "cert.pem", &cert.pem()),
            key: write(&folder, "key.pem", &key.serialize_pem()),
        }
    }

    /// A TLS connection of a client that trusts this authority.
    fn connect(&self, proxy: &Proxy, identity: Option<&Identity>) -> RedisResult<Connection> {
        let read = |path: &Path| fs::read(path).expect("a file");
        let client_tls = identity.map(|identity| ClientTlsConfig {
            client_cert: read(&identity.cert),
            client_key: read(&identity.key),
        });
        let certificates = TlsCertificates { client_tls, root_cert: Some(read(self.ca.as_ref())) };
        let url = format!("rediss://{}", proxy.address());
        patient(&Client::build_with_tls(url, certificates)?)
    }
}

impl Identity {
    fn cert(&self) -> &str {
        text(&self.cert)
    }

    fn key(&self) -> &str {
        text(&self.key)
    }
}

fn write(folder: &Path, name: &str, contents: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, contents).expect("a new file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

/// A Redis that listens for TLS too.
struct TlsServer {
    server: Server,
    address: String,
}

impl TlsServer {
    fn start(pki: &Pki, auth_clients: &str) -> Self {
        Self::start_as(pki, auth_clients, "127.0.0.1")
    }

    fn start_as(pki: &Pki, auth_clients: &str, name: &str) -> Self {
        let identity = pki.issue(name);
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let port = address.port().to_string();
        let args = [
            ["--tls-port", &port],
            ["--tls-cert-file", identity.cert()],
            ["--tls-key-file", identity.key()],
            ["--tls-ca-cert-file", pki.ca()],
            ["--tls-auth-clients", auth_clients],
        ]
        .concat();
        let builder = args.into_iter().fold(Server::builder(Flavor::Redis70), ServerBuilder::arg);
        let server = builder.start();
        wait_until("the server listens for TLS", || TcpStream::connect(address).is_ok());
        Self { server, address: address.to_string() }
    }

    fn url(&self) -> String {
        format!("rediss://{}", self.address)
    }
}
