//! The options of the commands that ask a server about itself.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::time::Duration;

use unbusy_proxy::{Address, BusyThreshold, Upstream};

use super::error::UsageError;
use super::origins::Origins;
use super::parse;
use super::sources::{Origin, Sources, variable_text};
use super::upstream_tls::{StrayTls, UpstreamTlsArgs};
use super::url::ServerUrl;

/// What the URL can be of a command that can also look at a proxy.
pub(super) const SERVER_OR_PROXY: &str = "\
The server itself: redis://[USER:PASSWORD@]HOST[:PORT], rediss://… or unix:PATH; or a proxy's --admin: \
http://HOST:PORT [default: UNBUSY_UPSTREAM, else REDIS_URL]";

/// Where programs find their server.
const PROGRAMS_VARIABLE: &str = "REDIS_URL";

// Values are kept as text: `Sources` reads them, wherever they were written.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server itself, not a proxy: redis://[USER:PASSWORD@]HOST[:PORT], rediss://… or unix:PATH
    /// [default: UNBUSY_UPSTREAM, else REDIS_URL]
    #[arg(value_name = "URL")]
    url: Option<String>,

    /// The server's threshold, which cannot be read while it is busy: auto or how soon a script makes it BUSY
    /// [default: auto]
    #[arg(long, value_name = "auto|DURATION", allow_hyphen_values = true)]
    busy_threshold: Option<String>,

    /// TOML file with settings, as for `unbusy proxy`
    #[arg(long, value_name = "FILE")]
    config: Option<String>,

    #[command(flatten)]
    tls: UpstreamTlsArgs,
}

/// What is to be looked at.
#[derive(Debug)]
pub(crate) enum Subject {
    Server(Box<ServerSettings>),
    /// A proxy, which tells of its server.
    Proxy(EndpointSettings),
}

/// Which proxy's admin endpoint is asked.
#[derive(Debug, Clone)]
pub(crate) struct EndpointSettings {
    pub(crate) address: Address,
    /// How long each answer may take.
    pub(crate) timeout: Duration,
}

/// Which server is asked, and how.
#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) server: ServerUrl,
    pub(crate) upstream: Upstream,
    /// The threshold, if it was told.
    pub(crate) threshold: Option<Duration>,
    /// How long connecting, and each answer, may take.
    pub(crate) timeout: Duration,
    pub(crate) origins: Origins,
}

impl std::fmt::Display for EndpointSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl ServerArgs {
    /// As `settings`, for commands that can also look at a proxy.
    pub(crate) fn subject(
        &self,
        timeout: Option<&String>,
        usual_timeout: Duration,
    ) -> Result<Subject, UsageError> {
        let url = self.url.as_ref();
        let Some(url) = url.filter(|url| url.starts_with("http://") || url.starts_with("https://")) else {
            url.map(|url| Origin::Argument("URL").parse(url, server_or_proxy)).transpose()?;
            return Ok(Subject::Server(Box::new(self.settings(timeout, usual_timeout)?)));
        };
        Ok(Subject::Proxy(EndpointSettings {
            address: Origin::Argument("URL").parse(url, parse::admin_url)?,
            timeout: option("timeout", timeout, parse::positive_duration)?.unwrap_or(usual_timeout),
        }))
    }

    /// The settings from all sources, checked.
    pub(crate) fn settings(
        &self,
        timeout: Option<&String>,
        usual_timeout: Duration,
    ) -> Result<ServerSettings, UsageError> {
        let from = Sources::open(self.config.as_ref())?;
        let server = self.server(&from)?;
        let threshold = from.one("busy-threshold", self.busy_threshold.as_ref(), parse::busy_threshold)?;
        let timeout = option("timeout", timeout, parse::positive_duration)?;
        Ok(ServerSettings {
            upstream: server.upstream(self.tls.settings(&from, &server, StrayTls::Ignored)?),
            server,
            threshold: threshold.and_then(|threshold| match threshold {
                BusyThreshold::Fixed(threshold) => Some(threshold),
                BusyThreshold::Auto => None,
            }),
            timeout: timeout.unwrap_or(usual_timeout),
            origins: from.origins(),
        })
    }

    fn server(&self, from: &Sources) -> Result<ServerUrl, UsageError> {
        if let Some(url) = &self.url {
            return Origin::Argument("URL").parse(url, ServerUrl::parse);
        }
        if let Some(server) = from.one("upstream", None, ServerUrl::parse)? {
            return Ok(server);
        }
        match variable_text(PROGRAMS_VARIABLE)? {
            Some(url) => Origin::Variable(PROGRAMS_VARIABLE.to_owned()).parse(&url, ServerUrl::parse),
            None => Err(UsageError::new(
                "no server is named: write its URL behind the command, like redis://127.0.0.1:6379, or into \
                 UNBUSY_UPSTREAM or REDIS_URL",
            )),
        }
    }
}

fn server_or_proxy(text: &str) -> parse::Parsed<ServerUrl> {
    ServerUrl::parse(text)
        .map_err(|problem| format!("{problem}, or for a proxy's --admin http://127.0.0.1:9380"))
}

/// A setting that is an option only.
pub(super) fn option<T>(
    name: &'static str,
    flag: Option<&String>,
    parse: fn(&str) -> parse::Parsed<T>,
) -> Result<Option<T>, UsageError> {
    flag.map(|text| Origin::Flag(name).parse(text, parse)).transpose()
}
