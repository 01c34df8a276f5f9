//! The URL of a server: taken apart for the proxy, and put together again for a child that is to use the proxy.
use std::path::PathBuf;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use unbusy_proxy::{Address, Upstream, UpstreamTls};

use super::parse::{self, Parsed};

const DEFAULT_PORT: u16 = 6379;
const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?');

/// A server's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    pub(crate) address: Address,
    pub(crate) tls: bool,
    /// `user:password` as it was written, still encoded.
    login: Option<String>,
    /// The database as it was written.
    pub(crate) db: Option<String>,
    /// The other parameters, `name=value` each.
    pub(crate) parameters: Vec<String>,
}

impl ServerUrl {
    pub(crate) fn parse(text: &str) -> Parsed<Self> {
        let url = match text.split_once("://") {
            Some(("redis" | "valkey", rest)) => Self::tcp(rest, false),
            Some(("rediss" | "valkeys", rest)) => Self::tcp(rest, true),
            Some(("unix", rest)) => Self::unix(rest),
            _ => match text.strip_prefix("unix:") {
                Some("") | None => Err("not a server's address".to_owned()),
                Some(path) => Ok(Self::plain(Address::Unix(PathBuf::from(path)))),
            },
        };
        let url = url.and_then(|url| url.login_parts().map(|_| url));
        url.map_err(|problem| {
            format!(
                "{problem}; write it like redis://127.0.0.1:6379, rediss://host:6380 or unix:/run/redis.sock"
            )
        })
    }

    fn plain(address: Address) -> Self {
        Self { address, tls: false, login: None, db: None, parameters: Vec::new() }
    }

    fn tcp(rest: &str, tls: bool) -> Parsed<Self> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = split_login(authority);
        let address = Address::Tcp { host: host(place)?, port: port(place)? };
        let mut url = Self { tls, login, ..Self::plain(address) };
        url.db = Some(path.trim_matches('/').to_owned()).filter(|db| !db.is_empty());
        url.take_parameters(query);
        Ok(url)
    }

    fn unix(rest: &str) -> Parsed<Self> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, path) = split_login(rest);
        if path.is_empty() {
            return Err("without a path".to_owned());
        }
        let mut url = Self { login, ..Self::plain(Address::Unix(PathBuf::from(decode(path)?))) };
        url.take_parameters(query);
        Ok(url)
    }

    // As in redis-py, a parameter `db` counts more than a path.
    fn take_parameters(&mut self, query: &str) {
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.strip_prefix("db=") {
                Some(db) => self.db = Some(db.to_owned()),
                None => self.parameters.push(parameter.to_owned()),
            }
        }
    }

    fn login_parts(&self) -> Parsed<(Option<String>, Option<String>)> {
        let login = self.login.as_deref().unwrap_or_default();
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let part = |text: &str| decode(text).map(|text| Some(text).filter(|text| !text.is_empty()));
        Ok((part(user)?, part(password)?))
    }

    /// The server for the proxy. `tls` is used only if the URL asks for TLS.
    pub(crate) fn upstream(&self, tls: UpstreamTls) -> Upstream {
        let (username, password) = self.login_parts().unwrap_or_default();
        Upstream { address: self.address.clone(), username, password, tls: self.tls.then_some(tls) }
    }

    /// This server, with what of login, database and parameters only the other URL has.
    pub(crate) fn completed_by(self, other: &Self) -> Self {
        let parameters = if self.parameters.is_empty() { other.parameters.clone() } else { self.parameters };
        Self {
            login: self.login.or_else(|| other.login.clone()),
            db: self.db.or_else(|| other.db.clone()),
            parameters,
            ..self
        }
    }

    /// The same login, database and parameters at another address, without TLS.
    pub(crate) fn moved_to(&self, address: &Address) -> String {
        let login = self.login.as_ref().map(|login| format!("{login}@")).unwrap_or_default();
        let mut query: Vec<_> =
            self.parameters.iter().filter(|parameter| !is_for_tls(parameter)).cloned().collect();
        let mut url = match address {
            Address::Tcp { .. } => {
                let db = self.db.as_ref().map(|db| format!("/{db}")).unwrap_or_default();
                format!("redis://{login}{address}{db}")
            }
            Address::Unix(path) => {
                query.extend(self.db.as_ref().map(|db| format!("db={db}")));
                format!("unix://{login}{}", utf8_percent_encode(&path.to_string_lossy(), IN_PATH))
            }
        };
        if !query.is_empty() {
            url = format!("{url}?{}", query.join("&"));
        }
        url
    }
}

/// For logs: without the login.
impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            Address::Tcp { .. } if self.tls => write!(f, "rediss://{}", self.address),
            Address::Tcp { .. } => write!(f, "redis://{}", self.address),
            Address::Unix(_) => self.address.fmt(f),
        }
    }
}

/// Whether clients take a parameter for a TLS connection only, and refuse it for any other.
pub(crate) fn is_for_tls(parameter: &str) -> bool {
    parameter.starts_with("ssl_")
}

/// For `unbusy proxy`, whose clients bring what such a URL would say for them.
pub(crate) fn for_any_client(text: &str) -> Parsed<ServerUrl> {
    let url = ServerUrl::parse(text)?;
    if url.db.is_some() || !url.parameters.is_empty() {
        return Err("names a database or parameters, but each client chooses its own; \
                    write it like redis://127.0.0.1:6379"
            .to_owned());
    }
    Ok(url)
}

// At the last @, as other clients do, so that an @ in a password need not be encoded.
fn split_login(text: &str) -> (Option<String>, &str) {
    text.rsplit_once('@').map_or((None, text), |(login, place)| (Some(login.to_owned()), place))
}

fn host(place: &str) -> Parsed<String> {
    let host = match place.rsplit_once(':') {
        Some((host, _)) if !place.ends_with(']') => host,
        _ => place,
    };
    match host {
        "" => Ok("localhost".to_owned()),
        _ => parse::host(host).ok_or_else(|| "its host is not a name or an address".to_owned()),
    }
}

fn port(place: &str) -> Parsed<u16> {
    match place.rsplit_once(':') {
        Some((_, port)) if !place.ends_with(']') => port.parse().ok().filter(|&port| port > 0).ok_or_else(|| {
            "its port is not a number from 1 to 65535 (behind a password stands @; in it / is written %2F and ? %3F)"
                .to_owned()
        }),
        _ => Ok(DEFAULT_PORT),
    }
}

fn decode(text: &str) -> Parsed<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "its percent-encoding is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    fn url(text: &str) -> ServerUrl {
        ServerUrl::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn places() {
        assert_eq!(url("redis://10.0.0.5").address, tcp("10.0.0.5", 6379));
        assert_eq!(url("redis://[::1]:7000").address, tcp("::1", 7000));
        assert_eq!(url("redis://[::1]").address, tcp("::1", 6379));
        assert_eq!(url("redis:///3").address, tcp("localhost", 6379));
        assert_eq!(url("unix:/run/50%.sock").address, Address::Unix("/run/50%.sock".into()));
        assert_eq!(url("unix:///run/50%25.sock?db=1").address, Address::Unix("/run/50%.sock".into()));
        assert!(url("rediss://h").tls);
        for wrong in [
            "",
            "localhost",
            "localhost:6379",
            "http://h",
            "redis://h:0",
            "redis://h:x",
            "redis://a b",
            "unix:",
            "unix://",
            "redis://:%ff@h",
            "redis://::1:6379",
        ] {
            assert!(ServerUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn logins() {
        let login = |text| {
            let upstream = url(text).upstream(UpstreamTls::default());
            (upstream.username.unwrap_or_default(), upstream.password.unwrap_or_default())
        };
        assert_eq!(login("redis://u:p%40%2F@h"), ("u".into(), "p@/".into()));
        assert_eq!(login("redis://:p@ss@h"), (String::new(), "p@ss".into()));
        assert_eq!(login("unix://u:p@/run/r.sock"), ("u".into(), "p".into()));
        assert_eq!(login("redis://h"), Default::default());
    }

    #[test]
    fn a_child_keeps_all_but_the_address() {
        let to_port = |text| url(text).moved_to(&tcp("127.0.0.1", 7));
        assert_eq!(to_port("redis://h"), "redis://127.0.0.1:7");
        assert_eq!(to_port("redis://u:p%40@h:1/3?protocol=3"), "redis://u:p%40@127.0.0.1:7/3?protocol=3");
        assert_eq!(to_port("rediss://:p@h/0?ssl_cert_reqs=none"), "redis://:p@127.0.0.1:7/0");
        assert_eq!(to_port("unix://u@/run/r?db=4"), "redis://u@127.0.0.1:7/4");
        let to_socket = |text| url(text).moved_to(&Address::Unix("/tmp/a b".into()));
        assert_eq!(to_socket("redis://:p@h/3?protocol=3"), "unix://:p@/tmp/a%20b?protocol=3&db=3");
        assert_eq!(to_socket("unix:/run/r"), "unix:///tmp/a%20b");
    }

    #[test]
    fn what_a_server_lacks_is_taken_from_another_url() {
        let both = |server, other| url(server).completed_by(&url(other));
        let whole = "redis://u:p@h:1/3?protocol=3";
        assert_eq!(both("redis://g", whole), url("redis://u:p@g/3?protocol=3"));
        assert_eq!(both("rediss://:q@g/4?protocol=2", whole), url("rediss://:q@g/4?protocol=2"));
        assert_eq!(both("unix:/run/r", whole), url("unix://u:p@/run/r?db=3&protocol=3"));
    }

    #[test]
    fn logs_show_no_login() {
        assert_eq!(url("rediss://u:p@h/3?x=y").to_string(), "rediss://h:6379");
    }
}
