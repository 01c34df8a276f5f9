//! `cargo xtask waiting`: how long after a script's end those that waited for it are answered.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "telling what was measured is what this program is for"
)]

mod curve;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use curve::Curve;
use testkit::{BusyScript, Flavor, Proxy, Server, encode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const THRESHOLD: Duration = Duration::from_millis(100);
const SCRIPT: Duration = Duration::from_secs(3);
/// When the first connection sends its command, counted from the script's begin, and for how long others follow: the last half
/// a second before the end.
const FIRST: Duration = Duration::from_millis(200);
const COMING: Duration = Duration::from_millis(2_300);
/// The home remedy: sleep, and try again.
const REMEDY_SLEEP: Duration = Duration::from_secs(2);
/// One proxy needs two files per connection.
const CONNECTIONS_PER_PROXY: usize = 8_000;
const INCR: [&str; 2] = ["INCR", "n"];
const PINGS: u32 = 200;

/// How long after a script's end those that waited for it are answered.
///
/// Scripts of 3 s make a server with a threshold of 100 ms busy. Meanwhile each of so many connections sends one INCR, at a moment
/// of its own. Measured is the time from the script's end, as its own client sees it, to the answer: with the home remedy (try
/// again after 2 s), through unbusy, and through unbusy with the script sent through it as well. The floor is one round trip; and
/// what the machine needs for so many commands in any case show those that are all sent at once, without a script.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask waiting",
    after_help = "\
Examples:
  cargo xtask waiting
  cargo xtask waiting --connections 10,1000 --rounds 5 --server redis-7.0
  cargo xtask waiting --connections 1000 --plot release.svg"
)]
struct Args {
    /// How many connections wait.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000])]
    connections: Vec<usize>,
    /// How often each is measured; the ways take turns.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The server: one of those of `cargo xtask servers`.
    #[arg(long, default_value = "redis-7.0")]
    server: Flavor,
    /// Also print each time that was measured, in milliseconds: a line for each way, number of connections and round.
    #[arg(long)]
    raw: bool,
    /// Draw how many have been answered over the time, all rounds together, into this file (SVG); with one number of connections.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The command `unbusy`; the chore fills it in.
    #[arg(long, hide = true)]
    unbusy: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Remedy,
    /// The script goes past unbusy, so that its end must be found out.
    Polling,
    /// The script goes through unbusy, which sees it end.
    Through,
    /// No script, no unbusy: all send at the same moment.
    AtOnce,
    /// The same through unbusy.
    AtOnceThrough,
}

impl Way {
    const ALL: [Self; 5] = [Self::Remedy, Self::Polling, Self::Through, Self::AtOnce, Self::AtOnceThrough];
    /// Those with a script.
    const WAITING: usize = 3;

    const fn has_proxy(self) -> bool {
        !matches!(self, Self::Remedy | Self::AtOnce)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Remedy => "home remedy",
            Self::Polling => "unbusy",
            Self::Through => "unbusy, script through it",
            Self::AtOnce => "no script: all at once, directly",
            Self::AtOnceThrough => "no script: all at once, through unbusy",
        }
    }
}

/// What one run showed.
struct Run {
    /// From the script's end to each answer, sorted.
    after: Vec<Duration>,
    rejected: u64,
}

impl Run {
    fn at(&self, percent: usize) -> Duration {
        self.after[(self.after.len() * percent / 100).min(self.after.len() - 1)]
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.plot.is_none() || args.connections.len() == 1,
        "--plot draws one number of connections; add for example --connections 1000"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("| connections | way | half of them after | 99% after | all after | rejected by the server |");
    println!("|--:|---|--:|--:|--:|--:|");
    for &connections in &args.connections {
        let mut runs: [Vec<Run>; 5] = Default::default();
        let mut floor = Vec::new();
        for round in 0..args.rounds as usize {
            for turn in 0..Way::ALL.len() {
                let place = (turn + round) % Way::ALL.len();
                let way = Way::ALL[place];
                eprintln!(
                    "waiting: {connections} connections, round {} of {}, {}",
                    round + 1,
                    args.rounds,
                    way.name()
                );
                let (run, round_trip) = runtime.block_on(measure(&args, way, connections))?;
                if args.raw {
                    let times: Vec<_> = run.after.iter().map(|time| millis(*time)).collect();
                    println!("{} {connections} {}: {}", way.name(), round + 1, times.join(" "));
                }
                runs[place].push(run);
                floor.push(round_trip);
            }
        }
        for (way, runs) in Way::ALL.iter().zip(&runs) {
            tell(connections, way.name(), runs);
        }
        if let Some(file) = &args.plot {
            let plot = curve::draw(
                &format!("{connections} connections: answered since the script's end"),
                &curves(&runs),
            );
            fs::write(file, plot).with_context(|| format!("cannot write {}", file.display()))?;
        }
        floor.sort_unstable();
        println!("| {connections} | floor: one round trip | {} ms | | | |", millis(floor[floor.len() / 2]));
    }
    Ok(())
}

/// All rounds together.
fn curves(runs: &[Vec<Run>]) -> Vec<Curve> {
    let curves = Way::ALL.iter().zip(runs).take(Way::WAITING).map(|(way, runs)| {
        let mut after: Vec<_> = runs.iter().flat_map(|run| run.after.iter().copied()).collect();
        after.sort_unstable();
        Curve { name: way.name(), after }
    });
    curves.collect()
}

/// Medians of the rounds.
fn tell(connections: usize, name: &str, runs: &[Run]) {
    let median = |of: &dyn Fn(&Run) -> Duration| {
        let mut values: Vec<_> = runs.iter().map(of).collect();
        values.sort_unstable();
        millis(values[values.len() / 2])
    };
    let mut rejected: Vec<_> = runs.iter().map(|run| run.rejected).collect();
    rejected.sort_unstable();
    println!(
        "| {connections} | {name} | {} ms | {} ms | {} ms | {} |",
        median(&|run| run.at(50)),
        median(&|run| run.at(99)),
        median(&|run| run.at(100)),
        rejected[rejected.len() / 2]
    );
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

async fn measure(args: &Args, way: Way, connections: usize) -> Result<(Run, Duration)> {
    let server = Server::builder(args.server)
        .threshold(THRESHOLD)
        .arg("--maxclients")
        .arg((connections + 100).to_string())
        .start();
    let count = if way.has_proxy() { connections.div_ceil(CONNECTIONS_PER_PROXY) } else { 0 };
    let proxies: Vec<_> = (0..count).map(|_| Proxy::start(&args.unbusy, &server.url(), &[])).collect();
    let addresses: Vec<_> =
        if way.has_proxy() { proxies.iter().map(Proxy::address).collect() } else { vec![server.address()] };
    let mut streams = Vec::new();
    for number in 0..connections {
        let stream = connect(addresses[number % addresses.len()]).await;
        streams.push(stream.with_context(|| format!("connection {number} of {connections}"))?);
    }
    let round_trip = round_trip(&mut streams[0]).await?;
    if matches!(way, Way::AtOnce | Way::AtOnceThrough) {
        return Ok((at_once(streams).await?, round_trip));
    }
    let before = server.rejections();
    let script = BusyScript::start(if way == Way::Through { addresses[0] } else { server.address() }, SCRIPT);
    let start = Instant::now();
    let mut waiting = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        let comes = start + FIRST + COMING * number as u32 / connections as u32;
        waiting.spawn(wait(stream, comes.into(), way == Way::Remedy));
    }
    let (reply, end) = tokio::task::spawn_blocking(move || script.join()).await?;
    ensure!(reply.starts_with(b":"), "the script answered {}", reply.escape_ascii());
    let after = answers(waiting, end).await?;
    Ok((Run { after, rejected: server.rejections() - before }, round_trip))
}

/// What the machine needs for so many commands in any case.
async fn at_once(streams: Vec<TcpStream>) -> Result<Run> {
    let start = Instant::now() + FIRST;
    let mut asking = JoinSet::new();
    for stream in streams {
        asking.spawn(wait(stream, start.into(), false));
    }
    Ok(Run { after: answers(asking, start).await?, rejected: 0 })
}

/// How long after this each was answered, sorted. The connections stay open until all are: those that leave would cost time
/// that the others wait.
async fn answers(mut asking: JoinSet<Result<(Instant, TcpStream)>>, since: Instant) -> Result<Vec<Duration>> {
    let mut answered = Vec::new();
    while let Some(answer) = asking.join_next().await {
        answered.push(answer??);
    }
    let mut after: Vec<_> = answered.iter().map(|(at, _)| at.saturating_duration_since(since)).collect();
    after.sort_unstable();
    Ok(after)
}

async fn connect(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    ensure!(ask(&mut stream, &["PING"]).await? == b"+PONG\r\n", "PING failed");
    Ok(stream)
}

/// The median of many.
async fn round_trip(stream: &mut TcpStream) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..PINGS {
        let start = Instant::now();
        ask(stream, &["PING"]).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// When the INCR was answered that is sent at this moment.
async fn wait(
    mut stream: TcpStream,
    comes: tokio::time::Instant,
    remedy: bool,
) -> Result<(Instant, TcpStream)> {
    tokio::time::sleep_until(comes).await;
    loop {
        let reply = ask(&mut stream, &INCR).await?;
        let now = Instant::now();
        match reply.first() {
            Some(b':') => return Ok((now, stream)),
            _ if remedy && reply.starts_with(b"-BUSY ") => tokio::time::sleep(REMEDY_SLEEP).await,
            _ => anyhow::bail!("INCR was answered {}", reply.escape_ascii()),
        }
    }
}

/// A command and its reply of one line.
async fn ask(stream: &mut TcpStream, words: &[&str]) -> Result<Vec<u8>> {
    stream.write_all(&encode(words)).await?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n") {
        ensure!(stream.read_buf(&mut reply).await? > 0, "the connection was closed");
    }
    Ok(reply)
}
