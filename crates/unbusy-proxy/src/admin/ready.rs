//! `/readyz`: whether clients can be served, which a busy or silent server does not prevent: they are held.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Subject;
use crate::InquiryError;
use crate::shared::Stage;

/// For so long an answer is good for others as well, so that many who ask do not become many connections to the server.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Connects to the server to see whether that is possible.
#[derive(Debug, Default)]
pub(super) struct Probe {
    last: Mutex<Option<(Instant, Verdict)>>,
}

/// Yes or no, and in words why.
pub(super) type Verdict = Result<String, String>;

impl Probe {
    pub(super) async fn verdict(&self, subject: &Subject) -> Verdict {
        if subject.shared.stage() != Stage::Running {
            return Err("draining: no new clients are taken".to_owned());
        }
        // Who comes meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, verdict)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return verdict.clone();
        }
        let verdict = connect(subject).await;
        *last = Some((Instant::now(), verdict.clone()));
        verdict
    }
}

async fn connect(subject: &Subject) -> Verdict {
    let server = subject.connector.address();
    match subject.connector.inquire().await {
        Ok(_) => Ok(format!("ready: {server} takes connections")),
        // A server that is busy or stalled does not greet either.
        Err(InquiryError::Silent(_)) => Ok(format!("ready: {server} takes connections, but is silent")),
        Err(InquiryError::Unreachable(reason)) => Err(format!("not ready: cannot reach {server}: {reason}")),
    }
}
