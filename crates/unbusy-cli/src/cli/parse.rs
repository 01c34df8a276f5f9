//! One parser per kind of value. Each says what is wrong and shows a right example; who calls knows where it was
//! written.
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use unbusy_proxy::{Address, BusyThreshold, Io, Ordering};

use crate::logging::Format;

/// A value, or what is wrong with it, to be put behind the name and the text of the setting.
pub(crate) type Parsed<T> = Result<T, String>;

// Far above any use, and far below where adding it to a clock overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What `--hold` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Busy,
    Loading,
}

pub(crate) fn duration(text: &str) -> Parsed<Duration> {
    let not_one = || "not a duration; write it like 500ms, 30s or 2m".to_owned();
    let duration = humantime::parse_duration(text).map_err(|_| not_one())?;
    if duration > LONGEST {
        return Err("longer than a year; write it like 500ms, 30s or 2m".to_owned());
    }
    Ok(duration)
}

pub(crate) fn positive_duration(text: &str) -> Parsed<Duration> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0; write it like 500ms, 30s or 2m".to_owned()),
        duration => Ok(duration),
    }
}

pub(crate) fn busy_threshold(text: &str) -> Parsed<BusyThreshold> {
    match text {
        "auto" => Ok(BusyThreshold::Auto),
        _ if humantime::parse_duration(text).is_err() => {
            Err("neither auto nor a duration; write it like auto, 100ms or 5s".to_owned())
        }
        _ => duration(text).map(BusyThreshold::Fixed),
    }
}

pub(crate) fn hold(text: &str) -> Parsed<Hold> {
    match text {
        "busy" => Ok(Hold::Busy),
        "loading" => Ok(Hold::Loading),
        _ => Err("not an error that can be held; write busy, loading or busy,loading".to_owned()),
    }
}

/// What a script is called by servers: an SHA-1, for which lower case counts, or a function's name.
pub(crate) fn script(text: &str) -> Parsed<String> {
    const SHA1_DIGITS: usize = 40;
    if text.is_empty() || text.contains(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
        return Err("neither an SHA1 nor a function's name; write it like \
                    11f6ad8ec52a2984abaafd7c3b516503785c2072 or my_function"
            .to_owned());
    }
    let is_sha1 = text.len() == SHA1_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(if is_sha1 { text.to_ascii_lowercase() } else { text.to_owned() })
}

pub(crate) fn ordering(text: &str) -> Parsed<Ordering> {
    match text {
        "strict" => Ok(Ordering::Strict),
        "relaxed" => Ok(Ordering::Relaxed),
        _ => Err("not an ordering; write strict or relaxed".to_owned()),
    }
}

pub(crate) fn log_format(text: &str) -> Parsed<Format> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("not a log format; write text or json".to_owned()),
    }
}

pub(crate) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("neither yes nor no; write true or false".to_owned()),
    }
}

pub(crate) fn verbosity(text: &str) -> Parsed<u8> {
    text.parse().map_err(|_| "not a number of -v; write 1 for more, 2 for all".to_owned())
}

pub(crate) fn threads(text: &str) -> Parsed<usize> {
    number(text, 1024).ok_or_else(|| "not a number of threads from 1 to 1024; write it like 4".to_owned())
}

pub(crate) fn io(text: &str) -> Parsed<Io> {
    match text {
        "epoll" => Ok(Io::Epoll),
        "uring" => Ok(Io::Uring),
        "auto" => Ok(Io::Auto),
        _ => Err("not a way to read and write sockets; write epoll, uring or auto".to_owned()),
    }
}

pub(crate) fn connections(text: &str) -> Parsed<usize> {
    number(text, 1_000_000)
        .ok_or_else(|| "not a number of clients from 1 to 1000000; write it like 10000".to_owned())
}

fn number(text: &str, most: usize) -> Option<usize> {
    text.parse().ok().filter(|number| (1..=most).contains(number))
}

pub(crate) fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() {
        return Err("not a file name; write it like /etc/unbusy/name".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(crate) fn server_name(text: &str) -> Parsed<String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || "/:@".contains(c)) {
        return Err("not a host name; write it like redis.example.com".to_owned());
    }
    Ok(text.to_owned())
}

/// A name that every shell takes.
pub(crate) fn variable(text: &str) -> Parsed<String> {
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|c: char| !c.is_ascii_digit());
    if !is_name {
        return Err(
            "not a variable's name; write it like REDIS_URL, and several like --env REDIS_URL --env \
                    CELERY_BROKER_URL"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

pub(crate) fn listen(text: &str) -> Parsed<Address> {
    if let Some(port) = text.strip_prefix("*:") {
        return Err(format!(
            "not an address; all those of this machine are written 0.0.0.0:{port} or [::]:{port}"
        ));
    }
    let address = match text.strip_prefix("unix:") {
        Some("") => None,
        Some(path) => Some(Address::Unix(PathBuf::from(path))),
        None => text.rsplit_once(':').and_then(|(host, port)| {
            Some(Address::Tcp { host: self::host(host)?, port: port.parse().ok()? })
        }),
    };
    address.ok_or_else(|| {
        "not an address; write it like 127.0.0.1:6380, [::1]:6380 or unix:/run/unbusy.sock".to_owned()
    })
}

pub(crate) fn admin(text: &str) -> Parsed<Address> {
    match listen(text) {
        Ok(address @ Address::Tcp { .. }) => Ok(address),
        Err(problem) if text.starts_with("*:") => Err(problem),
        _ => Err("not an address for HTTP; write it like 127.0.0.1:9380 or [::1]:9380".to_owned()),
    }
}

/// Where a proxy's `--admin` is to be asked.
pub(crate) fn admin_url(text: &str) -> Parsed<Address> {
    let address = text.strip_prefix("http://").and_then(|place| admin(place.trim_end_matches('/')).ok());
    match address {
        Some(Address::Tcp { port: 0, .. }) | None => {
            Err("not the address of a proxy's --admin; write it like http://127.0.0.1:9380".to_owned())
        }
        Some(address) => Ok(address),
    }
}

/// A host without the brackets that an IPv6 address has before a port.
pub(crate) fn host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let strange = |c: char| c.is_whitespace() || c.is_control() || "/:@?#[]".contains(c);
    (!text.is_empty() && !text.contains(strange)).then(|| text.to_owned())
}

/// A value as it may be shown in a message: a URL keeps its user, password and parameters to itself, and what stands
/// in the place of a port if it is none: with the host forgotten that is the password.
pub(crate) fn without_secrets(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(start);
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, place)| format!("…@{place}"));
    let rest = rest.split_once('?').map_or_else(|| rest.clone(), |(place, _)| format!("{place}?…"));
    let is_path = scheme.is_empty() && (rest.starts_with("unix:") || rest.starts_with(['/', '.']));
    if is_path { rest } else { scheme.to_owned() + &without_odd_port(&rest, !scheme.is_empty()) }
}

fn without_odd_port(text: &str, is_url: bool) -> String {
    // Without a scheme, or with a misspelled one, there is no telling what is what.
    let place = if is_url { text.split(['/', '?']).next().unwrap_or_default() } else { text };
    match place.rsplit_once(':') {
        Some((host, port)) if !place.ends_with(']') && !starts_with_port(port) => format!("{host}:…"),
        _ => text.to_owned(),
    }
}

fn starts_with_port(text: &str) -> bool {
    text.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        let sha1 = "11F6AD8ec52a2984abaafd7c3b516503785c2072";
        assert_eq!(script(sha1), Ok(sha1.to_ascii_lowercase()));
        assert_eq!(script("My_Function1"), Ok("My_Function1".to_owned()));
        for wrong in ["", "two words", "return 1;", "f*"] {
            assert!(script(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "2", "2x", "-1s", "99999 years", "1e3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0s").is_err());
        assert_eq!(busy_threshold("auto"), Ok(BusyThreshold::Auto));
        assert_eq!(busy_threshold("0"), Ok(BusyThreshold::Fixed(Duration::ZERO)));
    }

    #[test]
    fn variables() {
        for name in ["REDIS_URL", "_x9", "a"] {
            assert_eq!(variable(name), Ok(name.to_owned()));
        }
        for wrong in ["", "A,B", "A=B", "A B", "9A", "A-B", "É"] {
            assert!(variable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn listeners() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.into(), port });
        assert_eq!(listen("127.0.0.1:0"), tcp("127.0.0.1", 0));
        assert_eq!(listen("localhost:6380"), tcp("localhost", 6380));
        assert_eq!(listen("[::1]:6380"), tcp("::1", 6380));
        assert_eq!(listen("unix:/run/u.sock"), Ok(Address::Unix("/run/u.sock".into())));
        for wrong in
            ["", "6380", ":6380", "::1:6380", "[::1]", "host:65536", "redis://h:1", "unix:", "[h]:1", "*:1"]
        {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn admin_endpoints() {
        assert_eq!(admin("localhost:9380"), Ok(Address::Tcp { host: "localhost".into(), port: 9380 }));
        for wrong in ["", "9380", "unix:/run/u.sock", "http://localhost:9380", "*:9380"] {
            assert!(admin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn admin_endpoints_to_ask() {
        let tcp = |host: &str| Ok(Address::Tcp { host: host.into(), port: 9380 });
        assert_eq!(admin_url("http://localhost:9380"), tcp("localhost"));
        assert_eq!(admin_url("http://[::1]:9380/"), tcp("::1"));
        for wrong in ["http://", "http://h", "http://h:0", "http://u:p@h:1", "http://h:1/api", "https://h:1"]
        {
            assert!(admin_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(without_secrets("redis://u:p@ss/w@host:1/2?password=x@y"), "redis://…@y");
        assert_eq!(without_secrets("redis://u:p@host:1/2?password=x"), "redis://…@host:1/2?…");
        assert_eq!(without_secrets("u:p@host"), "…@host");
        assert_eq!(without_secrets("unix:/run/r.sock"), "unix:/run/r.sock");
        assert_eq!(without_secrets("redis://:password"), "redis://:…");
        assert_eq!(without_secrets("redis://u:pass/word"), "redis://u:…");
        assert_eq!(without_secrets("redis://:123456"), "redis://:…");
        assert_eq!(without_secrets("redis:password"), "redis:…");
        assert_eq!(without_secrets("redis;//:password"), "redis;//:…");
        for harmless in ["localhost:6379/0", "redis://[::1]/3", "redis://h:1/x:y", "/etc/a:b.pem", "30s"] {
            assert_eq!(without_secrets(harmless), harmless);
        }
    }
}
