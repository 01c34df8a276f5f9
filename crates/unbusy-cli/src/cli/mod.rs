//! What the user can write, and what it means.
mod demo;
mod doctor;
mod engine;
mod error;
mod file;
mod kill;
mod origins;
mod parse;
mod proxy;
mod run;
mod server;
mod sources;
mod status;
mod top;
mod upstream_tls;
mod url;

pub(crate) use demo::{DemoArgs, DemoServer, DemoSettings};
pub(crate) use doctor::DoctorArgs;
pub(crate) use error::UsageError;
pub(crate) use kill::{KillArgs, KillSettings, Wait};
pub(crate) use proxy::{ProxyArgs, ProxySettings};
pub(crate) use run::{OUTER, RunArgs, RunSettings, Variable};
pub(crate) use server::{EndpointSettings, ServerSettings, Subject};
pub(crate) use status::StatusArgs;
pub(crate) use top::TopArgs;
pub(crate) use url::ServerUrl;

const EXAMPLES: &str = "\
Examples:
  unbusy proxy --upstream redis://10.0.0.5:6379
      Listen on 127.0.0.1:6380; point any client there instead of at the server.
  unbusy run -- python worker.py
      The same for one program, with nothing to deploy: it finds the proxy in REDIS_URL.
  unbusy demo
      See what BUSY does to clients, with and without unbusy, in a quarter of a minute.
  unbusy status redis://10.0.0.5:6379
      Is the server open, busy or stalled?
  unbusy top http://127.0.0.1:9380
      The same live, and who waits, as the proxy with --admin 127.0.0.1:9380 sees it.
  unbusy kill redis://10.0.0.5:6379
      End what makes it busy, if it can be ended.
  unbusy doctor redis://10.0.0.5:6379
      What about it makes BUSY likely, long or harmful, and what mends that.";

/// Holds Redis and Valkey commands while the server answers BUSY, so that no application ever sees it
#[derive(Debug, clap::Parser)]
#[command(name = "unbusy", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Proxy(ProxyArgs),
    Run(RunArgs),
    Demo(DemoArgs),
    Status(StatusArgs),
    Top(TopArgs),
    Kill(KillArgs),
    Doctor(DoctorArgs),
}
