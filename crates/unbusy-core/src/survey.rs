//! What a server is asked of itself: its threshold and how it reads its connections, since the lease depends on that, and
//! how many there are, since those who wait for its being free share what it can bear.

use std::time::Duration;

/// The questions to a server, one after the other, and what follows from its answers.
///
/// ```
/// use std::time::Duration;
/// use unbusy_core::Survey;
/// let mut survey = Survey::new(true);
/// assert_eq!(survey.question(), Some(["CONFIG", "GET", "busy-reply-threshold"].as_slice()));
/// survey.hear(Some(&[b"busy-reply-threshold", b"5000"]));
/// assert_eq!(survey.question(), Some(["CONFIG", "GET", "io-threads*"].as_slice()));
/// survey.hear(Some(&[b"io-threads", b"1"]));
/// assert_eq!(survey.question(), Some(["INFO", "clients"].as_slice()));
/// survey.hear(Some(&[b"# Clients\r\nconnected_clients:12\r\n"]));
/// assert_eq!((survey.question(), survey.clients()), (None, Some(12)));
/// assert_eq!((survey.threshold(), survey.one_read()), (Some(Duration::from_secs(5)), false));
/// ```
#[derive(Debug, Clone)]
pub struct Survey {
    step: Option<Step>,
    threshold: Option<Duration>,
    one_read: bool,
    clients: Option<u32>,
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Threshold,
    /// Redis 7.0 gave it a new name and keeps the old one as an alias.
    OldThreshold,
    Threads,
    Version,
    Clients,
}

impl Survey {
    /// Questions about the threshold, if it is not known otherwise, and about I/O threads.
    pub const fn new(threshold: bool) -> Self {
        Self {
            step: Some(if threshold { Step::Threshold } else { Step::Threads }),
            threshold: None,
            one_read: true,
            clients: None,
            refused: false,
        }
    }

    /// The command to be sent next.
    pub fn question(&self) -> Option<&'static [&'static str]> {
        let words: &[_] = match self.step? {
            Step::Threshold => &["CONFIG", "GET", "busy-reply-threshold"],
            Step::OldThreshold => &["CONFIG", "GET", "lua-time-limit"],
            Step::Threads => &["CONFIG", "GET", "io-threads*"],
            Step::Version => &["INFO", "server"],
            Step::Clients => &["INFO", "clients"],
        };
        Some(words)
    }

    /// The words of the reply to it, or `None` if the server refused. What it refuses for a while only, since it is busy or
    /// loads, is to be asked again instead.
    pub fn hear(&mut self, words: Option<&[&[u8]]>) {
        self.refused |= words.is_none() && self.step != Some(Step::Clients);
        self.step = match (self.step, words) {
            (Some(Step::Threshold | Step::OldThreshold), Some([_, millis])) => {
                self.threshold = number(millis).map(Duration::from_millis);
                Some(Step::Threads)
            }
            (Some(Step::Threshold), Some(_)) => Some(Step::OldThreshold),
            (Some(Step::OldThreshold), Some(_)) => Some(Step::Threads),
            (Some(Step::Threads), Some(words)) => {
                self.one_read = reads_in_threads(words);
                Some(Step::Clients)
            }
            (Some(Step::Version), Some([info])) => {
                self.one_read = may_read_in_threads(info);
                Some(Step::Clients)
            }
            (Some(Step::Clients), Some([info])) => {
                self.clients = line(info, b"connected_clients:").and_then(number);
                None
            }
            (Some(Step::Version | Step::Clients) | None, _) => None,
            // Where one CONFIG is refused the others are, and each would be a line in the log of a server with ACLs.
            (Some(_), None) => Some(Step::Version),
        };
    }

    /// The threshold; zero: the server never answers BUSY. `None`: it did not tell.
    pub const fn threshold(&self) -> Option<Duration> {
        self.threshold
    }

    /// Whether the server refused something that a lease depends on.
    pub const fn is_refused(&self) -> bool {
        self.refused
    }

    /// How many connections it has, as far as it told.
    pub const fn clients(&self) -> Option<u32> {
        self.clients
    }

    /// [`Policy::one_read`](crate::Policy::one_read), as long as nothing else makes it necessary. Where the server tells
    /// neither its settings nor its version, it is taken to have I/O threads: a pipeline is slower then, and has no hole.
    pub const fn one_read(&self) -> bool {
        self.one_read
    }
}

/// Whether I/O threads take from a connection no more than 16 KiB at once, also while a script runs: those of Valkey from
/// 8.0 on (`trySendReadToIOThreads` in `io_threads.c`). Older ones rest then (`postponeClientRead` in networking.c of Redis
/// 7.0); a server that has them has the setting `io-threads-do-reads`.
fn reads_in_threads(words: &[&[u8]]) -> bool {
    let value = |name: &[u8]| words.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    value(b"io-threads-do-reads").is_none() && value(b"io-threads").is_some_and(|threads| threads != b"1")
}

/// Whether a server of this version can have such threads; `INFO` does not tell reliably how many there are.
fn may_read_in_threads(info: &[u8]) -> bool {
    /// Of Redis as well: its threads of 8.0 read for themselves, too.
    const FIRST: u64 = 8;
    let major = |name: &[u8]| number::<u64>(line(info, name)?.split(|byte| *byte == b'.').next()?);
    // Valkey calls itself Redis 7.2 as well, for those who look for that.
    let version = major(b"valkey_version:").or_else(|| major(b"redis_version:"));
    version.is_none_or(|version| version >= FIRST)
}

/// What follows the name in a line of `INFO`.
fn line<'i>(info: &'i [u8], name: &[u8]) -> Option<&'i [u8]> {
    let line = info.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Survey, may_read_in_threads, reads_in_threads};

    #[test]
    fn only_threads_that_read_while_a_script_runs_count() {
        assert!(reads_in_threads(&[b"io-threads", b"2"]));
        assert!(!reads_in_threads(&[b"io-threads", b"1"]));
        assert!(!reads_in_threads(&[b"io-threads-do-reads", b"yes", b"io-threads", b"4"]));
        assert!(!reads_in_threads(&[]));
    }

    #[test]
    fn where_config_is_refused_the_version_decides() {
        let one_read = |answer: Option<&[&[u8]]>| {
            let mut survey = Survey::new(true);
            survey.hear(None);
            assert!(survey.is_refused());
            assert_eq!(survey.question(), Some(["INFO", "server"].as_slice()));
            survey.hear(answer);
            assert_eq!(survey.question().is_none(), answer.is_none());
            survey.hear(answer);
            assert_eq!((survey.question(), survey.threshold(), survey.clients()), (None, None, None));
            survey.one_read()
        };
        assert!(one_read(None), "a server that tells nothing");
        assert!(one_read(Some(&[b"# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.0\r\n"])));
        assert!(!one_read(Some(&[b"# Server\r\nredis_version:7.2.4\r\nvalkey_version:7.2.7\r\n"])));
    }

    #[test]
    fn a_server_that_hides_its_clients_only_refuses_nothing_that_matters() {
        let mut survey = Survey::new(true);
        survey.hear(Some(&[b"busy-reply-threshold", b"100"]));
        survey.hear(Some(&[b"io-threads", b"1"]));
        survey.hear(None);
        assert_eq!((survey.question(), survey.is_refused(), survey.one_read()), (None, false, false));
    }

    #[test]
    fn how_many_clients_there_are_is_asked_last() {
        let mut survey = Survey::new(false);
        survey.hear(Some(&[b"io-threads", b"1"]));
        assert_eq!(survey.question(), Some(["INFO", "clients"].as_slice()));
        survey.hear(Some(&[b"# Clients\r\nconnected_clients:42\r\nblocked_clients:3\r\n"]));
        assert_eq!((survey.question(), survey.clients()), (None, Some(42)));
    }

    #[test]
    fn versions_are_found_in_info() {
        assert!(may_read_in_threads(b"# Server\r\nredis_version:8.2.1\r\n"));
        assert!(!may_read_in_threads(b"# Server\r\nredis_version:6.2.14\r\n"));
        assert!(may_read_in_threads(b""));
    }

    #[test]
    fn old_servers_are_asked_by_the_old_name() {
        let mut survey = Survey::new(true);
        survey.hear(Some(&[]));
        assert_eq!(survey.question(), Some(["CONFIG", "GET", "lua-time-limit"].as_slice()));
        survey.hear(Some(&[b"lua-time-limit", b"100"]));
        survey.hear(Some(&[]));
        assert_eq!((survey.threshold(), survey.one_read()), (Some(Duration::from_millis(100)), false));
    }
}
