//! The dashboard: one page and what it is made of, compiled in. It shows what `/api/state`, `/api/events`,
//! `/api/scripts` and `/api/given-up` tell.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing but the page's own files is loaded, and nobody else's page shows it. What its scripts are told (names of scripts,
/// addresses) cannot become HTML: where a browser knows Trusted Types, not even by mistake.
const HEADERS: [(HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($kind:expr, $name:literal) => {
        File {
            path: concat!("/dashboard/", $name),
            kind: $kind,
            text: include_str!(concat!("dashboard/", $name)),
        }
    };
}

const FILES: [File; 20] = [
    File { path: "/", kind: HTML, text: include_str!("dashboard/index.html") },
    file!(CSS, "style.css"),
    file!(SVG, "icon.svg"),
    file!(JAVASCRIPT, "main.js"),
    file!(JAVASCRIPT, "feed.js"),
    file!(JAVASCRIPT, "model.js"),
    file!(JAVASCRIPT, "now.js"),
    file!(JAVASCRIPT, "totals.js"),
    file!(JAVASCRIPT, "waiters.js"),
    file!(JAVASCRIPT, "explorer.js"),
    file!(JAVASCRIPT, "timeline.js"),
    file!(JAVASCRIPT, "view.js"),
    file!(JAVASCRIPT, "gestures.js"),
    file!(JAVASCRIPT, "episodes.js"),
    file!(JAVASCRIPT, "losses.js"),
    file!(JAVASCRIPT, "ready.js"),
    file!(JAVASCRIPT, "scripts.js"),
    file!(JAVASCRIPT, "canvas.js"),
    file!(JAVASCRIPT, "format.js"),
    file!(JAVASCRIPT, "page.js"),
];

/// Adds all its paths.
pub(super) fn serve<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES.iter().fold(router, |router, file| router.route(file.path, get(async || file.response())))
}

impl File {
    fn response(&self) -> Response {
        (HEADERS, [(header::CONTENT_TYPE, self.kind)], self.text).into_response()
    }
}
