//! `unbusy proxy`: serve until told to stop.
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::getpgrp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use signal_hook::low_level::signal_name;
use tracing::{info, warn};
use unbusy_proxy::{Address, Proxy, Stopper};

use super::{ignored, open_files};
use crate::cli::{ProxyArgs, ProxySettings};
use crate::logging::{self, Format};

/// `timeout` and its like signal the process that they started, and right after that the whole group, which they lead:
/// so soon, and from there, the second signal is the first one again.
const ECHO: Duration = Duration::from_millis(20);

/// Room for more clients is enough for whoever has not asked for a number of them.
const FEW_CLIENTS: usize = 1000;

pub(crate) fn run(args: &ProxyArgs) -> anyhow::Result<ExitCode> {
    let ProxySettings { config, server, log, origins } = args.settings()?;
    logging::start(log)?;
    // Before the start, so that a signal during it is not lost and leaves no socket behind.
    let signals = SignalsInfo::<WithOrigin>::new(heard())?;
    let (drain, clients) = (config.drain, config.max_connections);
    let room = open_files::make_room(clients, config.admin.is_some());
    let proxy = Proxy::start(config).map_err(|error| origins.explain(error.into()))?;
    for address in proxy.addresses() {
        announce(address, &server.to_string(), log.format);
    }
    if let Some(admin) = proxy.admin_address() {
        info!("metrics and state are on http://{admin}/");
    }
    if room < clients && (origins.has("max-connections") || room < FEW_CLIENTS) {
        warn!(
            "the limit on open files leaves room for {room} clients, not {clients}: see ulimit -n, LimitNOFILE="
        );
    }
    let stopper = proxy.stopper();
    std::thread::spawn(move || stop_when_told(signals, &stopper, drain));
    let connections = proxy.join();
    if connections > 0 {
        warn!(connections, "connections were cut off while commands were in flight or held");
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

// For programs the address is a field; a person has just read it.
fn announce(address: &Address, upstream: &str, format: Format) {
    match format {
        Format::Text => info!(%upstream, "listening on {address}"),
        Format::Json => info!(listen = %address, %upstream, "listening on {address}"),
    }
}

/// Shells let their background jobs ignore SIGINT and SIGQUIT because of the keyboard, but who sends them to a proxy
/// means it.
fn heard() -> Vec<i32> {
    [SIGTERM, SIGINT, SIGQUIT].into_iter().chain(ignored::without_ignored([SIGHUP])).collect()
}

fn stop_when_told(mut signals: SignalsInfo<WithOrigin>, stopper: &Stopper, drain: Duration) {
    let mut draining_since: Option<Instant> = None;
    for origin in signals.forever() {
        let signal = signal_name(origin.signal).unwrap_or("signal");
        match draining_since {
            None => {
                let limit = humantime::format_duration(drain);
                info!(
                    "{signal}: waiting up to {limit} for commands in flight or held; a second signal ends that"
                );
                stopper.drain(drain);
                draining_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() < ECHO && from_group_leader(&origin) => {}
            Some(_) => {
                warn!("{signal}, the second signal: closing everything now");
                stopper.stop_now();
            }
        }
    }
}

fn from_group_leader(origin: &Origin) -> bool {
    let leader = getpgrp().as_raw_nonzero().get();
    origin.process.is_some_and(|sender| sender.pid == leader)
}
