//! What is sent. Each scenario runs on one connection, in RESP2, in RESP3, or in both.
//!
//! A step is written as a line:
//!
//! | line | meaning |
//! |---|---|
//! | `SET k 'a b'` | the client sends this command as an array of bulk strings |
//! | `!SET k v\r\n` | the client sends these bytes |
//! | `@SET k v` | somebody else sends this command and waits for its reply |
//! | `?PUBSUB NUMSUB a => :1` | wait until the server's own answer to this contains that text |
//! | `.` | all replies are awaited before the next step, also where many steps are one write |

#![allow(clippy::too_many_lines, reason = "these are tables")]

use std::time::Duration;

use testkit::Flavor;

use crate::e2e::{command, words};

pub(crate) enum Step {
    Send(Vec<u8>),
    Other(Vec<Vec<u8>>),
    Until(Vec<Vec<u8>>, String),
    Pause,
}

pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    /// What a quiet server answers is also what a busy one is to answer.
    pub(crate) busy: bool,
    pub(crate) password: bool,
    /// A real server forgets to close as long as it has nothing to write, so nothing is certain about it.
    pub(crate) perhaps_closed: bool,
    /// How long the server itself may take to answer.
    pub(crate) settle: Duration,
    servers: &'static [Flavor],
}

impl Scenario {
    pub(crate) fn runs_on(&self, flavor: Flavor) -> bool {
        self.servers.contains(&flavor)
    }

    /// Whether it leaves something behind that FLUSHALL does not remove: `SCRIPT LOAD`, `FUNCTION LOAD`.
    pub(crate) fn loads(&self, what: &str) -> bool {
        let load = command(&format!("{what} LOAD"));
        // The number of words in front depends on what follows.
        let load = &load[load.iter().position(|&b| b == b'$').expect("a word")..];
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Send(bytes) if bytes.windows(load.len()).any(|w| w == load)))
    }
}

/// Those for a server without a password.
pub(crate) fn open() -> Vec<Scenario> {
    let groups = [
        pubsub(),
        reply_modes(),
        handshakes(),
        no_replies(),
        inline(),
        malformed(),
        transactions(),
        tracking(),
        scripts(),
        blocking(),
        monitor(),
        types(),
        others(),
    ];
    expand(&groups.concat())
}

/// Those for a server with the password `secret`.
pub(crate) fn with_password() -> Vec<Scenario> {
    let mut all = expand(&passwords());
    for scenario in &mut all {
        scenario.password = true;
    }
    all
}

/// Makes a user who may not subscribe; whatever password logs him in.
pub(crate) const LIMITED_USER: &str =
    "ACL SETUSER limited on nopass ~* &* +@all -subscribe -unsubscribe -psubscribe";

const SINCE_7: &[Flavor] = &[Flavor::Redis70, Flavor::Valkey91];

/// A row of the tables below.
#[derive(Clone)]
struct Row {
    name: &'static str,
    lines: Vec<String>,
    protocols: &'static [u8],
    busy: bool,
    perhaps_closed: bool,
    settle: Duration,
    servers: &'static [Flavor],
}

impl Row {
    /// The last reply, with which the server closes, is one that is not written.
    fn perhaps_closed(self) -> Self {
        Self { perhaps_closed: true, ..self }
    }

    /// A quiet server's answer differs from a busy one's by nature.
    fn quiet_only(self) -> Self {
        Self { busy: false, ..self }
    }

    fn since_7(self) -> Self {
        Self { servers: SINCE_7, ..self }
    }

    fn resp2_only(self) -> Self {
        Self { protocols: &[2], ..self }
    }

    fn resp3_only(self) -> Self {
        Self { protocols: &[3], ..self }
    }

    /// The server answers within this time, not at once.
    fn slow(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }
}

fn row(name: &'static str, lines: &[&str]) -> Row {
    Row {
        name,
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
        protocols: &[2, 3],
        busy: true,
        perhaps_closed: false,
        settle: Duration::ZERO,
        servers: &Flavor::ALL,
    }
}

fn expand(rows: &[Row]) -> Vec<Scenario> {
    rows.iter().flat_map(|row| row.protocols.iter().map(|&protocol| scenario(row, protocol))).collect()
}

fn scenario(row: &Row, protocol: u8) -> Scenario {
    let hello = (protocol == 3).then(|| Step::Send(command("HELLO 3")));
    Scenario {
        name: format!("{}, RESP{protocol}", row.name),
        steps: hello.into_iter().chain(row.lines.iter().map(|line| step(line))).collect(),
        busy: row.busy,
        password: false,
        perhaps_closed: row.perhaps_closed,
        settle: row.settle,
        servers: row.servers,
    }
}

fn step(line: &str) -> Step {
    if let Some(bytes) = line.strip_prefix('!') {
        Step::Send(bytes.into())
    } else if let Some(other) = line.strip_prefix('@') {
        Step::Other(words(other))
    } else if line == "." {
        Step::Pause
    } else if let Some(question) = line.strip_prefix('?') {
        let (question, text) = question.split_once(" => ").expect("?QUESTION => TEXT");
        Step::Until(words(question), text.to_owned())
    } else {
        Step::Send(command(line))
    }
}

fn pubsub() -> Vec<Row> {
    vec![
        row(
            "SUBSCRIBE, one reply per name",
            &[
                "SUBSCRIBE a b c",
                "PING",
                "PING x",
                "@PUBLISH b hello",
                "SUBSCRIBE b d",
                "UNSUBSCRIBE a nosuch",
                "@PUBLISH a lost",
                "UNSUBSCRIBE",
                "PING",
                "GET k",
            ],
        ),
        row(
            "PSUBSCRIBE",
            &[
                "PSUBSCRIBE p* q*",
                "@PUBLISH px 1",
                "SUBSCRIBE px",
                "@PUBLISH px 2",
                "PUNSUBSCRIBE p*",
                "PUNSUBSCRIBE",
                "PING",
                "UNSUBSCRIBE",
                "PING",
            ],
        ),
        row(
            "SSUBSCRIBE",
            &[
                "SSUBSCRIBE s1 s2",
                "@SPUBLISH s1 hi",
                "PING",
                "SUNSUBSCRIBE s1 nosuch",
                "SUNSUBSCRIBE",
                "SUNSUBSCRIBE",
                "PING",
            ],
        )
        .since_7(),
        row(
            "all three kinds at once",
            &[
                "SUBSCRIBE a b",
                "PSUBSCRIBE x*",
                "SSUBSCRIBE s",
                "UNSUBSCRIBE",
                "PING",
                "SUNSUBSCRIBE",
                "PUNSUBSCRIBE",
                "PING",
            ],
        )
        .since_7(),
        row(
            "UNSUBSCRIBE without a subscription",
            &["UNSUBSCRIBE", "PUNSUBSCRIBE", "UNSUBSCRIBE x y", "PUNSUBSCRIBE x* y*", "PING", "GET k"],
        ),
        row("SUNSUBSCRIBE without a subscription", &["SUNSUBSCRIBE", "SUNSUBSCRIBE x y", "PING"]).since_7(),
        row(
            "UNSUBSCRIBE of the other kind",
            &["PSUBSCRIBE a*", "UNSUBSCRIBE", "PING", "PUNSUBSCRIBE", "PING"],
        ),
        row(
            "names said twice",
            &["SUBSCRIBE a a a", "PING", "UNSUBSCRIBE a a", "PING", "UNSUBSCRIBE", "PING"],
        ),
        row(
            "other commands while subscribed",
            &["SUBSCRIBE a", "SET k v", "GET k", "NOSUCH", "SET", "PING", "UNSUBSCRIBE", "SET k w", "GET k"],
        ),
        row(
            "rejected ones",
            &["SUBSCRIBE", "PSUBSCRIBE", "SUBSCRIBE a", "SUBSCRIBE", "PING", "UNSUBSCRIBE", "PING"],
        ),
        row(
            "messages between replies",
            &[
                "SUBSCRIBE a",
                "@PUBLISH a 1",
                "PING 1",
                "@PUBLISH a 2",
                "@PUBLISH a 3",
                "PING 2",
                "SUBSCRIBE b",
                "@PUBLISH b 4",
                "UNSUBSCRIBE a",
                "@PUBLISH b 5",
            ],
        ),
        row(
            "a message to oneself",
            &["SUBSCRIBE a b", "PUBLISH a x", "PUBLISH b y", "SET k v", "PUBLISH a z", "GET k"],
        )
        .resp3_only(),
        row(
            "hearing of what oneself pops, up to Redis 7.0 in the middle of the reply",
            &[
                "PSUBSCRIBE __key*",
                "ZADD z 1 a 2 b 3 c",
                "ZPOPMIN z 2",
                "GET k",
                "BZPOPMIN z 1",
                "PING",
                "INCR n",
            ],
        )
        .resp3_only(),
        row(
            "hearing of what oneself pops in MULTI",
            &[
                "PSUBSCRIBE __key*",
                "ZADD z 1 a 2 b",
                "MULTI",
                "ZPOPMIN z 2",
                "INCR n",
                "EXEC",
                "PING",
                "GET n",
            ],
        )
        .resp3_only(),
        row("in MULTI the EXEC array overflows", &["MULTI", "SUBSCRIBE a b", "PING", "EXEC", "PING x"]),
        row(
            "in MULTI with messages",
            &["MULTI", "SUBSCRIBE a b c", "EXEC", "@PUBLISH b 1", "PING", "UNSUBSCRIBE"],
        ),
        row(
            "UNSUBSCRIBE in MULTI",
            &["MULTI", "UNSUBSCRIBE", "UNSUBSCRIBE x y", "PUNSUBSCRIBE", "INCR n", "EXEC", "INCR n"],
        ),
        row(
            "UNSUBSCRIBE of several in MULTI",
            &["SUBSCRIBE a b", "MULTI", "UNSUBSCRIBE", "INCR n", "EXEC", "INCR n", "PING"],
        ),
        row(
            "what is subscribed in MULTI can be unsubscribed there",
            &["MULTI", "PSUBSCRIBE a", "UNSUBSCRIBE", "SUBSCRIBE b c", "PUNSUBSCRIBE", "INCR n", "EXEC"],
        )
        .then(&["UNSUBSCRIBE b c", "PING"]),
        row("SSUBSCRIBE in MULTI", &["MULTI", "SSUBSCRIBE a b", "INCR n", "EXEC", "PING"]),
        row(
            "publishing to oneself in MULTI",
            &["SUBSCRIBE a", "MULTI", "PUBLISH a hi", "INCR n", "PUBLISH a ho", "EXEC", "PING", "GET n"],
        )
        .resp3_only(),
        row("a big message", &["SUBSCRIBE a", "@PUBLISH a ", "PING"]).with_big_message(),
        row(
            "NOPERM, one for all names",
            &[
                "AUTH limited x",
                "SUBSCRIBE a b",
                "UNSUBSCRIBE",
                "UNSUBSCRIBE x y",
                "PSUBSCRIBE a* b*",
                "PING",
            ],
        ),
        row("NOPERM with two subscriptions", &["SUBSCRIBE a b", "AUTH limited x", "UNSUBSCRIBE", "PING"])
            .then(&["UNSUBSCRIBE a b", "@PUBLISH b hello", "PING", "GET k"])
            .resp3_only(),
        row(
            "NOPERM in MULTI",
            &["AUTH limited x", "MULTI", "SUBSCRIBE a b", "UNSUBSCRIBE", "INCR n", "EXEC", "PING", "GET n"],
        ),
        row(
            "SKIP then NOPERM",
            &["AUTH limited x", "CLIENT REPLY SKIP", "SUBSCRIBE a b", "PING", "UNSUBSCRIBE x y", "PING"],
        ),
        row("RESET", &["SUBSCRIBE a b", "PSUBSCRIBE x*", "RESET", "GET k", "@PUBLISH a 1", "PING"]),
        row("QUIT", &["SUBSCRIBE a", "QUIT", "PING"]),
    ]
}

impl Row {
    fn with_big_message(mut self) -> Self {
        let publish = self.lines.iter_mut().find(|line| line.ends_with(' ')).expect("an unfinished line");
        publish.push_str(&"x".repeat(100_000));
        self
    }
}

fn reply_modes() -> Vec<Row> {
    vec![
        row(
            "OFF until ON",
            &[
                "PING",
                "CLIENT REPLY OFF",
                "PING",
                "SET k v",
                "NOSUCH",
                "GET",
                "INCR k",
                "CLIENT REPLY ON",
                "GET k",
                "NOSUCH",
            ],
        ),
        row(
            "SKIP",
            &["CLIENT REPLY SKIP", "INCR n", "INCR n", "CLIENT REPLY SKIP", "NOSUCH", "PING", "GET n"],
        ),
        row(
            "SKIP twice",
            &[
                "CLIENT REPLY SKIP",
                "CLIENT REPLY SKIP",
                "PING",
                "INCR n",
                "CLIENT REPLY SKIP",
                "INCR n",
                "INCR n",
            ],
        ),
        row("SKIP then ON", &["CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING", "CLIENT REPLY ON", "PING"]),
        row("SKIP then OFF", &["CLIENT REPLY SKIP", "CLIENT REPLY OFF", "PING", "CLIENT REPLY ON", "PING"]),
        row(
            "OFF, SKIP, ON",
            &["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON", "PING", "PING"],
        ),
        row(
            "OFF, SKIP, PING, PING, ON",
            &["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "PING", "CLIENT REPLY ON"],
        ),
        row(
            "OFF twice",
            &["CLIENT REPLY OFF", "CLIENT REPLY OFF", "CLIENT REPLY ON", "CLIENT REPLY ON", "PING"],
        ),
        row(
            "wrong ones",
            &[
                "CLIENT REPLY",
                "CLIENT REPLY BAD",
                "CLIENT REPLY ON x",
                "PING",
                "CLIENT REPLY SKIP",
                "CLIENT REPLY BAD",
                "PING",
                "CLIENT REPLY OFF",
                "CLIENT REPLY BAD",
                "PING",
                "CLIENT REPLY ON",
                "PING",
            ],
        ),
        row(
            "lower case",
            &["client reply skip", "PING", "PING x", "Client Reply Off", "PING", "client reply on"],
        ),
        row(
            "inline",
            &[
                "!CLIENT REPLY SKIP\r\n",
                "!PING\r\n",
                "!PING x\r\n",
                "!CLIENT REPLY OFF\r\nPING\r\n",
                "!CLIENT REPLY ON\r\n",
            ],
        ),
        row("OFF then RESET", &["CLIENT REPLY OFF", "PING", "SET k v", "RESET", "PING", "GET k"]),
        row("SKIP then RESET", &["CLIENT REPLY SKIP", "RESET", "PING", "PING"]),
        row("SKIP and blank lines", &["CLIENT REPLY SKIP", "!\r\n", "!*0\r\n", "PING", "PING x"]),
        row(
            "OFF and a transaction",
            &["CLIENT REPLY OFF", "MULTI", "INCR n", "INCR n", "EXEC", "CLIENT REPLY ON", "GET n"],
        ),
        row("SKIP then MULTI", &["CLIENT REPLY SKIP", "MULTI", "INCR n", "EXEC", "GET n"]),
        row(
            "OFF in MULTI",
            &["MULTI", "CLIENT REPLY OFF", "SET k v", "EXEC", "PING", "CLIENT REPLY ON", "GET k"],
        ),
        row("SKIP in MULTI", &["MULTI", "CLIENT REPLY SKIP", "INCR n", "EXEC", "PING", "PING x", "GET n"]),
        row(
            "SKIP at the end of MULTI",
            &["MULTI", "INCR n", "CLIENT REPLY SKIP", "EXEC", "PING", "PING x", "GET n"],
        ),
        row("ON in MULTI", &["MULTI", "CLIENT REPLY ON", "INCR n", "EXEC", "PING"]),
        row(
            "OFF in MULTI behind SUBSCRIBE",
            &["MULTI", "SUBSCRIBE a b", "INCR n", "CLIENT REPLY OFF", "INCR n", "EXEC", "UNSUBSCRIBE a b"],
        )
        .then(&["CLIENT REPLY ON", "GET n"]),
        row(
            "SKIP in MULTI behind REPLCONF ACK",
            &["MULTI", "REPLCONF ACK 1", "INCR n", "CLIENT REPLY SKIP", "INCR n", "EXEC", "PING", "PING x"],
        ),
        row(
            "OFF in MULTI under WATCH",
            &["WATCH k", "MULTI", "INCR n", "CLIENT REPLY OFF", "INCR n", "EXEC"],
        )
        .then(&["PING", "CLIENT REPLY ON", "GET n"])
        .quiet_only(),
        row(
            "OFF and SUBSCRIBE in MULTI",
            &["CLIENT REPLY OFF", "MULTI", "INCR n", "SUBSCRIBE a b", "INCR n", "EXEC", "UNSUBSCRIBE a b"],
        )
        .then(&["CLIENT REPLY ON", "GET n"]),
        row(
            "ON in MULTI while OFF",
            &[
                "CLIENT REPLY OFF",
                "MULTI",
                "CLIENT REPLY ON",
                "INCR n",
                "EXEC",
                "PING",
                "CLIENT REPLY ON",
                "GET n",
            ],
        ),
        row("OFF and DISCARD", &["MULTI", "CLIENT REPLY OFF", "DISCARD", "PING", "CLIENT REPLY ON", "PING"]),
        row(
            "OFF then HELLO",
            &["CLIENT REPLY OFF", "HELLO 3", "HELLO 2", "CLIENT REPLY ON", "PING", "GET k"],
        ),
        row("SKIP then HELLO 3", &["CLIENT REPLY SKIP", "HELLO 3", "GET k"]),
        row("OFF then QUIT", &["SET k v", "CLIENT REPLY OFF", "QUIT", "PING"]).perhaps_closed(),
        row("SKIP then QUIT", &["SET k v", "CLIENT REPLY SKIP", "QUIT", "PING"]).perhaps_closed(),
        row("OFF and a protocol error", &["PING", "CLIENT REPLY OFF", "!*x\r\n"]).perhaps_closed(),
        row(
            "OFF and SELECT",
            &["CLIENT REPLY OFF", "SELECT 1", "SET k v", "SELECT 99", "CLIENT REPLY ON", "GET k"],
        ),
        row(
            "OFF and messages",
            &[
                "PING",
                "CLIENT REPLY OFF",
                "SUBSCRIBE a",
                "?PUBSUB NUMSUB a => :1",
                "@PUBLISH a hi",
                "PING",
                "UNSUBSCRIBE",
                "?PUBSUB NUMSUB a => :0",
                "CLIENT REPLY ON",
                "PING",
            ],
        ),
        row(
            "OFF while subscribed",
            &[
                "SUBSCRIBE a b",
                "@PUBLISH a 1",
                "UNSUBSCRIBE b",
                "@PUBLISH a 2",
                "UNSUBSCRIBE",
                "CLIENT REPLY OFF",
                "PING",
                "CLIENT REPLY ON",
            ],
        ),
        row(
            "OFF while subscribed, pushes still come",
            &[
                "SUBSCRIBE a",
                "CLIENT REPLY OFF",
                "PING",
                "@PUBLISH a 1",
                "SUBSCRIBE b",
                "?PUBSUB NUMSUB b => :1",
                "@PUBLISH b 2",
                "CLIENT REPLY ON",
                "PING",
            ],
        )
        .resp3_only(),
        row(
            "SKIP then SUBSCRIBE",
            &["CLIENT REPLY SKIP", "SUBSCRIBE a b", "?PUBSUB NUMSUB b => :1", "@PUBLISH a x", "PING"],
        ),
        row(
            "SKIP, SUBSCRIBE wrong",
            &["CLIENT REPLY SKIP", "SUBSCRIBE", "PING", "CLIENT REPLY SKIP", "UNSUBSCRIBE", "PING"],
        ),
        row(
            "OFF and invalidations",
            &[
                "SET k 1",
                "CLIENT TRACKING ON",
                "GET k",
                "CLIENT REPLY OFF",
                "@SET k 2",
                "GET k",
                "CLIENT REPLY ON",
                "GET k",
            ],
        )
        .resp3_only()
        .quiet_only(),
        row("SKIP and EVAL", &["CLIENT REPLY SKIP", "EVAL 'return redis.call(\"INCR\", \"n\")' 0", "GET n"]),
        row(
            "SKIP and a blocking command",
            &["RPUSH q x y", "CLIENT REPLY SKIP", "BLPOP q 0", "BLPOP q 0", "PING"],
        ),
        row(
            "OFF and a blocked command",
            &["CLIENT REPLY OFF", "BLPOP q 0", "@RPUSH q x y", "CLIENT REPLY ON", "LPOP q"],
        ),
        row("SKIP and REPLCONF ACK", &["CLIENT REPLY SKIP", "REPLCONF ACK 0", "PING", "PING x"]),
        row(
            "a long silence",
            &[
                "CLIENT REPLY OFF",
                "INCR n",
                "INCR n",
                "INCR n",
                "INCR n",
                "INCR n",
                "INCR n",
                "INCR n",
                "INCR n",
                "CLIENT REPLY ON",
                "GET n",
            ],
        ),
    ]
}

fn handshakes() -> Vec<Row> {
    vec![
        row("HELLO", &["HELLO", "HELLO 2", "GET k", "HELLO 3", "GET k", "HELLO", "HELLO 2", "GET k"]),
        row(
            "refused HELLO",
            &[
                "HELLO 4",
                "GET k",
                "HELLO x",
                "HELLO 3 BAD",
                "GET k",
                "HELLO 1",
                "HELLO 99999999999999999999",
                "PING",
            ],
        ),
        row(
            "HELLO with a name",
            &["HELLO 3 SETNAME me", "CLIENT GETNAME", "HELLO 2 SETNAME 'a b'", "CLIENT GETNAME"],
        ),
        row("HELLO with AUTH", &["HELLO 3 AUTH nobody x", "GET k", "HELLO 3 AUTH default x", "GET k"]),
        row("HELLO in MULTI", &["MULTI", "HELLO 3", "GET k", "EXEC", "GET k", "HELLO 2", "GET k"]),
        row("refused HELLO in MULTI", &["MULTI", "HELLO 4", "INCR n", "EXEC", "GET n"]),
        row("inline HELLO", &["!HELLO 3\r\n", "!GET k\r\n", "!HELLO 2\r\n", "!GET k\r\n"]),
        row("AUTH without a password", &["AUTH x", "AUTH nobody x", "AUTH", "PING"]),
        row(
            "SELECT",
            &[
                "SELECT 1",
                "SET k one",
                "SELECT 99",
                "GET k",
                "SELECT abc",
                "SELECT",
                "SELECT 0",
                "GET k",
                "SET k zero",
                "SELECT 1",
                "GET k",
            ],
        ),
        row("SELECT in MULTI", &["MULTI", "SELECT 2", "SET k two", "EXEC", "SET j two", "SELECT 0", "GET j"]),
        row("SELECT first on a new connection", &["SELECT 5", "SET k five", "INCR n"]),
        row(
            "CLIENT",
            &[
                "CLIENT SETNAME me",
                "CLIENT GETNAME",
                "CLIENT SETNAME 'a b'",
                "CLIENT GETNAME",
                "CLIENT NOSUCH",
                "CLIENT",
                "CLIENT GETREDIR",
                "PING",
            ],
        ),
        row("CLIENT of 7.0", &["CLIENT NO-EVICT on", "CLIENT NO-EVICT bad", "PING"]).since_7(),
        row("cluster commands without one", &["READONLY", "READWRITE", "ASKING", "CLUSTER INFO", "PING"]),
        row(
            "RESET",
            &[
                "SELECT 1",
                "CLIENT SETNAME me",
                "SET k v",
                "RESET",
                "GET k",
                "CLIENT GETNAME",
                "RESET x",
                "PING",
            ],
        ),
        row("RESET in MULTI", &["MULTI", "SET k v", "RESET", "EXEC", "GET k"]),
        row("QUIT", &["SET k v", "QUIT", "SET k w", "PING"]),
        row("QUIT alone", &["QUIT"]),
        row("QUIT in MULTI", &["MULTI", "SET k v", "QUIT", "EXEC", "PING"]),
        row("inline QUIT", &["!SET k v\r\n", "!quit\r\n", "!SET k w\r\n"]),
        row("QUIT with a word too many", &["SET k v", "QUIT now", "PING"]),
        row(
            "nothing is running",
            &["SCRIPT KILL", "PING", "SHUTDOWN BADWORD", "PING", "SCRIPT KILL x", "SCRIPT", "PING"],
        )
        .quiet_only(),
        row(
            "nothing is running, 7.0",
            &["FUNCTION KILL", "FUNCTION STATS", "SHUTDOWN ABORT", "FUNCTION LIST", "PING"],
        )
        .since_7()
        .quiet_only(),
    ]
}

fn passwords() -> Vec<Row> {
    vec![
        row("too many words before AUTH", &["GET k", "!*11\r\n"]).resp2_only(),
        row("too long a word before AUTH", &["!*2\r\n$3\r\nGET\r\n$16385\r\n"]).resp2_only(),
        row(
            "as many words as one likes behind AUTH",
            &["AUTH secret", "!*11\r\n$4\r\nMGET\r\n", &format!("!{}", "$1\r\nk\r\n".repeat(10)), "PING"],
        )
        .resp2_only(),
        row(
            "not allowed before AUTH",
            &["GET k", "SET k v", "NOSUCH", "SUBSCRIBE a", "MULTI", "EXEC", "PING"],
        )
        .resp2_only(),
        row("AUTH wrong, then right", &["GET k", "AUTH wrong", "GET k", "AUTH secret", "SET k v", "GET k"])
            .resp2_only(),
        row(
            "AUTH with a name",
            &["AUTH default wrong", "SET k v", "AUTH default secret", "SET k w", "GET k"],
        )
        .resp2_only(),
        row(
            "AUTH wrong when it was right",
            &["AUTH secret", "SET k v", "AUTH wrong", "GET k", "AUTH secret", "GET k"],
        )
        .resp2_only(),
        row(
            "HELLO with AUTH",
            &[
                "HELLO 3",
                "HELLO 3 AUTH default wrong",
                "GET k",
                "HELLO 3 AUTH default secret SETNAME me",
                "GET k",
                "CLIENT GETNAME",
            ],
        )
        .resp2_only(),
        row("AUTH and SELECT", &["AUTH secret", "SELECT 3", "SET k v", "GET k"]).resp2_only(),
        row("AUTH wrong and SELECT", &["AUTH wrong", "SELECT 3", "SET k v", "AUTH secret", "GET k"])
            .resp2_only(),
        row("RESET forgets it", &["AUTH secret", "SET k v", "RESET", "GET k", "AUTH secret", "GET k"])
            .resp2_only(),
        row("AUTH in MULTI", &["AUTH secret", "MULTI", "AUTH wrong", "INCR n", "EXEC", "GET n"]).resp2_only(),
        row("QUIT needs none", &["QUIT", "PING"]).resp2_only(),
        row(
            "CLIENT REPLY needs it",
            &[
                "CLIENT REPLY OFF",
                "PING",
                "AUTH secret",
                "CLIENT REPLY OFF",
                "PING",
                "SET k v",
                "CLIENT REPLY ON",
                "GET k",
            ],
        )
        .resp2_only(),
        row(
            "CLIENT REPLY SKIP needs it",
            &["CLIENT REPLY SKIP", "PING", "AUTH secret", "CLIENT REPLY SKIP", "PING", "PING x"],
        )
        .resp2_only(),
        row(
            "UNSUBSCRIBE needs it",
            &["UNSUBSCRIBE a b c", "UNSUBSCRIBE", "AUTH secret", "UNSUBSCRIBE a b c", "PING"],
        )
        .resp2_only(),
        row("MONITOR needs it", &["MONITOR", "PING", "AUTH secret", "PING x"]).resp2_only(),
        row(
            "REPLCONF needs it",
            &["REPLCONF ACK 0", "REPLCONF GETACK *", "AUTH secret", "REPLCONF ACK 0", "PING"],
        )
        .resp2_only(),
        // The server refuses these by their headers. It gets to see a command when it is complete (README, limits), so
        // these are.
        row("too many words for a stranger", &["a b c d e f g h i j k"]).resp2_only(),
        row("too long a word for a stranger", &["PING", &"x".repeat(16_385)]).resp2_only(),
        row("inline", &["!GET k\r\n", "!AUTH secret\r\n", "!SET k v\r\n", "!GET k\r\n"]).resp2_only(),
    ]
}

fn no_replies() -> Vec<Row> {
    vec![
        row(
            "REPLCONF ACK",
            &["REPLCONF ACK 0", "PING", "REPLCONF GETACK *", "PING x", "REPLCONF ACK 0 FACK 1", "PING"],
        ),
        row(
            "other REPLCONF",
            &[
                "REPLCONF ACK",
                "REPLCONF listening-port 1234",
                "REPLCONF bad x",
                "REPLCONF capa eof",
                "REPLCONF",
                "REPLCONF listening-port bad",
                "PING",
            ],
        ),
        row("REPLCONF in one go", &["REPLCONF ACK 0", "REPLCONF ACK 0", "REPLCONF ACK 0", "PING"]),
        row("REPLCONF in MULTI", &["MULTI", "REPLCONF capa eof", "INCR n", "EXEC", "PING"]),
        row("REPLCONF ACK in MULTI", &["MULTI", "REPLCONF ACK 0", "INCR n", "EXEC", "INCR n"]),
        row("blank lines", &["!\r\n", "PING", "!\r\n\r\n\r\n", "!   \r\n", "PING x", "!\n\n", "GET k"]),
        row(
            "no words",
            &["!*0\r\n", "PING", "!*-1\r\n", "!*-5\r\n", "PING x", "!*0\r\n*0\r\n*-1\r\n", "GET k"],
        ),
        row("no words in MULTI", &["MULTI", "!\r\n", "!*0\r\n", "INCR n", "!*-1\r\n", "EXEC", "GET n"]),
        row("an empty name", &["!*1\r\n$0\r\n\r\n", "PING", "!\"\"\r\n", "PING x"]),
    ]
}

fn inline() -> Vec<Row> {
    vec![
        row(
            "inline",
            &[
                "!PING\r\n",
                "!SET k 'a b'\r\n",
                "!GET k\r\n",
                "!get \"k\"\r\n",
                "!  GET   k  \r\n",
                "!ECHO x\r\n",
            ],
        ),
        row("line feeds alone", &["!PING\n", "!SET k v\nGET k\n", "!PING\nPING\r\nPING\n"]),
        row(
            "escapes",
            &[
                "!SET k \"a\\x00\\n\\t\\\"b\\xff\"\r\n",
                "!GET k\r\n",
                "!SET 'it\\'s' '\\n'\r\n",
                "!GET \"it's\"\r\n",
            ],
        ),
        row(
            "mixed with arrays",
            &["!SET k v\r\n", "GET k", "!GET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nGET k\r\n", "PING"],
        ),
        row(
            "unknown",
            &["!NOSUCH x\r\n", "!GET\r\n", "!$3\r\n", "!+OK\r\n", "!-ERR x\r\n", "!:1\r\n", "PING"],
        ),
        row("a transaction", &["!MULTI\r\n", "!SET k v\r\n", "!INCR n\r\n", "!EXEC\r\n", "!GET n\r\n"]),
        row(
            "subscribed",
            &["!SUBSCRIBE a b\r\n", "@PUBLISH a 1", "!PING\r\n", "!UNSUBSCRIBE\r\n", "!PING\r\n"],
        ),
        row("an odd quote", &["PING", "!SET k \"abc\r\n", "PING"]),
        row("an odd quote alone", &["!GET '\r\n"]),
        row("a word behind a quote", &["!SET k v\r\n", "!GET \"k\"x\r\n", "PING"]),
        row("a long line", &["PING", "!GET "]).with_long_line(60_000, "\r\nPING\r\n"),
        row("too long a line", &["PING", "!GET "]).with_long_line(70_000, ""),
    ]
}

impl Row {
    fn with_long_line(mut self, length: usize, end: &str) -> Self {
        let line = self.lines.last_mut().expect("a line");
        line.push_str(&"x".repeat(length));
        line.push_str(end);
        self
    }
}

/// Each ends with `-ERR Protocol error…` and a close, or just a close.
fn malformed() -> Vec<Row> {
    let broken: &[(&'static str, &str)] = &[
        ("no dollar", "*2\r\n$3\r\nGET\r\nxyz\r\n"),
        ("negative bulk", "*1\r\n$-1\r\n"),
        ("array length not a number", "*abc\r\n"),
        ("array length empty", "*\r\n"),
        ("array length with a plus", "*+1\r\n$4\r\nPING\r\n"),
        ("array length with a zero in front", "*01\r\n$4\r\nPING\r\n"),
        ("array length with a blank", "* 1\r\n$4\r\nPING\r\n"),
        ("array length out of range", "*2147483648\r\n"),
        ("array length beyond 64 bits", "*99999999999999999999\r\n"),
        ("bulk length not a number", "*1\r\n$abc\r\n"),
        ("bulk length empty", "*1\r\n$\r\n"),
        ("bulk length with a plus", "*1\r\n$+4\r\nPING\r\n"),
        ("bulk length with a zero in front", "*1\r\n$04\r\nPING\r\n"),
        ("bulk length out of range", "*1\r\n$536870913\r\n"),
        ("bulk length beyond 64 bits", "*1\r\n$99999999999999999999\r\n"),
        ("nested array", "*1\r\n*1\r\n$4\r\nPING\r\n"),
        ("an integer as a word", "*2\r\n$3\r\nGET\r\n:1\r\n"),
    ];
    // These are cut off with all that is not yet written, so what was answered before depends on the moment.
    let http: &[(&'static str, &[&str])] = &[
        ("POST", &["!POST / HTTP/1.1\r\nHost: x\r\n\r\n"]),
        ("Host", &["!Host: x\r\n"]),
        ("GET with Host", &["!GET / HTTP/1.1\r\n", ".", "!Host: x\r\n\r\nPING\r\n"]),
        ("POST as an array", &["!*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n", "PING"]),
    ];
    let mut rows = Vec::new();
    for &(name, lines) in http {
        rows.push(row(name, &[&["SET k v", "."], lines].concat()));
        rows.push(row(name, lines).resp2_only());
    }
    for &(name, bytes) in broken {
        let bytes = format!("!{bytes}");
        rows.push(row(name, &["SET k v", &bytes, "SET k w", "PING"]));
        rows.push(row(name, &[&bytes]).resp2_only());
    }
    rows.extend([
        // What real servers let pass.
        row(
            "any two bytes behind a bulk",
            &["!*1\r\n$4\r\nPINGab", "!*2\r\n$4\r\nECHOab$1\r\nxab", "PING x"],
        ),
        row("any byte behind a return", &["!*1\rX$4\rXPING\r\n", "PING x"]),
        row("in MULTI", &["MULTI", "SET k v", "!*1\r\n$-1\r\n", "EXEC"]),
        row("too long an array header", &["PING", "!*"]).with_long_header(),
        row("too long a bulk header", &["PING", "!*1\r\n$"]).with_long_header(),
    ]);
    rows
}

impl Row {
    fn with_long_header(mut self) -> Self {
        self.lines.last_mut().expect("a line").push_str(&"1".repeat(70_000));
        self
    }
}

fn transactions() -> Vec<Row> {
    vec![
        row("a transaction", &["SET k v", "MULTI", "SET k w", "INCR n", "GET k", "EXEC", "GET k"]),
        row("an empty one", &["MULTI", "EXEC", "PING"]),
        row("two", &["MULTI", "INCR n", "EXEC", "MULTI", "INCR n", "INCR n", "EXEC", "GET n"]),
        row("an unknown command inside", &["MULTI", "NOSUCH", "SET k v", "EXEC", "GET k"]),
        row("wrong arity inside", &["MULTI", "SET k v", "SET k", "EXEC", "GET k", "EXEC"]),
        row("an error at run time", &["SET k v", "MULTI", "INCR k", "SET k w", "EXEC", "GET k"]),
        row("nested", &["MULTI", "MULTI", "INCR n", "EXEC", "GET n"]),
        row("EXEC without MULTI", &["EXEC", "INCR n", "EXEC x", "PING"]),
        row("DISCARD", &["MULTI", "INCR n", "DISCARD", "GET n", "DISCARD", "PING"]),
        row("DISCARD after an error", &["MULTI", "NOSUCH", "DISCARD", "INCR n", "MULTI", "INCR n", "EXEC"]),
        row("MULTI with a word too many", &["MULTI x", "INCR n", "EXEC", "GET n"]),
        row("EXEC with a word too many", &["MULTI", "INCR n", "EXEC x", "EXEC", "GET n"]),
        row("WATCH inside", &["MULTI", "WATCH k", "INCR n", "EXEC", "GET n"]),
        row("UNWATCH inside", &["MULTI", "UNWATCH", "INCR n", "EXEC", "GET n"]),
        row("WATCH, a lost race", &["SET k 1", "WATCH k", "@SET k 2", "MULTI", "SET k 3", "EXEC", "GET k"])
            .quiet_only(),
        row("WATCH, won", &["SET k 1", "WATCH k", "GET k", "MULTI", "SET k 3", "EXEC", "GET k"]).quiet_only(),
        row("WATCH then UNWATCH", &["SET k 1", "WATCH k", "@SET k 2", "UNWATCH", "MULTI", "INCR k", "EXEC"])
            .quiet_only(),
        row(
            "WATCH then DISCARD",
            &["SET k 1", "WATCH k", "@SET k 2", "MULTI", "DISCARD", "MULTI", "INCR k", "EXEC"],
        )
        .quiet_only(),
        row("WATCH wrong", &["WATCH", "UNWATCH x", "UNWATCH", "PING"]),
        row("BLPOP inside", &["RPUSH q x", "MULTI", "BLPOP q 0", "BLPOP q 0", "EXEC", "PING"]),
        row(
            "EVAL inside",
            &["MULTI", "EVAL 'return redis.call(\"INCR\", \"n\")' 0", "INCR n", "EXEC", "GET n"],
        ),
        row(
            "EVAL with an error inside",
            &["MULTI", "EVAL 'return redis.error_reply(\"BUSY no\")' 0", "INCR n", "EXEC"],
        ),
        row("PUBLISH inside", &["MULTI", "PUBLISH a x", "INCR n", "EXEC"]),
        row("MONITOR inside", &["MULTI", "MONITOR", "INCR n", "EXEC", "PING"]).quiet_only(),
        row("AUTH inside", &["MULTI", "AUTH nobody x", "INCR n", "EXEC", "GET n"]),
        row("SCRIPT KILL inside", &["MULTI", "SCRIPT KILL", "INCR n", "EXEC", "GET n"]),
        row("FUNCTION inside", &["MULTI", "FUNCTION KILL", "FUNCTION STATS", "INCR n", "EXEC", "GET n"])
            .since_7(),
        row("PSYNC inside", &["MULTI", "PSYNC ? -1", "INCR n", "EXEC", "GET n"]),
        row("left open", &["MULTI", "SET k v", "INCR n"]),
        row("a big one", &["MULTI"]).with_many("INCR n", 500, &["EXEC", "GET n"]),
    ]
}

impl Row {
    fn with_many(mut self, line: &str, times: usize, end: &[&str]) -> Self {
        // One step, so that stepwise plays stay short.
        let many = std::iter::repeat_n(format!("{line}\r\n"), times).collect::<String>();
        self.lines.push(format!("!{many}"));
        self.lines.extend(end.iter().map(|&line| line.to_owned()));
        self
    }
}

/// Invalidations come from a server that executes, so their place is only certain while it is quiet.
fn tracking() -> Vec<Row> {
    vec![
        row(
            "tracking",
            &[
                "SET k 1",
                "CLIENT TRACKING ON",
                "GET k",
                "@SET k 2",
                "GET k",
                "INCR k",
                "GET k",
                "@DEL k",
                "CLIENT TRACKING OFF",
                "GET k",
                "@SET k 3",
                "PING",
            ],
        )
        .resp3_only()
        .quiet_only(),
        row(
            "broadcast",
            &[
                "CLIENT TRACKING ON BCAST PREFIX a PREFIX b",
                "@SET a1 x",
                "@SET c1 x",
                "SET b1 y",
                ".",
                "GET b1",
            ],
        )
        .resp3_only()
        .quiet_only(),
        row(
            "opt in",
            &[
                "CLIENT TRACKING ON OPTIN",
                "GET j",
                "CLIENT CACHING YES",
                "GET k",
                "@SET j 1",
                "@SET k 1",
                "PING",
            ],
        )
        .resp3_only()
        .quiet_only(),
        row(
            "opt in, no message",
            &[
                "CLIENT TRACKING ON OPTIN",
                "CLIENT CACHING YES",
                "GET k",
                "CLIENT CACHING NO",
                "GET j",
                "PING",
            ],
        )
        .resp3_only(),
        row(
            "opt out",
            &[
                "CLIENT TRACKING ON OPTOUT NOLOOP",
                "CLIENT CACHING NO",
                "GET k",
                "GET j",
                "SET j 1",
                "@SET k 1",
                "@SET j 2",
                "PING",
            ],
        )
        .resp3_only()
        .quiet_only(),
        row("a flush", &["CLIENT TRACKING ON", "GET k", "@FLUSHALL", "PING", "FLUSHALL"])
            .resp3_only()
            .quiet_only(),
        row(
            "tracking in a transaction",
            &["CLIENT TRACKING ON", "GET k", "MULTI", "SET k 1", "GET k", "EXEC", "SET k 2", "PING"],
        )
        .resp3_only(),
        row(
            "tracking refused",
            &[
                "CLIENT TRACKING ON BAD",
                "CLIENT TRACKING",
                "CLIENT TRACKING OFF",
                "CLIENT CACHING YES",
                "PING",
            ],
        ),
    ]
}

fn scripts() -> Vec<Row> {
    vec![
        row(
            "values",
            &[
                "EVAL 'return {1, {2, {3, \"x\"}}, {}, \"\", false, true}' 0",
                "EVAL 'return {}' 0",
                "EVAL 'return nil' 0",
                "EVAL 'return false' 0",
                "EVAL 'return 3.99' 0",
                "EVAL 'return \"\"' 0",
                "EVAL 'return {ok=\"fine\"}' 0",
                "EVAL 'return redis.status_reply(\"YES\")' 0",
                "EVAL 'return KEYS' 2 a b c",
                "PING",
            ],
        ),
        row(
            "errors",
            &[
                "EVAL 'return redis.error_reply(\"BUSY something\")' 0",
                "EVAL 'return {err=\"MY own\"}' 0",
                "EVAL 'return {1, {err=\"BUSY inside\"}, 2}' 0",
                "EVAL 'return redis.call(\"NOSUCH\")' 0",
                "EVAL 'return redis.pcall(\"INCR\", \"l\", \"x\")' 0",
                "EVAL 'this is not lua' 0",
                "EVAL 'return 1' 3 a",
                "EVAL 'return 1' -1",
                "EVAL 'return 1'",
                "PING",
            ],
        ),
        row(
            "an error after a write",
            &["EVAL 'redis.call(\"INCR\", \"n\") return redis.error_reply(\"BUSY something\")' 0", "GET n"],
        ),
        row(
            "RESP3 values",
            &[
                "EVAL 'redis.setresp(3) return {map={a=1}}' 0",
                "EVAL 'redis.setresp(3) return {set={a=true}}' 0",
                "EVAL 'redis.setresp(3) return {double=1.5}' 0",
                "EVAL 'redis.setresp(3) return {big_number=\"12345678901234567890\"}' 0",
                "EVAL 'redis.setresp(3) return {verbatim_string={format=\"txt\", string=\"a\"}}' 0",
                "EVAL 'redis.setresp(3) return {true, false}' 0",
                "PING",
            ],
        ),
        row(
            "EVALSHA",
            &[
                "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
                "SCRIPT LOAD 'return 1'",
                "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
                "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x",
                "EVALSHA short 0",
                "PING",
            ],
        ),
        row(
            "FCALL",
            &[
                "FCALL up 1 n",
                "FUNCTION LOAD '#!lua name=lib\nredis.register_function(\"up\", function(k) return redis.call(\"INCR\", k[1]) end)'",
                "FCALL up 1 n",
                "FCALL_RO up 1 n",
                "FCALL nosuch 0",
                "FUNCTION DELETE lib",
                "GET n",
            ],
        )
        .since_7(),
        row("EVAL_RO", &["EVAL_RO 'return redis.call(\"GET\", \"k\")' 0", "EVAL_RO 'return redis.call(\"INCR\", \"k\")' 0", "PING"]).since_7(),
        row("a script that publishes", &["SUBSCRIBE a", "EVAL 'redis.call(\"PUBLISH\", \"a\", \"x\") return 1' 0", "PING"]).resp3_only(),
    ]
}

fn blocking() -> Vec<Row> {
    vec![
        row("BLPOP", &["BLPOP q 0", "@RPUSH q x", "RPUSH q y", "BLPOP q 0", "PING"]),
        row("commands behind BLPOP", &["!BLPOP q 0\r\nINCR n\r\nGET n\r\n", "@RPUSH q x", "PING"]),
        row("a time-out", &["BLPOP q 0.02", "PING"]).slow(Duration::from_millis(200)),
        row("wrong BLPOP", &["BLPOP q", "BLPOP q -1", "BLPOP q x", "SET k v", "BLPOP k 0", "PING"]),
        row("BLMOVE", &["BLMOVE q r LEFT RIGHT 0", "@RPUSH q x", "LRANGE r 0 -1"]),
        row("BZPOPMIN", &["BZPOPMIN z 0", "@ZADD z 1.5 m", "ZCARD z"]),
        row("BLMPOP", &["BLMPOP 0 2 q r LEFT COUNT 2", "@RPUSH r x y z", "LRANGE r 0 -1"]).since_7(),
        row(
            "XREAD BLOCK",
            &[
                "XREAD BLOCK 0 STREAMS s $",
                "?INFO clients => blocked_clients:1",
                "@XADD s 1-1 f v",
                "XREAD COUNT 1 STREAMS s 0",
                "XLEN s",
            ],
        ),
        row(
            "XREADGROUP",
            &[
                "XGROUP CREATE s g $ MKSTREAM",
                "XGROUP CREATE s g $ MKSTREAM",
                "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
                "@XADD s 1-1 f v",
                "XACK s g 1-1",
            ],
        ),
        row("WAIT", &["SET k v", "WAIT 0 10", "PING"]),
        row("a blocked client half closes", &["INCR n", "BLPOP nothing 0.01", "INCR n"])
            .slow(Duration::from_millis(200)),
    ]
}

/// A monitor sees what others do, so a script that is running would be in its lines.
fn monitor() -> Vec<Row> {
    vec![
        row("MONITOR", &["MONITOR", "@SET k v", "@GET k", "@EVAL 'return 1' 0"]).quiet_only(),
        row(
            "MONITOR with commands",
            &["MONITOR", "PING", "@SET k v", "PING x", "GET k", "NOSUCH", "@INCR n"],
        )
        .quiet_only(),
        row("MONITOR then RESET", &["MONITOR", "@SET k v", "RESET", "@SET k w", "GET k", "PING"])
            .quiet_only(),
        row("MONITOR then QUIT", &["MONITOR", "@SET k v", "QUIT", "PING"]).quiet_only(),
        row("MONITOR twice", &["MONITOR", "MONITOR", "@SET k v", "PING"]).quiet_only(),
        row("MONITOR while OFF", &["PING", "CLIENT REPLY OFF", "MONITOR", "PING", "CLIENT REPLY ON", "PING"])
            .quiet_only(),
        row(
            "MONITOR and errors that look like replies",
            &["MONITOR", "@ECHO '-BUSY x'", "@ECHO '+OK'", "PING"],
        )
        .quiet_only(),
        row("MONITOR wrong", &["MONITOR x", "PING"]),
        row("MONITOR and a transaction", &["MONITOR", "MULTI", "INCR n", "EXEC", "PING"]).quiet_only(),
        row("MONITOR and a script", &["MONITOR", "EVAL 'return redis.call(\"INCR\", \"n\")' 0", "PING"])
            .quiet_only(),
    ]
}

/// Everything that DEBUG PROTOCOL can make a server say.
fn types() -> Vec<Row> {
    const TYPES: &[&str] = &[
        "string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true",
        "false", "bignum",
    ];
    let mut rows: Vec<_> = TYPES
        .iter()
        .map(|kind| {
            row("DEBUG PROTOCOL", &["PING", &format!("DEBUG PROTOCOL {kind}"), "PING x", "GET k"]).named(kind)
        })
        .collect();
    let all: Vec<_> = TYPES.iter().map(|kind| format!("DEBUG PROTOCOL {kind}")).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    rows.push(row("DEBUG PROTOCOL, all", &all));
    rows.push(row(
        "DEBUG PROTOCOL in MULTI",
        &["MULTI", "DEBUG PROTOCOL map", "DEBUG PROTOCOL attrib", "EXEC", "PING"],
    ));
    rows.push(row("DEBUG ERROR", &["DEBUG ERROR 'BUSY x'", "DEBUG ERROR BUSYGROUP", "PING"]).quiet_only());
    rows
}

impl Row {
    fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

fn others() -> Vec<Row> {
    vec![
        row(
            "strings",
            &[
                "SET k v",
                "GET k",
                "APPEND k w",
                "GETRANGE k 0 -1",
                "STRLEN k",
                "DEL k",
                "GET k",
                "SETNX k x",
                "GETDEL k",
            ],
        ),
        row("counters", &["INCR n", "INCR n", "INCRBY n 40", "DECR n", "INCRBYFLOAT n 0.5", "GET n"]),
        row(
            "collections",
            &[
                "RPUSH l a b c",
                "LRANGE l 0 -1",
                "SADD s x",
                "SMEMBERS s",
                "HSET h f v",
                "HGETALL h",
                "ZADD z 1.5 m",
                "ZRANGE z 0 -1 WITHSCORES",
                "ZSCORE z m",
            ],
        ),
        row(
            "errors",
            &["SET k v", "LPUSH k x", "INCR k", "NOSUCH a b c", "GET", "SET k v BAD", "EXPIRE k x", "GET k"],
        ),
        row("BUSYGROUP", &["XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATE s g $", "XLEN s"]),
        row("BUSYKEY", &["SET k v", "RESTORE k 0 x", "RESTORE j 0 x", "GET k"]),
        row(
            "scanning",
            &["SET k v", "SCAN 0", "KEYS *", "DBSIZE", "TYPE k", "OBJECT ENCODING k", "TTL k", "RANDOMKEY"],
        ),
        row("nulls", &["GET k", "HGET h f", "LPOP l", "MGET a b", "ZSCORE z m", "GEOPOS g x", "LPOS l x"]),
        row(
            "binary",
            &[
                "!*3\r\n$3\r\nSET\r\n$4\r\n\r\n\0x\r\n$6\r\n$3\r\na\n\r\n",
                "!*2\r\n$3\r\nGET\r\n$4\r\n\r\n\0x\r\n",
            ],
        ),
        row("a long list", &["RPUSH l "]).with_words(2000).then(&["LRANGE l 0 -1", "LLEN l"]),
        row(
            "subcommands",
            &[
                "CONFIG GET maxmemory",
                "CONFIG NOSUCH",
                "OBJECT HELP",
                "PUBSUB CHANNELS",
                "ACL WHOAMI",
                "MEMORY USAGE nothing",
                "PING",
            ],
        ),
        row("COMMAND", &["COMMAND INFO get", "PING"]),
        row("PING", &["PING", "PING x", "PING x y", "ping", "ECHO ''", "PING ''"]),
        row("many at once", &[]).with_many("INCR n", 1000, &["GET n"]),
    ]
}

impl Row {
    fn with_words(mut self, count: usize) -> Self {
        let line = self.lines.last_mut().expect("a line");
        line.push_str(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
        self
    }

    fn then(mut self, lines: &[&str]) -> Self {
        self.lines.extend(lines.iter().map(|&line| line.to_owned()));
        self
    }
}
