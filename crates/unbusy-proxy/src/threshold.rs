//! Reads the server's threshold, and follows it.
//!
//! The only thing that the proxy itself ever asks of the server, with the credentials of `--upstream` if there are
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
            Ok(Ok(Answer::Threshold(_))) => shared.observed(true, sent),
            Ok(Ok(Answer::NotNow)) => shared.observed(false, sent),
            _ => {}
        }
        let known = match answer {
            Ok(Ok(Answer::Threshold(threshold))) => Some(threshold),
            Ok(Ok(Answer::Refused(reason))) => {
                if refused.as_ref() != Some(&reason) {
                    tell_refusal(&reason);
                }
                refused = Some(reason);
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
    Threshold(Duration),
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
            return Ok(Answer::Threshold(Duration::from_millis(millis)));
        }
    }
    Ok(Answer::Refused("the server knows no such setting".into()))
}

fn refusal(reply: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(reply).trim().trim_start_matches('-').to_owned();
    let passing = ["BUSY ", "LOADING "].iter().any(|code| text.starts_with(code));
    if passing { Answer::NotNow } else { Answer::Refused(text) }
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
