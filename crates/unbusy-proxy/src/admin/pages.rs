//! What the admin endpoint answers to which request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State as Of};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use super::losses::Losses;
use super::ready::Probe;
use super::scripts::Bill;
use super::state::State;
use super::{Subject, dashboard, events, exposition, metrics};
use crate::sync;

/// For so long what was made for one request serves others, too.
const GOOD_FOR: Duration = Duration::from_millis(100);
/// Who listens to events keeps his connection, so that they may not take all.
const LISTENERS_MAX: usize = 32;

const CONTENTS: &str = "\
unbusy
  /            the dashboard, for browsers
  /metrics     for Prometheus
  /healthz     200 as long as this process lives
  /readyz      200 if clients can be served, which a busy server does not prevent
  /api/state   state, counters and the last episodes, as JSON
  /api/events  the same live, as server-sent events
  /api/scripts what each script has cost, and its text
";

/// What all requests share.
pub(super) struct Desk {
    subject: Subject,
    started: SystemTime,
    host: Option<String>,
    probe: Probe,
    listeners: Arc<Semaphore>,
    metrics: Recent<Bytes>,
    state: Recent<State>,
    /// With the number of the last episode in it.
    whole: Recent<(u64, Bytes)>,
    scripts: Recent<Bytes>,
}

/// Something that may be a little old.
struct Recent<T>(Mutex<Option<(Instant, T)>>);

impl<T: Clone> Recent<T> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn get(&self, make: impl FnOnce() -> T) -> T {
        self.get_if(|_| true, make)
    }

    fn get_if(&self, serves: impl FnOnce(&T) -> bool, make: impl FnOnce() -> T) -> T {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, value)) = &*last
            && at.elapsed() < GOOD_FOR
            && serves(value)
        {
            return value.clone();
        }
        let value = make();
        *last = Some((Instant::now(), value.clone()));
        value
    }
}

impl Desk {
    pub(super) const fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(super) fn state(&self) -> State {
        self.state.get(|| State::of(&self.subject, self.started))
    }

    fn whole_state(&self) -> Bytes {
        // Who listens to events, and then reads this, must find here what he will not be told.
        let ended = self.state().episodes_ended();
        let whole = self.whole.get_if(
            |(last, _)| *last >= ended,
            || {
                let state = State::of(&self.subject, self.started).with_episodes(&self.subject);
                // Only maps with odd keys cannot be written as JSON.
                (state.episodes_ended(), serde_json::to_vec(&state).unwrap_or_default().into())
            },
        );
        whole.1
    }

    fn scripts(&self) -> Bytes {
        self.scripts.get(|| {
            let scripts = Bill::of(self.subject.shared.ledger.costs(), sync::now());
            serde_json::to_vec(&scripts).unwrap_or_default().into()
        })
    }

    fn metrics(&self) -> Bytes {
        self.metrics.get(|| metrics::page(&self.subject.shared, self.started).into())
    }

    /// Whether a request may call this endpoint so. A page of somebody else's can have its own name lead here, and then read
    /// what is answered as if it came from there (DNS rebinding); but it has to call us by that name.
    fn is_called(&self, host: &str) -> bool {
        let Some(own) = &self.host else { return true };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        is_loopback || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(own)
    }
}

/// `host`: the name it has besides those of loopback; `None`: any.
pub(super) fn router(host: Option<String>, subject: Subject) -> Router {
    let desk = Arc::new(Desk {
        subject,
        started: SystemTime::now(),
        host,
        probe: Probe::default(),
        listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
        metrics: Recent::new(),
        state: Recent::new(),
        whole: Recent::new(),
        scripts: Recent::new(),
    });
    dashboard::serve(Router::new())
        .route("/healthz", get("the process lives\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/state", get(state))
        .route("/api/events", get(listen))
        .route("/api/scripts", get(scripts))
        .route("/api/given-up", get(losses))
        .fallback((StatusCode::NOT_FOUND, CONTENTS))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), guard))
        .with_state(desk)
}

/// Refuses those that came here by a strange name, and has nothing kept or guessed of what is answered.
async fn guard(Of(desk): Of<Arc<Desk>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !desk.is_called(host) {
        let reason = "the Host header names neither this machine nor the address of --admin\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn ready(Of(desk): Of<Arc<Desk>>) -> Response {
    match desk.probe.verdict(&desk.subject).await {
        Ok(reason) => format!("{reason}\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(Of(desk): Of<Arc<Desk>>) -> Response {
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], desk.metrics()).into_response()
}

async fn state(Of(desk): Of<Arc<Desk>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], desk.whole_state()).into_response()
}

async fn scripts(Of(desk): Of<Arc<Desk>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], desk.scripts()).into_response()
}

async fn losses(Of(desk): Of<Arc<Desk>>) -> Response {
    let losses = serde_json::to_vec(&Losses::of(desk.subject.shared.losses())).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], losses).into_response()
}

async fn listen(Of(desk): Of<Arc<Desk>>) -> Response {
    let Ok(place) = Arc::clone(&desk.listeners).try_acquire_owned() else {
        let reason = format!("{LISTENERS_MAX} listen already\n");
        return (StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
    };
    events::response(desk, place).into_response()
}
