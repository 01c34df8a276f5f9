//! Plays scenarios directly and through the proxy, and compares.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use testkit::{Client, Flavor, Proxy, Server, busy_lua};

use crate::e2e::{Data, SOON, Wire, data, on_every_server, show, start_proxy, wait_until, words};
use crate::scenarios::{self, Scenario, Step};

/// Low, and a script not much longer: there are hundreds of plays.
const THRESHOLD: Duration = Duration::from_millis(10);
const SCRIPT: Duration = Duration::from_millis(40);
/// How often a scenario is played until something of it is rejected.
const TRIES: u32 = 5;
/// How long the proxy may take for what the server did at once.
const PATIENCE: Duration = Duration::from_secs(3);
/// A lease of [`Stage::wary`] is over after this.
const WARY_LEASE: Duration = Duration::from_millis(1);
const PASSWORD: &str = "secret";
/// A server reads at least so many bytes of a client before it looks at the others.
const SERVER_READS: usize = 16 * 1024;
/// A word by which the lines of MONITOR about [`settle`] can be told from the others.
const SETTLING: &str = "settling";
/// More bytes than this are not sent one by one.
const BYTEWISE_LIMIT: usize = 10_000;

on_every_server!(
    quiet_in_one_piece,
    quiet_step_by_step,
    quiet_byte_by_byte,
    quiet_with_password,
    busy_in_one_piece,
    busy_step_by_step,
    busy_with_password,
);

fn quiet_in_one_piece(flavor: Flavor) {
    compare(flavor, &scenarios::open(), &[Plan::quiet(Pace::OnePiece)]);
}

fn quiet_step_by_step(flavor: Flavor) {
    compare(flavor, &scenarios::open(), &[Plan::quiet(Pace::Stepwise)]);
}

fn quiet_byte_by_byte(flavor: Flavor) {
    compare(flavor, &scenarios::open(), &[Plan::quiet(Pace::Bytewise)]);
}

fn busy_in_one_piece(flavor: Flavor) {
    let mut turn = Turn::of(flavor, 2);
    compare_all(flavor, &scenarios::open(), |scenario| {
        let is_played = scenario.busy && turn.comes();
        is_played.then(Plan::busy_at_start).into_iter().collect()
    });
}

fn busy_step_by_step(flavor: Flavor) {
    compare_busy_before_each_step(flavor, &scenarios::open(), Turn::of(flavor, 10));
}

/// One play in so many, others on each server, so that it does not take minutes; `UNBUSY_TEST_PLAYS=all` plays all of them.
struct Turn {
    count: usize,
    every: usize,
}

impl Turn {
    fn of(flavor: Flavor, every: usize) -> Self {
        let all = std::env::var("UNBUSY_TEST_PLAYS").is_ok_and(|plays| plays == "all");
        let place = Flavor::ALL.iter().position(|&one| one == flavor).unwrap_or_default();
        Self { count: place, every: if all { 1 } else { every } }
    }

    const fn comes(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(self.every)
    }
}

fn quiet_with_password(flavor: Flavor) {
    let plans = [Pace::OnePiece, Pace::Stepwise, Pace::Bytewise].map(Plan::quiet);
    compare(flavor, &scenarios::with_password(), &plans);
}

fn busy_with_password(flavor: Flavor) {
    compare(flavor, &scenarios::with_password(), &[Plan::busy_at_start()]);
    compare_busy_before_each_step(flavor, &scenarios::with_password(), Turn::of(flavor, 2));
}

/// How the commands are cut into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// All that stands between two actions of others is one write.
    OnePiece,
    /// One write per step; the next when the reply is there.
    Stepwise,
    /// As `OnePiece`, but one write per byte.
    Bytewise,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    pace: Pace,
    /// Before which step a script begins.
    busy_at: Option<usize>,
}

impl Plan {
    fn quiet(pace: Pace) -> Self {
        Self { pace, busy_at: None }
    }

    fn busy_at_start() -> Self {
        Self { pace: Pace::OnePiece, busy_at: Some(0) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.pace)?;
        self.busy_at.map_or(Ok(()), |step| write!(f, ", busy from step {step} on"))
    }
}

fn compare(flavor: Flavor, scenarios: &[Scenario], plans: &[Plan]) {
    compare_all(flavor, scenarios, |scenario| {
        plans.iter().filter(|plan| plan.busy_at.is_none() || scenario.busy).copied().collect()
    });
}

fn compare_busy_before_each_step(flavor: Flavor, scenarios: &[Scenario], mut turn: Turn) {
    compare_all(flavor, scenarios, |scenario| {
        let steps = if scenario.busy { 0..scenario.steps.len() } else { 0..0 };
        let sends = steps.filter(|&n| matches!(scenario.steps[n], Step::Send(_)));
        let plans = sends.map(|n| Plan { pace: Pace::Stepwise, busy_at: Some(n) });
        plans.filter(|_| turn.comes()).collect()
    });
}

/// Plays everything and reports all differences at once.
fn compare_all(flavor: Flavor, scenarios: &[Scenario], mut plans: impl FnMut(&Scenario) -> Vec<Plan>) {
    let stage = Stage::new(flavor, scenarios.iter().any(|s| s.password));
    let (mut played, mut busy, mut held, mut failures) = (0, 0, 0, Vec::new());
    for scenario in scenarios.iter().filter(|s| s.runs_on(flavor)) {
        let mut reference: Option<(Pace, Transcript)> = None;
        for plan in plans(scenario) {
            let direct = match reference.take() {
                Some((pace, direct)) if pace == plan.pace => direct,
                _ => stage.play_direct(scenario, plan.pace),
            };
            match stage.play(scenario, plan, &direct) {
                Ok(rejected) => held += usize::from(rejected),
                Err(failure) => failures.push(format!("{flavor}: {} ({plan}):\n{failure}", scenario.name)),
            }
            played += 1;
            busy += usize::from(plan.busy_at.is_some());
            reference = Some((plan.pace, direct));
        }
    }
    assert!(played > 0, "nothing to play");
    assert!(failures.is_empty(), "{} of {played} differ:\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(2 * held >= busy, "the server rejected something in no more than {held} of {busy} plays");
}

/// All that a client saw and what became of the data.
struct Transcript {
    /// What came after each write, masked.
    replies: Vec<Vec<u8>>,
    /// The server closed before the client did.
    closed: bool,
    /// What came after the client's half of the connection was closed.
    rest: Vec<u8>,
    data: Data,
    /// How many commands the server rejected; those of a busy one must be more.
    rejected: u64,
}

/// A server with a proxy in front of it.
struct Stage {
    server: Server,
    proxy: Proxy,
    /// Believes in so low a threshold that it hardly ever has a lease: it sends a command only when all before it are
    /// answered, so a reply that is counted wrongly stops it.
    wary: Proxy,
    password: bool,
    /// How many questions of the test itself the server has rejected.
    asked_in_vain: Cell<u64>,
}

impl Stage {
    fn new(flavor: Flavor, password: bool) -> Self {
        let mut builder =
            Server::builder(flavor).threshold(THRESHOLD).arg("--notify-keyspace-events").arg("KEA");
        if flavor != Flavor::Redis62 {
            builder = builder.arg("--enable-debug-command").arg("yes");
        }
        let server = builder.start();
        assert!(server.client().cmd(&words(scenarios::LIMITED_USER)).is_ok());
        let proxy = start_proxy(&server, &[]);
        let wary = start_proxy(&server, &["--busy-threshold", "1ms"]);
        // The password comes after the proxy has read the threshold, which it needs none for then.
        if password {
            assert!(server.client().cmd(&["CONFIG", "SET", "requirepass", PASSWORD]).is_ok());
        }
        Self { server, proxy, wary, password, asked_in_vain: Cell::new(0) }
    }

    fn client(&self, address: &str) -> Client {
        let mut client = Client::connect(address);
        if self.password {
            assert!(client.cmd(&["AUTH", PASSWORD]).is_ok());
        }
        client
    }

    fn control(&self) -> Client {
        self.client(self.server.address())
    }

    /// As if the server had just started.
    fn clear(scenario: &Scenario, control: &mut Client) {
        // A script may still run if the play before it failed.
        wait_until("the server is open", || control.cmd(&["FLUSHALL"]).is_ok());
        // Both make a new interpreter, which takes longer than all the rest of a play.
        if scenario.loads("SCRIPT") {
            assert!(control.cmd(&["SCRIPT", "FLUSH"]).is_ok());
        }
        if scenario.loads("FUNCTION") {
            assert!(control.cmd(&["FUNCTION", "FLUSH"]).is_ok());
        }
    }

    fn play_direct(&self, scenario: &Scenario, pace: Pace) -> Transcript {
        let mut control = self.control();
        Self::clear(scenario, &mut control);
        let before = self.rejections(&mut control);
        let mut other = self.control();
        let mut wire = Wire::connect(self.server.address());
        let mut replies = Vec::new();
        for act in acts(scenario, pace) {
            match act {
                Act::Write(bytes, _) => {
                    wire.send(&bytes);
                    settle(&mut control, &mut wire, bytes.len(), scenario.settle);
                    replies.push(mask(&wire.take()));
                }
                Act::Other(words) => {
                    let reply = other.cmd(&words);
                    assert!(reply.error().is_none(), "{}: {reply:?}", scenario.name);
                    settle(&mut control, &mut wire, 0, scenario.settle);
                    replies.push(mask(&wire.take()));
                }
                Act::Until(words, text) => self.until(&mut control, &words, &text).expect("a true condition"),
                Act::Pause => {}
            }
        }
        let closed = wire.closed;
        wire.half_close();
        assert!(wire.wait_closed(SOON), "{}: the server does not close", scenario.name);
        let seen_something = replies.iter().any(|bytes| !bytes.is_empty());
        assert!(seen_something || closed, "{}: no reply at all proves little", scenario.name);
        let (rest, rejected) = (mask(&wire.take()), self.rejections(&mut control) - before);
        Transcript { replies, closed, rest, data: data(&mut control), rejected }
    }

    /// Plays through the proxy, and tells whether the server rejected something. A play with a busy server in which it did
    /// not has not shown what it is for.
    fn play(&self, scenario: &Scenario, plan: Plan, direct: &Transcript) -> Result<bool, String> {
        for n in 1..=TRIES {
            let rejected = self.play_proxied(scenario, plan, SCRIPT * n, direct)?;
            let held = rejected > direct.rejected;
            if plan.busy_at.is_none() || held || self.rejected_while_busy(scenario, plan) <= direct.rejected {
                return Ok(held);
            }
            // The script was over too soon: the machine is loaded, or the proxy had much to do first.
        }
        Err(format!("nothing was rejected in {TRIES} plays"))
    }

    /// How much a busy server rejects of what comes from this step on. It executes some commands all the same, and finds
    /// fault with others before it looks whether it is busy.
    fn rejected_while_busy(&self, scenario: &Scenario, plan: Plan) -> u64 {
        let mut control = self.control();
        Self::clear(scenario, &mut control);
        let before = self.rejections(&mut control);
        let mut other = self.control();
        let mut wire = Wire::connect(self.server.address());
        let mut script = None;
        for act in acts(scenario, plan.pace) {
            match act {
                Act::Write(bytes, step) if script.is_some() || plan.busy_at == Some(step) => {
                    script.get_or_insert_with(|| self.make_busy(&mut control, SCRIPT));
                    wire.send(&bytes);
                }
                Act::Write(bytes, _) => {
                    wire.send(&bytes);
                    settle(&mut control, &mut wire, bytes.len(), scenario.settle);
                }
                Act::Other(words) if script.is_none() => drop(other.cmd(&words)),
                Act::Until(words, text) if script.is_none() => {
                    self.until(&mut control, &words, &text).expect("a true condition");
                }
                Act::Other(_) | Act::Until(..) | Act::Pause => {}
            }
        }
        script.expect("a busy server").read_frame();
        self.rejections(&mut control) - before
    }

    /// How many commands the server has rejected so far, but for the test's own questions; EXEC is rejected in its own
    /// words, which are also those for a transaction with an error.
    fn rejections(&self, control: &mut Client) -> u64 {
        let info = control.cmd(&["INFO", "errorstats"]).text();
        let count = |line: &str| {
            let line = line.strip_prefix("errorstat_")?;
            let count = line.strip_prefix("BUSY:").or_else(|| line.strip_prefix("EXECABORT:"))?;
            count.trim().strip_prefix("count=")?.parse::<u64>().ok()
        };
        info.lines().filter_map(count).sum::<u64>() - self.asked_in_vain.get()
    }

    /// Plays once, and tells how much the server rejected meanwhile.
    fn play_proxied(
        &self,
        scenario: &Scenario,
        plan: Plan,
        duration: Duration,
        direct: &Transcript,
    ) -> Result<u64, String> {
        let mut control = self.control();
        Self::clear(scenario, &mut control);
        let before = self.rejections(&mut control);
        // Others go through the proxy too when the server is busy: they are to succeed then.
        let path = if plan.busy_at.is_some() { self.proxy.address() } else { self.server.address() };
        let mut other = self.client(path);
        let wary = plan.pace == Pace::Stepwise && plan.busy_at.is_none();
        let proxy = if wary { &self.wary } else { &self.proxy };
        let mut wire = Wire::connect(proxy.address());
        let mut script = None;
        let mut expected = direct.replies.iter();
        for act in acts(scenario, plan.pace) {
            if let Act::Write(_, step) = act
                && plan.busy_at == Some(step)
            {
                script = Some(self.make_busy(&mut control, duration));
            }
            match &act {
                Act::Write(bytes, _) if plan.pace == Pace::Bytewise && bytes.len() < BYTEWISE_LIMIT => {
                    bytes.iter().all(|&byte| wire.send(&[byte]));
                }
                Act::Write(bytes, _) => {
                    if wary {
                        std::thread::sleep(WARY_LEASE);
                    }
                    wire.send(bytes);
                }
                Act::Other(words) => drop(other.cmd(words)),
                Act::Until(words, text) => {
                    self.until(&mut control, words, text)?;
                    continue;
                }
                Act::Pause => continue,
            }
            let expected = expected.next().expect("one per act");
            if !wire.wait_for(PATIENCE, |seen| mask(seen) == *expected) {
                return Err(difference(&act.to_string(), expected, &mask(&wire.seen)));
            }
            wire.take();
        }
        if direct.closed && !scenario.perhaps_closed && !wire.wait_closed(PATIENCE) {
            return Err("the server closed; through the proxy the connection stays open".into());
        }
        wire.half_close();
        let ended = wire.wait_closed(PATIENCE);
        let rest = mask(&wire.take());
        if rest != direct.rest {
            return Err(difference("the end", &direct.rest, &rest));
        }
        if !ended {
            return Err("not closed after the client's half was".into());
        }
        if let Some(mut script) = script {
            script.read_frame();
        }
        let data = data(&mut control);
        if data != direct.data {
            return Err(format!("data expected {:?}\n       got      {data:?}", direct.data));
        }
        Ok(self.rejections(&mut control) - before)
    }

    /// Starts a script; its reply is awaited on the connection that is returned.
    fn make_busy(&self, control: &mut Client, duration: Duration) -> Client {
        let mut script = self.control();
        let eval = ["EVAL", busy_lua(), "0", &duration.as_millis().to_string()];
        script.send_cmd(&eval);
        wait_until("the server is busy", || {
            // On a loaded machine a script can be over before anybody has asked.
            if script.try_read_frame(Duration::ZERO).is_some() {
                script.send_cmd(&eval);
            }
            self.ask(control, &["PING"]).starts_with(b"-BUSY ")
        });
        script
    }

    /// A question of the test itself.
    fn ask(&self, control: &mut Client, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        control.send_cmd(words);
        let reply = control.read_frame();
        self.asked_in_vain.update(|count| count + u64::from(reply.starts_with(b"-BUSY ")));
        reply
    }

    /// Waits until the server says what it is to say.
    fn until(&self, control: &mut Client, words: &[Vec<u8>], text: &str) -> Result<(), String> {
        let deadline = Instant::now() + SOON;
        loop {
            if show(&self.ask(control, words)).contains(text) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{}: the server never said {text:?}", self.server.flavor()));
            }
        }
    }
}

/// One thing that happens in a play.
enum Act {
    /// The client writes; begins with that step.
    Write(Vec<u8>, usize),
    Other(Vec<Vec<u8>>),
    Until(Vec<Vec<u8>>, String),
    Pause,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(bytes, _) => write!(f, "{}", show(bytes)),
            Self::Pause => write!(f, "a pause"),
            Self::Other(words) | Self::Until(words, _) => {
                write!(f, "somebody else's {}", show(&words.join(&b' ')))
            }
        }
    }
}

fn acts(scenario: &Scenario, pace: Pace) -> Vec<Act> {
    let mut acts: Vec<Act> = Vec::new();
    for (n, step) in scenario.steps.iter().enumerate() {
        match (step, acts.last_mut()) {
            (Step::Send(bytes), Some(Act::Write(before, _))) if pace != Pace::Stepwise => {
                before.extend_from_slice(bytes);
            }
            (Step::Send(bytes), _) => acts.push(Act::Write(bytes.clone(), n)),
            (Step::Other(words), _) => acts.push(Act::Other(words.clone())),
            (Step::Pause, _) => acts.push(Act::Pause),
            (Step::Until(words, text), _) => acts.push(Act::Until(words.clone(), text.clone())),
        }
    }
    acts
}

/// Reads all that the server has to say to what was sent. A server has one thread: it has read what was sent before
/// a command of `control` when it answers that command, and written its reply before it answers the next one. Of what is
/// long it reads some at a time.
fn settle(control: &mut Client, wire: &mut Wire, sent: usize, at_least: Duration) {
    for _ in 0..3 + sent / SERVER_READS {
        control.cmd(&["ECHO", SETTLING]);
    }
    wire.wait_for(at_least, |_| false);
    wire.read_ready();
}

fn difference(what: &str, expected: &[u8], got: &[u8]) -> String {
    format!("  {what}\n  expected {}\n  got      {}", show(expected), show(got))
}

/// Replaces what differs from connection to connection: the client's id in a HELLO reply, and the time and address
/// in the lines of MONITOR.
fn mask(bytes: &[u8]) -> Vec<u8> {
    const BIG: usize = 1 << 20;
    if bytes.len() > BIG {
        return bytes.to_vec();
    }
    let settling = format!("\"{SETTLING}\"\r\n");
    let (mut out, mut before) = (Vec::with_capacity(bytes.len()), &b""[..]);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match monitored(line) {
            Some(rest) if rest.ends_with(settling.as_bytes()) => {}
            Some(rest) => out.extend_from_slice(&[b"+<time> [<from>]", rest].concat()),
            None if before == b"id\r\n" && line.starts_with(b":") => out.extend_from_slice(b":<id>\r\n"),
            None => out.extend_from_slice(line),
        }
        before = line;
    }
    out
}

/// `+1700000000.123456 [0 127.0.0.1:5000] "get" "k"`: what stands behind the bracket.
fn monitored(line: &[u8]) -> Option<&[u8]> {
    let time = line.strip_prefix(b"+")?;
    let digits = time.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let rest = time[digits..].strip_prefix(b" [").filter(|_| digits > 10)?;
    let end = rest.iter().position(|&b| b == b']')?;
    Some(&rest[end + 1..])
}
