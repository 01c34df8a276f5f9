//! `unbusy run`: a proxy of its own for one command.
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tracing::{info, warn};
use unbusy_proxy::{Address, Proxy};

use super::child;
use crate::cli::{OUTER, RunArgs, RunSettings, Variable};
use crate::logging;

/// How long commands may go on that the child sent, but whose replies it did not wait for.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let mut settings = args.settings()?;
    logging::start(settings.log)?;
    let place = Place::new(args.unix)?;
    settings.config.listen = vec![place.listen.clone()];
    let proxy = Proxy::start(settings.config.clone());
    let proxy = proxy.map_err(|error| settings.origins.explain(error.into()))?;
    let code = child::run(command(args, &settings, &proxy.addresses()[0]))?;
    proxy.stopper().drain(LAST_WORDS);
    proxy.join();
    Ok(code)
}

/// Where the proxy listens, and the directory that goes when this goes.
struct Place {
    listen: Address,
    _directory: Option<TempDir>,
}

impl Place {
    fn new(unix: bool) -> anyhow::Result<Self> {
        if !unix {
            let listen = Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
            return Ok(Self { listen, _directory: None });
        }
        let mut builder = tempfile::Builder::new();
        let directory = builder.prefix("unbusy-").permissions(Permissions::from_mode(0o700)).tempdir();
        let directory = directory.context("cannot make a directory for the socket")?;
        Ok(Self { listen: Address::Unix(directory.path().join("redis.sock")), _directory: Some(directory) })
    }
}

fn command(args: &RunArgs, settings: &RunSettings, proxy: &Address) -> Command {
    info!(upstream = %settings.server(), "listening on {proxy}");
    if settings.variables.iter().any(Variable::has_tls_parameters) {
        warn!(
            "the URL's ssl_ parameters are not for the proxy's own address, so the command does not get them; \
             see --upstream-ca and --upstream-cert for the way to the server"
        );
    }
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    for variable in &settings.variables {
        command.env(&variable.name, variable.url_through(proxy));
    }
    // It has been used. A nested `unbusy run` is to take the server from the variable that it is given.
    command.env_remove("UNBUSY_UPSTREAM");
    if let Some(place) = &settings.spent {
        command.env(OUTER, place);
    }
    command
}
