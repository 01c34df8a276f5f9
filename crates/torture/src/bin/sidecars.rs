//! `cargo xtask sidecars`: what many proxies in front of one busy server cost it.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "telling what was measured is what this program is for"
)]

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use testkit::{BusyScript, Client, Flavor, Proxy, Server};

const THRESHOLD: Duration = Duration::from_millis(100);
/// A fixed amount of work, so that what delays the script shows; the argument is roughly its milliseconds.
const WORK: &str = "for _ = 1, ARGV[1] * 100000 do end return 1";
/// Short enough for the answers of all to be awaited by threads.
const LIMIT: Duration = Duration::from_secs(120);

/// What many proxies in front of one busy server cost it.
///
/// A script with a fixed amount of work keeps the server busy, and each proxy, a process of its own, has one client that waits.
/// Printed is how many commands per second the server rejected meanwhile, how much processor time it used in all, which without
/// any proxy is the script's own, and how long after the script's end the clients were answered. All run on this machine, so
/// what the proxies themselves need delays the script too; the server's processor time is free of that.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask sidecars",
    after_help = "\
Examples:
  cargo xtask sidecars
  cargo xtask sidecars --settle 0
  cargo xtask sidecars --proxies 0,50 --seconds 10 --rounds 1"
)]
struct Args {
    /// How many proxies.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 10, 100])]
    proxies: Vec<usize>,
    /// How long the script runs, roughly.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// For how many seconds the proxies and their clients are there before: it takes some until all proxies know how many there are.
    #[arg(long, default_value_t = 4)]
    settle: u64,
    /// How often each is measured; they take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The server: one of those of `cargo xtask servers`.
    #[arg(long, default_value = "redis-7.0")]
    server: Flavor,
    /// The command `unbusy`; the chore fills it in.
    #[arg(long, hide = true)]
    unbusy: PathBuf,
}

/// What one run showed.
struct Run {
    script: Duration,
    server_cpu: Duration,
    rejected: u64,
    /// From the script's end to each client's answer, sorted.
    after: Vec<Duration>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut runs: Vec<Vec<Run>> = args.proxies.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for (&proxies, runs) in args.proxies.iter().zip(&mut runs) {
            eprintln!("sidecars: round {round} of {}, {proxies} proxies", args.rounds);
            runs.push(measure(&args, proxies)?);
        }
    }
    println!(
        "| proxies | the script took | processor time of the server | rejected per second | half of the clients answered after | all after |"
    );
    println!("|--:|--:|--:|--:|--:|--:|");
    for (proxies, runs) in args.proxies.iter().zip(&runs) {
        tell(*proxies, runs);
    }
    Ok(())
}

/// Medians of the rounds.
fn tell(proxies: usize, runs: &[Run]) {
    let median = |of: &dyn Fn(&Run) -> f64| {
        let mut values: Vec<_> = runs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let per_second = median(&|run| run.rejected as f64 / run.script.saturating_sub(THRESHOLD).as_secs_f64());
    let after = |place: &dyn Fn(usize) -> usize| match proxies {
        0 => String::new(),
        _ => format!("{:.1} ms", median(&|run| run.after[place(run.after.len())].as_secs_f64() * 1e3)),
    };
    println!(
        "| {proxies} | {:.2} s | {:.2} s | {per_second:.0} | {} | {} |",
        median(&|run| run.script.as_secs_f64()),
        median(&|run| run.server_cpu.as_secs_f64()),
        after(&|count| count / 2),
        after(&|count| count - 1),
    );
}

fn measure(args: &Args, proxies: usize) -> Result<Run> {
    let server = Server::builder(args.server).threshold(THRESHOLD).start();
    let start = |_| Proxy::start(&args.unbusy, &server.url(), &["--threads", "1"]);
    let proxies: Vec<_> = (0..proxies).map(start).collect();
    let mut clients: Vec<_> = proxies.iter().map(|proxy| Client::connect(proxy.address())).collect();
    for client in &mut clients {
        client.set_timeout(LIMIT);
        ensure!(client.cmd(&["PING"]).text() == "PONG");
    }
    thread::sleep(Duration::from_secs(args.settle));
    let (before, start) = (server.cpu_time(), Instant::now());
    let script = BusyScript::start_lua(server.address(), WORK, Duration::from_secs(args.seconds));
    script.wait_until_busy(server.address());
    let waiting: Vec<_> = clients
        .into_iter()
        .map(|mut client| thread::spawn(move || (client.cmd(&["INCR", "n"]), Instant::now())))
        .collect();
    let (reply, end) = script.join();
    let server_cpu = server.cpu_time().saturating_sub(before);
    ensure!(reply.starts_with(b":"), "the script answered {}", reply.escape_ascii());
    let mut after = Vec::new();
    for client in waiting {
        let (reply, at) = client.join().expect("a client");
        ensure!(reply.error().is_none(), "INCR was answered {reply:?}");
        after.push(at.saturating_duration_since(end));
    }
    after.sort_unstable();
    // One that asked whether the server is busy was rejected, too.
    let rejected = server.rejections().saturating_sub(1);
    Ok(Run { script: end - start, server_cpu, rejected, after })
}
