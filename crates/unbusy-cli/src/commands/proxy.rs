//! `unbusy proxy`: serve until told to stop.
use std::process::ExitCode;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use tracing::{info, warn};
use unbusy_proxy::{Address, Proxy, Stopper};

use super::open_files;
use crate::cli::{ProxyArgs, ProxySettings};
use crate::logging::{self, Format};

/// A second signal so soon is the first one again: `timeout` and others signal both a process and its group.
const ECHO: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &ProxyArgs) -> anyhow::Result<ExitCode> {
    let ProxySettings { config, server, log } = args.settings()?;
    logging::start(log)?;
    // Before the start, so that a signal during it is not lost and leaves no socket behind.
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let (drain, clients) = (config.drain, config.max_connections);
    let room = open_files::make_room(clients);
    let proxy = Proxy::start(config)?;
    for address in proxy.addresses() {
        announce(address, &server.to_string(), log.format);
    }
    if room < clients {
        warn!(
            "the limit on open files leaves room for {room} clients, not {clients}: see ulimit -n, LimitNOFILE="
        );
    }
    let stopper = proxy.stopper();
    std::thread::spawn(move || stop_when_told(signals, &stopper, drain));
    proxy.join();
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

fn stop_when_told(mut signals: Signals, stopper: &Stopper, drain: Duration) {
    let mut draining_since: Option<Instant> = None;
    for signal in signals.forever() {
        let signal = signal_name(signal).unwrap_or("signal");
        match draining_since {
            None => {
                let limit = humantime::format_duration(drain);
                info!(
                    "{signal}: waiting up to {limit} for commands in flight or held; a second signal ends that"
                );
                stopper.drain(drain);
                draining_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() < ECHO => {}
            Some(_) => {
                warn!("{signal} again: closing everything now");
                stopper.stop_now();
            }
        }
    }
}
