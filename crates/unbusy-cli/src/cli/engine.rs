//! The options that every command with a proxy in it has.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use unbusy_proxy::{Config, HoldKinds, KillPolicy};

use super::error::UsageError;
use super::parse::{self, Hold};
use super::sources::Sources;
use super::upstream_tls::{StrayTls, UpstreamTlsArgs};
use super::url::ServerUrl;
use crate::logging::{LogSettings, Usual};

// Values are kept as text: `Sources` reads them, wherever they were written.
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// How long a command is held, counted from its first BUSY; 0: never [default: 120s]
    #[arg(long, value_name = "DURATION", help_heading = "Holding", allow_hyphen_values = true)]
    max_wait: Option<String>,

    /// Which errors are held: busy, loading or both [default: busy]
    #[arg(long, value_name = "KINDS", help_heading = "Holding")]
    hold: Vec<String>,

    /// How soon a script makes the server BUSY; auto: read it from the server, else 5s [default: auto]
    #[arg(long, value_name = "auto|DURATION", help_heading = "Holding", allow_hyphen_values = true)]
    busy_threshold: Option<String>,

    /// strict: a connection's commands are never reordered; relaxed: faster, for loading data only [default: strict]
    #[arg(long, value_name = "strict|relaxed", help_heading = "Holding")]
    ordering: Option<String>,

    /// Kill a script that came through here and keeps the server busy, when it has been unanswered for so long [default: never]
    #[arg(long, value_name = "DURATION", help_heading = "Killing", allow_hyphen_values = true)]
    kill_after: Option<String>,

    /// Kill only this script, by its SHA1, or function, by its name; may be repeated [default: any]
    #[arg(long, value_name = "NAME", help_heading = "Killing")]
    kill_only: Vec<String>,

    /// Never kill this script or function; may be repeated [default: none]
    #[arg(long, value_name = "NAME", help_heading = "Killing")]
    kill_never: Vec<String>,

    /// How long connecting to the server may take [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = "Limits", allow_hyphen_values = true)]
    connect_timeout: Option<String>,

    /// Worker threads [default: one per processor, at most 4]
    #[arg(long, value_name = "NUMBER", help_heading = "Limits", allow_hyphen_values = true)]
    threads: Option<String>,

    /// How sockets are read and written: epoll, uring (Linux's io_uring, for less of the processor's time) or auto: uring where
    /// it is to be had [default: epoll]
    #[arg(long, value_name = "epoll|uring|auto", help_heading = "Limits")]
    io: Option<String>,

    #[command(flatten)]
    tls: UpstreamTlsArgs,

    /// How log lines look on standard error: text or json [default: text]
    #[arg(long, value_name = "text|json", help_heading = "Log")]
    log_format: Option<String>,

    /// Tell keys and arguments of scripts, too, in the log and by the admin endpoint: they may be secrets
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Log")]
    show_arguments: Option<String>,

    /// Log more; -vv logs even more. RUST_LOG, where set, decides instead
    #[arg(long, short, action = clap::ArgAction::Count, help_heading = "Log")]
    verbose: u8,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

impl EngineArgs {
    pub(crate) fn sources(&self) -> Result<Sources, UsageError> {
        Sources::open(self.config.as_ref())
    }

    pub(crate) fn log(&self, from: &Sources, usual: Usual) -> Result<LogSettings, UsageError> {
        let verbose = (self.verbose > 0).then(|| self.verbose.to_string());
        Ok(LogSettings {
            format: from.one("log-format", self.log_format.as_ref(), parse::log_format)?.unwrap_or_default(),
            usual,
            verbosity: from.one("verbose", verbose.as_ref(), parse::verbosity)?.unwrap_or_default(),
        })
    }

    /// The settings of a proxy for this server; where it listens is the command's business.
    pub(crate) fn config(
        &self,
        from: &Sources,
        server: &ServerUrl,
        stray: StrayTls,
    ) -> Result<Config, UsageError> {
        let default = Config::default();
        let hold = from.many("hold", &self.hold, parse::hold)?;
        let hold = hold.map_or(default.hold, |kinds| hold_kinds(&kinds));
        let threshold = from.one("busy-threshold", self.busy_threshold.as_ref(), parse::busy_threshold)?;
        let timeout = from.one("connect-timeout", self.connect_timeout.as_ref(), parse::positive_duration)?;
        Ok(Config {
            upstream: server.upstream(self.tls.settings(from, server, stray)?),
            max_wait: from
                .one("max-wait", self.max_wait.as_ref(), parse::duration)?
                .unwrap_or(default.max_wait),
            hold,
            busy_threshold: threshold.unwrap_or(default.busy_threshold),
            kill: self.kill_policy(from, hold)?,
            show_arguments: from
                .one("show-arguments", self.show_arguments.as_ref(), parse::switch)?
                .unwrap_or(default.show_arguments),
            ordering: from
                .one("ordering", self.ordering.as_ref(), parse::ordering)?
                .unwrap_or(default.ordering),
            threads: from.one("threads", self.threads.as_ref(), parse::threads)?.unwrap_or(default.threads),
            io: from.one("io", self.io.as_ref(), parse::io)?.unwrap_or(default.io),
            connect_timeout: timeout.unwrap_or(default.connect_timeout),
            ..default
        })
    }

    /// What BUSY does not hold cannot be kept out of a kill's way.
    fn kill_policy(&self, from: &Sources, hold: HoldKinds) -> Result<Option<KillPolicy>, UsageError> {
        let after = from.one("kill-after", self.kill_after.as_ref(), parse::positive_duration)?;
        let lists = [("kill-only", &self.kill_only), ("kill-never", &self.kill_never)];
        let [only, never] = lists.map(|(name, names)| from.many(name, names, parse::script));
        let (only, never) = (only?, never?);
        let Some(after) = after else {
            let stray = lists.into_iter().zip([only.is_some(), never.is_some()]).find(|(_, given)| *given);
            return match stray {
                None => Ok(None),
                Some(((name, names), _)) => Err(from.lacking((name, names.first()), &["kill-after"])),
            };
        };
        if !hold.busy {
            return Err(from.lacking(("kill-after", self.kill_after.as_ref()), &["hold"]));
        }
        let (only, never) = (only.unwrap_or_default(), never.unwrap_or_default());
        Ok(Some(KillPolicy { after, only, never }))
    }
}

fn hold_kinds(kinds: &[Hold]) -> HoldKinds {
    HoldKinds { busy: kinds.contains(&Hold::Busy), loading: kinds.contains(&Hold::Loading) }
}
