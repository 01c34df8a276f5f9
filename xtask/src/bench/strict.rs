//! `cargo xtask bench strict`: what strict order costs who loads data through one connection, on lines of several lengths.

mod bulk;

use std::{
    fmt::{self, Display, Formatter},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use testkit::{Flavor, Proxy, Relay, Server};

use super::{address::Address, machine::About, page, peers, progress::Progress, round_trip, spread::Spread};
use crate::{interrupt::Interrupt, servers};
use bulk::Bulk;

const VALUE_BYTES: [usize; 2] = [64, 4096];
const ADDED: [Duration; 3] = [Duration::ZERO, Duration::from_micros(200), Duration::from_millis(1)];
/// How the data goes; the first is what the others are compared with.
const WAYS: [&str; 3] = ["direct", "strict", "relaxed"];
/// GETs that tell how long the line is.
const TRIPS: u32 = 300;

#[derive(Args)]
pub(crate) struct StrictArgs {
    /// Rounds per value and line; each loads by all three ways once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// MB of commands that one run loads.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    megabytes: u32,
    /// Measure this `unbusy` instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Put the table into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
}

/// The same on one line.
struct Measured {
    value_bytes: usize,
    added: Duration,
    /// Microseconds, as a single GET finds them.
    round_trip: f64,
    /// Commands per second of each way.
    rounds: Vec<[f64; WAYS.len()]>,
}

struct Results {
    about: About,
    measured: Vec<Measured>,
}

pub(super) fn run(args: &StrictArgs) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    servers::ensure_present(Flavor::Redis70)?;
    let unbusy = super::unbusy(args.binary.as_deref())?;
    interrupt.check()?;
    let runs = VALUE_BYTES.len() * ADDED.len() * args.rounds as usize;
    let (rounds, megabytes) = (args.rounds, args.megabytes);
    let settings = format!("`cargo xtask bench strict --rounds {rounds} --megabytes {megabytes}`");
    let about = About::new(settings, peers::unbusy().version(&unbusy).into_iter().collect())?;

    let server = Server::builder(Flavor::Redis70).threshold(Duration::from_secs(5)).start();
    let mut progress = Progress::of(runs);
    let mut measured = Vec::new();
    for added in ADDED {
        let line = Line::start(&server, added, &unbusy);
        for value_bytes in VALUE_BYTES {
            measured.push(line.measure(value_bytes, args, &mut progress, &interrupt)?);
        }
    }
    let results = Results { about, measured };
    eprintln!(
        "bench: all rounds are in {}",
        page::save("strict", &results.about, &results.json())?.display()
    );
    if args.write {
        page::STRICT.publish(&results)?;
    }
    write!(std::io::stdout().lock(), "{results}").context("cannot write the table")
}

/// A way to the server that is so much longer, and two proxies before it.
struct Line {
    added: Duration,
    addresses: [String; WAYS.len()],
    #[expect(dead_code, reason = "end when this is dropped")]
    running: (Option<Relay>, [Proxy; 2]),
}

impl Line {
    fn start(server: &Server, added: Duration, unbusy: &Path) -> Self {
        let relay = (!added.is_zero()).then(|| Relay::start(server.address()));
        if let Some(relay) = &relay {
            relay.delay(added / 2);
        }
        let direct = relay.as_ref().map_or_else(|| server.address(), Relay::address).to_owned();
        let url = format!("redis://{direct}");
        let [strict, relaxed] = ["strict", "relaxed"]
            .map(|order| Proxy::start(unbusy, &url, &["--threads", "1", "--ordering", order]));
        let addresses = [direct, strict.address().to_owned(), relaxed.address().to_owned()];
        Self { added, addresses, running: (relay, [strict, relaxed]) }
    }

    fn measure(
        &self,
        value_bytes: usize,
        args: &StrictArgs,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<Measured> {
        let added = self.added;
        let bulk = Bulk::new(value_bytes, args.megabytes as usize * 1_000_000);
        for address in &self.addresses {
            bulk.tenth().load(address, interrupt)?;
        }
        let port = self.addresses[0].rsplit(':').next().and_then(|port| port.parse().ok());
        let direct = Address::Tcp(port.context("an address has a port")?);
        let round_trip = round_trip::measure(&direct, TRIPS, interrupt)?;
        let mut rounds = Vec::new();
        for number in 0..args.rounds as usize {
            let mut rates = [0.0; WAYS.len()];
            for place in 0..WAYS.len() {
                let way = (place + number) % WAYS.len();
                rates[way] = bulk.load(&self.addresses[way], interrupt).with_context(|| WAYS[way])?;
            }
            progress.step();
            let tell = |(way, rate): (&&str, &f64)| format!("{way} {:.1}k/s", rate / 1000.0);
            let told = WAYS.iter().zip(&rates).map(tell).collect::<Vec<_>>().join(", ");
            let (number, all, left) = (number + 1, args.rounds, progress.left());
            eprintln!("bench: {value_bytes} B, {added:?} more, round {number} of {all}, {left}: {told}");
            rounds.push(rates);
        }
        Ok(Measured { value_bytes, added, round_trip, rounds })
    }
}

impl Measured {
    fn spread(&self, of: impl Fn(&[f64; WAYS.len()]) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }
}

impl Results {
    fn json(&self) -> Value {
        let one = |measured: &Measured| {
            json!({
                "value_bytes": measured.value_bytes,
                "added_round_trip_us": measured.added.as_micros() as u64,
                "round_trip_us": measured.round_trip,
                "ways": WAYS,
                "commands_per_second": measured.rounds,
            })
        };
        json!({ "about": self.about.json(), "lines": self.measured.iter().map(one).collect::<Vec<_>>() })
    }
}

impl Display for Results {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.about)?;
        writeln!(
            f,
            "| values | added round trip | round trip | direct, commands/s | strict ÷ direct | relaxed ÷ direct | strict ÷ relaxed |"
        )?;
        writeln!(f, "|--:|--:|--:|--:|--:|--:|--:|")?;
        for measured in &self.measured {
            let Measured { value_bytes, added, round_trip, .. } = measured;
            let direct = measured.spread(|rates| rates[0]).median / 1000.0;
            let strict = measured.spread(|rates| rates[1] / rates[0]);
            let relaxed = measured.spread(|rates| rates[2] / rates[0]);
            let price = measured.spread(|rates| rates[1] / rates[2]);
            let (added, round_trip) = (added.as_secs_f64() * 1e3, round_trip / 1e3);
            write!(f, "| {value_bytes} B | {added:.1} ms | {round_trip:.2} ms | {direct:.1}k ")?;
            writeln!(f, "| {strict} | {relaxed} | {price} |")?;
        }
        Ok(())
    }
}
