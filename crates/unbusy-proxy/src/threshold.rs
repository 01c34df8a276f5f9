//! Reads the server's threshold, and how it reads its connections, and follows both.
//!
//! The only things that the proxy itself ever asks of the server, with the credentials of `--upstream` if there are
//! any. Where the server refuses, the default is assumed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::ReadBuf;
use unbusy_core::DEFAULT_THRESHOLD;
use unbusy_core::resp::{ReplyScanner, Scanned, args};

use crate::config::Upstream;
use crate::notices;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::upstream::Connector;

/// Assumed until the server was asked: short leases, but none that is too long.
pub(crate) const CAUTIOUS: Duration = Duration::from_millis(20);
/// `CONFIG SET` may change it at any time the server is not busy.
const ASK_AGAIN: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(250);
/// While the server is busy and nobody waits for its end, the question tells when the episode is over.
const RETRY_DESERTED: Duration = Duration::from_secs(1);
const ANSWER_WAIT: Duration = Duration::from_secs(10);
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Asks again and again.
pub(crate) async fn follow(shared: Arc<Shared>, connector: Arc<Connector>, upstream: Upstream) {
    let (mut told, mut refused) = (None, None);
    loop {
        let sent = shared.now();
        let answer = tokio::time::timeout(ANSWER_WAIT, read(&connector, &upstream)).await;
        match &answer {
            Ok(Ok(Answer::Told { .. })) => shared.observed(true, sent),
            Ok(Ok(Answer::NotNow)) => shared.observed(false, sent),
            _ => {}
        }
        let known = match answer {
            Ok(Ok(Answer::Told { threshold, threaded_reads })) => {
                shared.set_threaded_reads(threaded_reads);
                Some(threshold)
            }
            Ok(Ok(Answer::Refused(reason))) => {
                if refused.as_ref() != Some(&reason) {
                    tell_refusal(&reason);
                }
                refused = Some(reason);
                shared.set_threaded_reads(false);
                Some(DEFAULT_THRESHOLD)
            }
            // Busy, loading, unreachable or silent: what was known before still holds.
            Ok(Ok(Answer::NotNow) | Err(_)) | Err(_) => None,
        };
        if let Some(threshold) = known {
            if told != Some(threshold) {
                tracing::debug!(threshold_ms = notices::millis(threshold), "the server's threshold");
            }
            told = Some(threshold);
            shared.set_threshold((!threshold.is_zero()).then_some(threshold));
        }
        let pause = match (known, told) {
            (Some(_), _) => ASK_AGAIN,
            (None, Some(_)) => RETRY_DESERTED,
            (None, None) => RETRY,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.deserted() => tokio::time::sleep(RETRY_DESERTED).await,
        }
    }
}

/// A server that knows no CONFIG cannot be helped, but a login can be mended.
fn tell_refusal(reason: &str) {
    if ["WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH"].iter().any(|code| reason.starts_with(code)) {
        tracing::warn!(
            %reason,
            "the threshold cannot be read with this login; assuming 5s, which may be wrong (--busy-threshold or a login \
             in --upstream helps)"
        );
    } else {
        tracing::info!(%reason, "the threshold cannot be read; assuming 5s (--busy-threshold sets it)");
    }
}

enum Answer {
    Told { threshold: Duration, threaded_reads: bool },
    Refused(String),
    NotNow,
}

async fn read(connector: &Connector, upstream: &Upstream) -> io::Result<Answer> {
    let mut stream = connector.connect().await?;
    if let Some(password) = &upstream.password {
        let user = upstream.username.as_deref();
        let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password.as_str()]).collect();
        let reply = ask(&mut stream, &words).await?;
        if reply.starts_with(b"-") {
            return Ok(refusal(&reply));
        }
    }
    // Redis 7.0 gave it a new name and keeps the old one as an alias.
    for name in ["busy-reply-threshold", "lua-time-limit"] {
        let reply = ask(&mut stream, &["CONFIG", "GET", name]).await?;
        if reply.starts_with(b"-") {
            return Ok(refusal(&reply));
        }
        let value = args(&reply).nth(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        if let Some(millis) = value {
            let threads = ask(&mut stream, &["CONFIG", "GET", "io-threads*"]).await?;
            return Ok(told(Duration::from_millis(millis), &threads));
        }
    }
    Ok(Answer::Refused("the server knows no such setting".into()))
}

/// Whether I/O threads take from a connection no more than 16 KiB at once, also while a script runs: those of Valkey from
/// 8.0 on (`trySendReadToIOThreads` in `io_threads.c`). Older ones rest then (`postponeClientRead` in networking.c of Redis
/// 7.0); a server that has them has the setting `io-threads-do-reads`.
fn reads_in_threads(reply: &[u8]) -> bool {
    let words: Vec<&[u8]> = args(reply).collect();
    let value = |name: &[u8]| words.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    value(b"io-threads-do-reads").is_none() && value(b"io-threads").is_some_and(|threads| threads != b"1")
}

fn told(threshold: Duration, threads: &[u8]) -> Answer {
    if is_passing(threads) {
        return Answer::NotNow;
    }
    Answer::Told { threshold, threaded_reads: reads_in_threads(threads) }
}

fn refusal(reply: &[u8]) -> Answer {
    if is_passing(reply) {
        return Answer::NotNow;
    }
    Answer::Refused(String::from_utf8_lossy(reply).trim().trim_start_matches('-').to_owned())
}

/// Whether the server refuses only for a while.
fn is_passing(reply: &[u8]) -> bool {
    [b"-BUSY ".as_slice(), b"-LOADING "].iter().any(|start| reply.starts_with(start))
}

async fn ask(stream: &mut Stream, words: &[&str]) -> io::Result<Vec<u8>> {
    let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    let request = format!("*{}\r\n{}", words.len(), words.concat());
    let mut written = 0;
    while written < request.len() {
        written += std::future::poll_fn(|cx| stream.poll_write(cx, &request.as_bytes()[written..])).await?;
    }
    std::future::poll_fn(|cx| stream.poll_flush(cx)).await?;
    let (mut reply, mut scanner, mut scratch) = (Vec::new(), ReplyScanner::default(), [0; 1024]);
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
        let bytes = buffer.filled();
        if bytes.is_empty() || reply.len() > REPLY_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reply.extend_from_slice(bytes);
        match scanner.scan(bytes) {
            Ok(Scanned::Complete(_)) => return Ok(reply),
            Ok(Scanned::Partial) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Answer, reads_in_threads, told};

    #[test]
    fn only_threads_that_read_while_a_script_runs_count() {
        let valkey = |threads: &str| format!("*2\r\n$10\r\nio-threads\r\n$1\r\n{threads}\r\n").into_bytes();
        assert!(reads_in_threads(&valkey("2")));
        assert!(!reads_in_threads(&valkey("1")));
        let redis = b"*4\r\n$19\r\nio-threads-do-reads\r\n$3\r\nyes\r\n$10\r\nio-threads\r\n$1\r\n4\r\n";
        assert!(!reads_in_threads(redis));
        assert!(!reads_in_threads(b"*0\r\n"));
        assert!(!reads_in_threads(b"-NOPERM no\r\n"));
    }

    #[test]
    fn a_server_that_turns_busy_between_the_questions_is_asked_again() {
        let answer = told(Duration::from_secs(5), b"-BUSY Redis is busy running a script.\r\n");
        assert!(matches!(answer, Answer::NotNow));
        let answer = told(Duration::from_secs(5), b"-NOPERM no\r\n");
        assert!(matches!(answer, Answer::Told { threaded_reads: false, .. }));
    }
}
