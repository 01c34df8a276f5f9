//! The options of `unbusy run`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::ffi::OsString;

use unbusy_proxy::{Address, Config};

use super::engine::EngineArgs;
use super::error::UsageError;
use super::origins::Origins;
use super::parse;
use super::proxy::DEFAULT_UPSTREAM;
use super::sources::{Origin, Sources, variable_text};
use super::upstream_tls::StrayTls;
use super::url::{ServerUrl, is_for_tls};
use crate::logging::{LogSettings, Usual};

const MORE: &str = "\
The server is what --upstream says (or UNBUSY_UPSTREAM, or the file), else what the variable named by --env says \
already, else redis://127.0.0.1:6379. User, password, database and parameters of that URL stay in the URL that the \
command gets; what of them --upstream does not say is taken from the variable. One proxy serves one server; for two, \
nest:
  unbusy run --env CACHE_URL -- unbusy run --env QUEUE_URL -- CMD
An upstream that the outer one found in UNBUSY_UPSTREAM or the file is not the inner one's, too: that needs its own \
variable or --upstream.

Options can also be variables (UNBUSY_MAX_WAIT) or in a file, as with `unbusy proxy`; what such a file says about \
listening is not used here. Options can be seen in the list of processes: better leave a password in the variable.

SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM and SIGABRT are passed on to the command if a \
process sent them. \
Those of the terminal (Ctrl-C, Ctrl-\\, hang-up, resize) are not: they reach the command anyhow, since it is in the \
same process group. (So a process that signals the whole group, like timeout without --foreground, reaches it \
twice.) Signals ignored at the start stay ignored (nohup). The proxy ends with the command; processes \
that the command leaves behind lose their connections.

Exit codes: the command's own; 128+N if it died of signal N; 127 if it was not found, 126 if it cannot be executed, \
1 if the proxy cannot run, 2 for a mistake in the options, variables or file.

Examples:
  unbusy run -- python worker.py
      The worker reads REDIS_URL as ever, and never sees BUSY.
  unbusy run --env CELERY_BROKER_URL --env REDIS_URL -- celery -A shop worker
      Both variables lead through the proxy, each with its own database.
  unbusy run --unix --upstream redis://10.0.0.5/3 -- ./nightly.sh
      Through a unix socket that only this user can reach.";

/// Tells a nested `unbusy run` which file's upstream, or that UNBUSY_UPSTREAM, was the outer one's.
pub(crate) const OUTER: &str = "UNBUSY_RUN_UPSTREAM";

/// Runs a command with a proxy of its own, which it finds in REDIS_URL
#[derive(Debug, clap::Args)]
#[command(override_usage = "unbusy run [OPTIONS] -- <CMD> [ARGS]...", after_help = MORE)]
pub(crate) struct RunArgs {
    /// The server: redis://HOST:PORT, rediss://HOST:PORT or unix:PATH [default: see the end]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// Variable in which the command finds the URL; may be repeated [default: REDIS_URL]
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,

    /// Listen on a unix socket in a directory of its own instead of on a free port
    #[arg(long)]
    pub(crate) unix: bool,

    #[command(flatten)]
    engine: EngineArgs,

    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

/// What `unbusy run` is to do.
#[derive(Debug)]
pub(crate) struct RunSettings {
    /// For the proxy, except where to listen.
    pub(crate) config: Config,
    /// The variables, each with the server's URL as the command would have seen it.
    pub(crate) variables: Vec<Variable>,
    /// The place of an upstream that a nested `unbusy run` sees, too, but that is not meant for it.
    pub(crate) spent: Option<String>,
    pub(crate) log: LogSettings,
    pub(crate) origins: Origins,
}

#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    server: ServerUrl,
}

impl Variable {
    /// The URL that leads through a proxy at this address.
    pub(crate) fn url_through(&self, proxy: &Address) -> String {
        self.server.moved_to(proxy)
    }

    pub(crate) fn has_tls_parameters(&self) -> bool {
        self.server.parameters.iter().any(|parameter| is_for_tls(parameter))
    }
}

impl RunSettings {
    /// The server, for logs.
    pub(crate) fn server(&self) -> &ServerUrl {
        &self.variables[0].server
    }
}

impl RunArgs {
    /// The settings from all sources, checked.
    pub(crate) fn settings(&self) -> Result<RunSettings, UsageError> {
        let from = self.engine.sources()?;
        let variables = self.variables(&from)?;
        one_server(&variables)?;
        let config = self.engine.config(&from, &variables[0].server, StrayTls::Ignored)?;
        let spent = self.spent(&from)?;
        let log = self.engine.log(&from, Usual::Warn)?;
        let mut origins = from.origins();
        if self.stated(&from)?.is_none() {
            origins.note("upstream", &Origin::Variable(variables[0].name.clone()));
        }
        Ok(RunSettings { config, variables, spent, log, origins })
    }

    fn variables(&self, from: &Sources) -> Result<Vec<Variable>, UsageError> {
        let names = self.names()?;
        let own = names.iter().map(|name| url_in(name)).collect::<Result<Vec<_>, _>>()?;
        let stated = self.stated(from)?;
        let complete = |url: &ServerUrl| match &stated {
            Some(stated) => stated.clone().completed_by(url),
            None => url.clone(),
        };
        // A variable that says nothing gets what the others say.
        let common = match own.iter().flatten().next().map(complete).or_else(|| stated.clone()) {
            Some(server) => server,
            None => default_server(&names[0])?,
        };
        let own = own.iter().map(|own| own.as_ref().map(complete));
        let servers = own.map(|own| own.unwrap_or_else(|| common.clone()));
        Ok(names.into_iter().zip(servers).map(|(name, server)| Variable { name, server }).collect())
    }

    fn stated(&self, from: &Sources) -> Result<Option<ServerUrl>, UsageError> {
        let upstream = self.upstream.as_ref();
        let in_file = matches!(from.origin("upstream", upstream)?, Some(Origin::File { .. }));
        if in_file && variable_text(OUTER)?.is_some_and(|spent| from.file() == Some(spent)) {
            return Ok(None);
        }
        from.one("upstream", upstream, ServerUrl::parse)
    }

    fn spent(&self, from: &Sources) -> Result<Option<String>, UsageError> {
        if from.file_has("upstream")? {
            return Ok(from.file());
        }
        let origin = from.origin("upstream", self.upstream.as_ref())?;
        Ok(origin.filter(|origin| matches!(origin, Origin::Variable(_))).map(|origin| origin.to_string()))
    }

    fn names(&self) -> Result<Vec<String>, UsageError> {
        if self.env.is_empty() {
            return Ok(vec!["REDIS_URL".to_owned()]);
        }
        self.env.iter().map(|name| Origin::Flag("env").parse(name, parse::variable)).collect()
    }
}

/// The server where none is named. Who nests may expect the upstream that the outer run was told, so that it is a
/// mistake then.
fn default_server(variable: &str) -> Result<ServerUrl, UsageError> {
    match variable_text(OUTER)? {
        None => ServerUrl::parse(DEFAULT_UPSTREAM).map_err(UsageError::new),
        Some(spent) => Err(UsageError::new(format!(
            "{variable} is not set, and the upstream in {spent} is that of the outer `unbusy run`; name the server \
             of the nested one in {variable} or with --upstream, like redis://127.0.0.1:6379"
        ))),
    }
}

fn url_in(variable: &str) -> Result<Option<ServerUrl>, UsageError> {
    let text = variable_text(variable)?;
    text.map(|text| Origin::Variable(variable.to_owned()).parse(&text, ServerUrl::parse)).transpose()
}

fn one_server(variables: &[Variable]) -> Result<(), UsageError> {
    let place = |variable: &Variable| (variable.server.address.clone(), variable.server.tls);
    let first = &variables[0];
    let Some(other) = variables.iter().find(|variable| place(variable) != place(first)) else {
        return Ok(());
    };
    Err(UsageError::new(format!(
        "{} names the server {}, but {} names {}: one proxy serves one server; nest them, like \
         unbusy run --env {} -- unbusy run --env {} -- CMD",
        first.name, first.server, other.name, other.server, first.name, other.name
    )))
}
