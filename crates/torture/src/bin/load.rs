//! `cargo xtask load`: thousands of connections wait through a long BUSY, and each must get all its answers, in its order.
#![allow(clippy::print_stderr, reason = "telling how it goes is what this program is for")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use testkit::{BusyScript, Flavor, Proxy, Reply, Server, encode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const THRESHOLD: Duration = Duration::from_millis(100);
/// What each connection is answered, to as many INCRs that it sends at once.
const REPLIES: &[u8] = b":1\r\n:2\r\n:3\r\n";
const PIPELINE: usize = 3;
/// After the script's end everybody must be answered within this.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
const PROGRESS_EACH: usize = 2_500;

/// Lets thousands of connections wait through a long BUSY.
///
/// Each connection sends three INCRs of a key of its own while a script runs, and must be answered 1, 2, 3. Prints how long that
/// took from the script's end on, what the proxies needed, and how many commands the server rejected, as a line of a table.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask load",
    after_help = "\
Examples:
  cargo xtask load
  cargo xtask load --connections 1000 --seconds 5 --proxies 1 --server redis-7.0

A proxy needs two files per connection, so with a limit of 20,000 open files one serves fewer than 10,000."
)]
struct Args {
    /// How many connections.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Shared among so many proxies.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    proxies: u32,
    /// How long the script runs.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=100))]
    seconds: u64,
    /// The server: one of those of `cargo xtask servers`.
    #[arg(long, default_value = "valkey-9.1")]
    server: Flavor,
    /// The command `unbusy`; the chore fills it in.
    #[arg(long, hide = true)]
    unbusy: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let clients = args.connections as usize;
    let server = Server::builder(args.server)
        .threshold(THRESHOLD)
        .arg("--maxclients")
        .arg((clients + 100).to_string())
        .start();
    let start = |_| Proxy::start(&args.unbusy, &server.url(), &[]);
    let proxies: Vec<_> = (0..args.proxies).map(start).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = runtime.block_on(wait(&args, &server, &proxies))?;
    Report { args: &args, server: &server, proxies: &proxies, answered }.tell()
}

/// When each connection had all its answers, counted from the script's end; sorted.
struct Answered {
    after: Vec<Duration>,
    /// What the proxies have grown by when all are connected, and while all wait.
    idle_bytes: u64,
    waiting_bytes: u64,
}

async fn wait(args: &Args, server: &Server, proxies: &[Proxy]) -> Result<Answered> {
    let before = rss(proxies);
    let mut streams = Vec::new();
    for number in 0..args.connections as usize {
        let address = proxies[number % proxies.len()].address();
        let stream = connect(address).await;
        streams.push(stream.with_context(|| format!("connection {number} of {}", args.connections))?);
        if (number + 1) % PROGRESS_EACH == 0 {
            eprintln!("load: {} connections", number + 1);
        }
    }
    let idle_bytes = rss(proxies).saturating_sub(before);
    let script = BusyScript::start(server.address(), Duration::from_secs(args.seconds));
    script.wait_until_busy(server.address());
    eprintln!("load: the server is busy for {} s", args.seconds);
    let mut waiting = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        waiting.spawn(count(stream, number));
    }
    let watcher = tokio::task::spawn_blocking(move || script.join());
    tokio::time::sleep(Duration::from_secs(args.seconds) / 2).await;
    let waiting_bytes = rss(proxies).saturating_sub(before);
    eprintln!("load: {} connections wait", waiting.len());
    let (reply, end) = watcher.await?;
    ensure!(reply.starts_with(b":"), "the script answered {}", reply.escape_ascii());
    let mut after = Vec::new();
    let all = async {
        while let Some(done) = waiting.join_next().await {
            after.push(done??.saturating_duration_since(end));
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(DRAIN_LIMIT, all).await {
        Ok(all) => all?,
        Err(_) => {
            bail!("{} connections have no answer {DRAIN_LIMIT:?} after the script's end", waiting.len())
        }
    }
    after.sort_unstable();
    Ok(Answered { after, idle_bytes, waiting_bytes })
}

async fn connect(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&encode(&["PING"])).await?;
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).await?;
    ensure!(&pong == b"+PONG\r\n", "PING was answered {}", pong.escape_ascii());
    Ok(stream)
}

/// When all replies were there.
async fn count(mut stream: TcpStream, number: usize) -> Result<Instant> {
    let key = format!("k{number}");
    stream.write_all(&encode(&["INCR", &key]).repeat(PIPELINE)).await?;
    let mut replies = [0; REPLIES.len()];
    let read = stream.read_exact(&mut replies).await;
    let got = replies.escape_ascii();
    read.with_context(|| format!("connection {number} was cut off behind {got}"))?;
    ensure!(replies == REPLIES, "connection {number} was answered {}", replies.escape_ascii());
    Ok(Instant::now())
}

fn rss(proxies: &[Proxy]) -> u64 {
    proxies.iter().map(Proxy::rss_bytes).sum()
}

struct Report<'a> {
    args: &'a Args,
    server: &'a Server,
    proxies: &'a [Proxy],
    answered: Answered,
}

impl Report<'_> {
    fn tell(&self) -> Result<()> {
        let Self { args, answered, .. } = self;
        let count = answered.after.len();
        let millis = |place: usize| answered.after[place.min(count - 1)].as_secs_f64() * 1e3;
        let keys = self.server.client().cmd(&["DBSIZE"]);
        ensure!(keys == Reply::Integer(i64::from(args.connections)), "the server has {keys:?} keys");
        let per_client = |bytes: u64| bytes as f64 / 1024.0 / count as f64;
        let cpu: Duration = self.proxies.iter().map(Proxy::cpu_time).sum();
        eprintln!(
            "| server | proxies | connections | BUSY | half of them after | 99% after | all after | memory, per connection | \
             rejected by the server | processor time of the proxies |"
        );
        eprintln!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        eprintln!(
            "| {} | {} | {count} | {} s | {:.0} ms | {:.0} ms | {:.0} ms | {:.1} KiB (idle: {:.1}) | {} | {:.1} s |",
            args.server,
            args.proxies,
            args.seconds,
            millis(count / 2),
            millis(count * 99 / 100),
            millis(count - 1),
            per_client(answered.waiting_bytes),
            per_client(answered.idle_bytes),
            self.server.rejections(),
            cpu.as_secs_f64(),
        );
        Ok(())
    }
}
