//! Reads the server's threshold, and how it reads its connections, and follows both.
//!
//! Besides the name of a strange function (`stranger.rs`), and kills that the operator wants (`kill.rs`), that is all that the
//! proxy itself ever asks of the server, with the credentials of `--upstream` if there are any. Where the server refuses, the
//! default is assumed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use unbusy_core::resp::args;
use unbusy_core::{DEFAULT_THRESHOLD, Survey};

use crate::config::Upstream;
use crate::inquiry::Inquiry;
use crate::notices;
use crate::shared::Shared;
use crate::sync;
use crate::upstream::Connector;

/// Assumed until the server was asked: short leases, but none that is too long.
pub(crate) const CAUTIOUS: Duration = Duration::from_millis(20);
/// `CONFIG SET` may change it at any time the server is not busy.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// After the first answer: proxies that start together do not see all connections of one another at once.
const ASK_SOON: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(250);
/// While the server is busy and nobody waits for its end, the question tells when the episode is over.
const RETRY_DESERTED: Duration = Duration::from_secs(1);
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Asks again and again. If the threshold was given, the rest is asked for only as long as it is answered.
pub(crate) async fn follow(shared: Arc<Shared>, connector: Arc<Connector>, upstream: Upstream, given: bool) {
    let mut known = Known::default();
    loop {
        let sent = sync::now();
        let answer =
            tokio::time::timeout(ANSWER_WAIT, read(&connector, &upstream, Survey::new(!given))).await;
        let pause = match answer {
            Ok(Ok(Answer::Told(survey))) => {
                shared.observed(true, sent);
                known.learn(&shared, &survey, given)
            }
            Ok(Ok(Answer::Refused(survey, reason))) => {
                let pause = known.learn(&shared, &survey, given);
                if given {
                    return;
                }
                known.tell_refusal(reason);
                pause
            }
            // Busy, loading, unreachable or silent: what was known before still holds.
            Ok(Ok(Answer::NotNow)) => {
                shared.observed(false, sent);
                known.pause()
            }
            Ok(Err(_)) | Err(_) => known.pause(),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.deserted() => tokio::time::sleep(RETRY_DESERTED).await,
        }
    }
}

/// What was learned, and told, so far.
#[derive(Default)]
struct Known {
    something: bool,
    threshold: Option<Duration>,
    refusal: Option<String>,
}

impl Known {
    /// Tells when to ask again.
    fn learn(&mut self, shared: &Shared, survey: &Survey, given: bool) -> Duration {
        let is_first = !std::mem::replace(&mut self.something, true);
        let pause = if is_first { ASK_SOON } else { ASK_AGAIN };
        shared.set_threaded_reads(survey.one_read());
        shared.set_clients(survey.clients().unwrap_or_default());
        if given {
            return pause;
        }
        let threshold = survey.threshold().unwrap_or(DEFAULT_THRESHOLD);
        if self.threshold != Some(threshold) {
            tracing::debug!(threshold_ms = notices::millis(threshold), "the server's threshold");
        }
        self.threshold = Some(threshold);
        shared.set_threshold((!threshold.is_zero()).then_some(threshold));
        pause
    }

    /// A server that knows no CONFIG cannot be helped, but a login can be mended.
    fn tell_refusal(&mut self, reason: String) {
        if self.refusal.as_ref() == Some(&reason) {
            return;
        }
        if ["WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH"].iter().any(|code| reason.starts_with(code)) {
            tracing::warn!(
                %reason,
                "the threshold cannot be read with this login; assuming 5s, which may be wrong (--busy-threshold or a login \
                 in --upstream helps)"
            );
        } else {
            tracing::info!(%reason, "the threshold cannot be read; assuming 5s (--busy-threshold sets it)");
        }
        self.refusal = Some(reason);
    }

    const fn pause(&self) -> Duration {
        if self.something { RETRY_DESERTED } else { RETRY }
    }
}

enum Answer {
    Told(Survey),
    /// Why the server did not tell all that matters.
    Refused(Survey, String),
    NotNow,
}

async fn read(connector: &Connector, upstream: &Upstream, mut survey: Survey) -> io::Result<Answer> {
    let mut server = Inquiry::on(connector.connect().await?);
    let mut reason = None;
    if let Some(reply) = server.log_in(upstream).await? {
        if is_passing(&reply) {
            return Ok(Answer::NotNow);
        }
        reason = refusal(&reply);
    }
    while let Some(question) = survey.question() {
        let reply = server.ask(question).await?;
        if is_passing(&reply) {
            return Ok(Answer::NotNow);
        }
        let refusal = refusal(&reply);
        survey.hear(refusal.is_none().then(|| words(&reply)).as_deref());
        reason = reason.or(refusal);
    }
    // A login that failed is no harm where everybody is told.
    Ok(match reason.filter(|_| survey.is_refused()) {
        Some(reason) => Answer::Refused(survey, reason),
        None => Answer::Told(survey),
    })
}

/// The words of an array of bulk strings, or the one of a bulk string alone.
fn words(reply: &[u8]) -> Vec<&[u8]> {
    if !reply.starts_with(b"$") {
        return args(reply).collect();
    }
    let text = reply.iter().position(|byte| *byte == b'\n').map(|end| &reply[end + 1..]);
    text.into_iter().collect()
}

fn refusal(reply: &[u8]) -> Option<String> {
    let text = reply.strip_prefix(b"-")?;
    Some(String::from_utf8_lossy(text).trim().to_owned())
}

/// Whether the server refuses only for a while.
fn is_passing(reply: &[u8]) -> bool {
    [b"-BUSY ".as_slice(), b"-LOADING "].iter().any(|start| reply.starts_with(start))
}
