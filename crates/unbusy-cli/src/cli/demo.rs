//! The options of `unbusy demo`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::path::PathBuf;

use unbusy_proxy::Config;

use super::engine::EngineArgs;
use super::error::UsageError;
use super::origins::Origins;
use super::proxy::DEFAULT_UPSTREAM;
use super::sources::Origin;
use super::upstream_tls::StrayTls;
use super::url::ServerUrl;
use crate::logging::{LogSettings, Usual};

const MORE: &str = "\
Three groups of clients, 51 in all, write numbered elements to lists of their own while a script blocks the server \
for some seconds, so that it answers BUSY:
  direct       connected to the server; a BUSY is an error
  home remedy  connected to the server; after a BUSY they sleep 2 s and try again, up to 60 times
  unbusy       connected through unbusy; a command that the server rejects is held
Then the lists tell what was lost, executed twice or out of order. Added wait is the time from the script's end to the \
reply, of each command that waited for that end. Probes are the commands that the server rejected with BUSY: what the \
waiting costs it.

The server is one of its own, on a free port of this machine, with nothing saved, and stopped at the end. It is one \
of your own with --upstream: it is blocked for its BUSY threshold (read with CONFIG GET, else 5s) and some seconds \
more, so that this can take longer than half a minute. The keys begin with unbusy:demo: and a random number, and \
are removed at the end, also after Ctrl-C or an error; they expire after 10 minutes in any case. Neither \
UNBUSY_UPSTREAM nor the file names the server here: only the option does. With rediss:// the groups that \
connect to the server do so through a proxy that holds nothing and only adds TLS.

The other options are those of `unbusy proxy`, for the proxy within. -v shows its log, with --plain only.

Exit codes: 0 if all that it claims was seen, 1 if not or if it could not be tried, 2 for a mistake in the options, \
128+N after signal N (130 after Ctrl-C).

Examples:
  unbusy demo
      With a server of its own: redis-server or valkey-server.
  unbusy demo --plain > demo.txt
      Lines instead of a screen.
  unbusy demo --upstream redis://10.0.0.5:6379
      With a server of yours, after a question.";

/// Shows what BUSY does to clients, with and without unbusy, on a real server
#[derive(Debug, clap::Args)]
#[command(after_help = MORE)]
pub(crate) struct DemoArgs {
    /// The server's program, to start one [default: redis-server or valkey-server on PATH]
    #[arg(long, value_name = "PATH", conflicts_with = "upstream")]
    server: Option<PathBuf>,

    /// A running server instead: redis://HOST:PORT, rediss://HOST:PORT or unix:PATH. It is BLOCKED for some seconds
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// Do not ask before blocking the server of --upstream
    #[arg(long)]
    pub(crate) yes: bool,

    /// Lines instead of a screen, as when the output is not a terminal
    #[arg(long)]
    pub(crate) plain: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

/// What `unbusy demo` is to do.
#[derive(Debug)]
pub(crate) struct DemoSettings {
    /// For the proxy, except where to listen and, with a server of the demo's own, where that is.
    pub(crate) config: Config,
    pub(crate) server: DemoServer,
    pub(crate) log: LogSettings,
    pub(crate) origins: Origins,
}

/// The server to block.
#[derive(Debug)]
pub(crate) enum DemoServer {
    /// One to be started, from this program if it was named.
    Own(Option<PathBuf>),
    /// A running one.
    Users(ServerUrl),
}

impl DemoArgs {
    /// The settings from all sources, checked.
    pub(crate) fn settings(&self) -> Result<DemoSettings, UsageError> {
        let from = self.engine.sources()?;
        let stated = self.upstream.as_ref();
        let stated = stated.map(|text| Origin::Flag("upstream").parse(text, ServerUrl::parse)).transpose()?;
        let server = match &stated {
            Some(url) => url.clone(),
            None => ServerUrl::parse(DEFAULT_UPSTREAM).map_err(UsageError::new)?,
        };
        Ok(DemoSettings {
            config: self.engine.config(&from, &server, StrayTls::Ignored)?,
            server: stated.map_or_else(|| DemoServer::Own(self.server.clone()), DemoServer::Users),
            log: self.engine.log(&from, Usual::Warn)?,
            origins: from.origins(),
        })
    }
}
