//! The options of `unbusy proxy`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use unbusy_proxy::{Config, ListenerTls};

use super::engine::EngineArgs;
use super::error::UsageError;
use super::origins::Origins;
use super::parse;
use super::sources::Sources;
use super::upstream_tls::StrayTls;
use super::url::{self, ServerUrl};
use crate::logging::{LogSettings, Usual};

pub(crate) const DEFAULT_UPSTREAM: &str = "redis://127.0.0.1:6379";

const MORE: &str = "\
Each option can also be given as a variable (--max-wait as UNBUSY_MAX_WAIT) and in the file named by --config, under \
the same name (max-wait = \"30s\"; lists as [\"…\", \"…\"]). An option counts more than a variable, a variable more \
than the file. A variable set to nothing counts as not set.

SIGTERM, SIGINT, SIGHUP or SIGQUIT stops it: it accepts nobody any more, lets what is in flight or held finish within \
--drain, and closes. A second one ends it at once, except the one that `timeout` sends to its group within 20 ms of \
the first. SIGHUP stays ignored if it was at the start (nohup).

--kill-after ends scripts that have only read; the server spares those that have written. The login of --upstream needs +ping, \
+script|kill (+script before Redis 7.0) and +function|kill. It never ends another script of this proxy than the one it means, \
and says so if it cannot be sure that it met none of others. Transactions, and scripts sent several at once on one connection, \
are spared.

Exit codes: 0 after a stop, 1 when it cannot listen or run, 2 for a mistake in the options, variables or file.

Examples:
  unbusy proxy
      Listen on 127.0.0.1:6380 for the server on 127.0.0.1:6379.
  unbusy proxy --listen unix:/run/unbusy.sock --upstream rediss://redis.lan --max-wait 30s
      Clients connect to a socket; TLS to the server; BUSY is passed on after 30 seconds.
  unbusy proxy --admin 127.0.0.1:9380
      See http://127.0.0.1:9380/ for what it does; Prometheus reads /metrics there.
  unbusy proxy --kill-after 30s --kill-never nightly_report
      End scripts that run for longer than 30 seconds, but not this function.
  UNBUSY_UPSTREAM=redis://:secret@10.0.0.5 unbusy proxy --listen 0.0.0.0:6380 --allow-remote
      Serve other machines, and keep the password out of the list of processes.";

/// Listens, and passes everything on to a server; commands that it rejects with BUSY wait until it accepts them
#[derive(Debug, clap::Args)]
#[command(after_help = MORE)]
pub(crate) struct ProxyArgs {
    /// Where to listen: HOST:PORT (IPv6 in brackets) or unix:PATH; port 0: any free one; may be repeated
    /// [default: 127.0.0.1:6380]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// The server: redis://HOST:PORT, rediss://HOST:PORT or unix:PATH [default: redis://127.0.0.1:6379]
    ///
    /// USER:PASSWORD@ before the host is used only to read the server's BUSY threshold; clients log in for themselves.
    /// Options can be seen in the list of processes: give a password in UNBUSY_UPSTREAM or in the file.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// Listen beyond this machine, too: whoever reaches the proxy reaches the server, whose protected mode sees only
    /// the proxy
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_remote: Option<String>,

    /// Serve metrics for Prometheus, health and state over HTTP on this HOST:PORT, without a password [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,

    #[command(flatten)]
    engine: EngineArgs,

    /// Clients served at the same time; others get an error [default: 10000]
    #[arg(long, value_name = "NUMBER", help_heading = "Limits", allow_hyphen_values = true)]
    max_connections: Option<String>,

    /// How long commands in flight or held may go on after a stop was asked for [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = "Limits", allow_hyphen_values = true)]
    drain: Option<String>,

    /// PEM file of the certificate chain to show to clients
    #[arg(long, value_name = "FILE", help_heading = "TLS for clients")]
    tls_cert: Option<String>,

    /// PEM file of that certificate's private key
    #[arg(long, value_name = "FILE", help_heading = "TLS for clients")]
    tls_key: Option<String>,

    /// PEM file of the authorities that must have signed each client's certificate
    #[arg(long, value_name = "FILE", help_heading = "TLS for clients")]
    tls_client_ca: Option<String>,
}

/// What `unbusy proxy` is to do.
#[derive(Debug)]
pub(crate) struct ProxySettings {
    pub(crate) config: Config,
    pub(crate) server: ServerUrl,
    pub(crate) log: LogSettings,
    pub(crate) origins: Origins,
}

impl ProxyArgs {
    /// The settings from all sources, checked.
    pub(crate) fn settings(&self) -> Result<ProxySettings, UsageError> {
        let from = self.engine.sources()?;
        let server = match from.one("upstream", self.upstream.as_ref(), url::for_any_client)? {
            Some(server) => server,
            None => url::for_any_client(DEFAULT_UPSTREAM).map_err(UsageError::new)?,
        };
        let config = self.config(&from, &server)?;
        let log = self.engine.log(&from, Usual::Info)?;
        Ok(ProxySettings { config, server, log, origins: from.origins() })
    }

    fn config(&self, from: &Sources, server: &ServerUrl) -> Result<Config, UsageError> {
        let config = self.engine.config(from, server, StrayTls::Mistake)?;
        let remote = from.one("allow-remote", self.allow_remote.as_ref(), parse::switch)?;
        let connections = from.one("max-connections", self.max_connections.as_ref(), parse::connections)?;
        Ok(Config {
            listen: from.many("listen", &self.listen, parse::listen)?.unwrap_or(config.listen),
            allow_remote: remote.unwrap_or(config.allow_remote),
            admin: from.one("admin", self.admin.as_ref(), parse::admin)?,
            listener_tls: self.listener_tls(from)?,
            max_connections: connections.unwrap_or(config.max_connections),
            drain: from.one("drain", self.drain.as_ref(), parse::duration)?.unwrap_or(config.drain),
            ..config
        })
    }

    fn listener_tls(&self, from: &Sources) -> Result<Option<ListenerTls>, UsageError> {
        let cert = ("tls-cert", self.tls_cert.as_ref());
        let key = ("tls-key", self.tls_key.as_ref());
        let client_ca = from.one("tls-client-ca", self.tls_client_ca.as_ref(), parse::path)?;
        match from.both(cert, key, parse::path)? {
            Some((cert, key)) => Ok(Some(ListenerTls { cert, key, client_ca })),
            None if client_ca.is_some() => {
                Err(from.lacking(("tls-client-ca", self.tls_client_ca.as_ref()), &["tls-cert", "tls-key"]))
            }
            None => Ok(None),
        }
    }
}
