//! What the engine must know of a command before it may send it, hold it, or send it again.

use crate::resp::args;

/// What a command does to its connection, as far as the order and number of replies depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A command of the server's own with one reply and no effect on the connection.
    Plain,
    /// EVAL, EVALSHA, FCALL and their read-only forms: a script can answer anything, also a BUSY of its own.
    Script,
    /// SCRIPT LOAD: plain but that its text is of interest.
    Load,
    /// Not one of the server's own as far as is known here, perhaps a module's; or DEBUG, which answers with any error
    /// that it is told.
    Foreign,
    /// Sets state of the connection: nothing is sent beside it.
    Barrier,
    /// Like `Barrier`, and holds for just the command behind it, so both are sent again together (ASKING).
    Prefix,
    /// SELECT, AUTH, HELLO: a barrier; commands behind one that failed would run in the wrong place.
    Identity(Identity),
    /// Ends what runs, or the server. Never held, never sent again.
    Kill,
    /// Begins a transaction.
    Multi,
    /// Executes the transaction.
    Exec,
    /// Drops the transaction.
    Discard,
    /// Watches keys for the next transaction.
    Watch,
    /// Forgets watched keys.
    Unwatch,
    /// Subscribes to channels: one confirmation per name.
    Subscribe(Topic),
    /// Unsubscribes: one confirmation per name, or per subscription without names.
    Unsubscribe(Topic),
    /// CLIENT REPLY ON, OFF or SKIP.
    Reply(ReplyMode),
    /// RESET: the connection is as new.
    Reset,
    /// QUIT: nothing behind it is read.
    Quit,
    /// MONITOR: an endless stream of lines mixed with replies.
    Monitor,
    /// PSYNC or SYNC: the connection becomes a replication stream.
    Sync,
    /// REPLCONF ACK and GETACK, which are not answered unless refused.
    Unanswered,
    /// No words at all: skipped by the server without a reply.
    Empty,
}

/// Which identity a command sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// SELECT.
    Select,
    /// AUTH.
    Auth,
    /// HELLO, with the protocol it asks for if it names one.
    Hello,
}

/// The three name spaces of Pub/Sub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

/// The argument of CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No replies until ON or RESET.
    Off,
    /// No reply to the next command.
    Skip,
}

/// What the engine knows of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a command, not states")]
pub struct Command {
    /// Its effect on the connection.
    pub kind: Kind,
    /// A busy server rejects it and an open one answers at once: it may speak for the server.
    pub scout: bool,
    /// A non-error reply proves that no script was running.
    pub proof: bool,
    /// It only reads, so `CLIENT PAUSE … WRITE` does not park it.
    pub read: bool,
    /// The server may keep it waiting for as long as its client wishes.
    pub blocking: bool,
    /// The number of words, for counting confirmations; saturates.
    pub words: u16,
}

impl Command {
    /// Reads a complete command.
    ///
    /// ```
    /// use unbusy_core::command::{Command, Kind};
    /// assert!(Command::read(b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n").scout);
    /// assert_eq!(Command::read(b"script kill\r\n").kind, Kind::Kill);
    /// ```
    pub fn read(bytes: &[u8]) -> Self {
        Self::of_words(args(bytes))
    }

    /// Reads a command whose words are known.
    ///
    /// ```
    /// use unbusy_core::command::{Command, Kind};
    /// assert_eq!(Command::of_words([&b"SCRIPT"[..], b"KILL"].into_iter()).kind, Kind::Kill);
    /// ```
    pub fn of_words<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Self {
        words.next().map_or(Self::of(Kind::Empty, 0), |name| Self::named(name, words))
    }

    /// The same, when the first word is apart; the others are looked at only if they matter.
    pub(crate) fn named<'a>(name: &[u8], others: impl Iterator<Item = &'a [u8]>) -> Self {
        let key = pack(name);
        let Some(class) = class(key) else { return Self::of(Kind::Foreign, 1) };
        match class {
            Class::Read => Self { scout: true, proof: true, read: true, ..Self::of(Kind::Plain, 1) },
            Class::Write => Self { scout: true, proof: true, ..Self::of(Kind::Plain, 1) },
            Class::Blocking => Self { proof: true, blocking: true, ..Self::of(Kind::Plain, 1) },
            Class::Slow => Self { proof: true, ..Self::of(Kind::Plain, 1) },
            Class::Script => Self { scout: true, proof: true, ..Self::of(Kind::Script, 1) },
            Class::Special => special(key, others),
        }
    }

    /// Whether it is answered at once and has no effect on its connection, so that others may follow it.
    pub const fn is_plain(self) -> bool {
        matches!(self.kind, Kind::Plain) && !self.blocking
    }

    const fn of(kind: Kind, words: u16) -> Self {
        Self { kind, scout: false, proof: false, read: false, blocking: false, words }
    }
}

/// Whether nothing may be in flight beside a command of this kind, neither before nor behind it.
///
/// Behind: `SELECT 3` rejected and the `SET` behind it accepted would write into the wrong database. Before: a
/// newer Valkey executes `SELECT` while busy, so a rejected command in front of it would be sent again too late.
impl Kind {
    /// See above.
    pub const fn is_barrier(self) -> bool {
        !matches!(
            self,
            Self::Plain
                | Self::Load
                | Self::Script
                | Self::Foreign
                | Self::Multi
                | Self::Exec
                | Self::Discard
                | Self::Empty
                | Self::Unanswered
                | Self::Subscribe(_)
                | Self::Unsubscribe(_)
        )
    }

    /// It can answer with a text of its own that reads like the server's BUSY, after having written.
    pub const fn may_answer_busy(self) -> bool {
        matches!(self, Self::Script | Self::Foreign)
    }

    /// Answered by a busy server, and not by chance: it may pass the gate when nothing of its own connection is
    /// in its way. Kills must act at once; AUTH and HELLO come before a kill on a new connection.
    pub const fn passes_gate(self) -> bool {
        matches!(
            self,
            Self::Kill | Self::Identity(Identity::Auth | Identity::Hello) | Self::Quit | Self::Empty
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Read,
    Write,
    Blocking,
    /// Answered late by nature, or by something else than the main loop.
    Slow,
    Script,
    Special,
}

/// A name as a number, whatever its case; zero for one that is too long to be anybody's here.
///
/// Clearing a bit makes letters upper case. It changes other bytes as well, and a name of 16 bytes may end like the mark
/// of a shorter one; so strings that are no command's name on any server may look like one.
const fn pack(name: &[u8]) -> u128 {
    const UPPER_CASE: u128 = u128::from_ne_bytes([!0x20; 16]);
    const LONGEST: usize = 16;
    let len = name.len();
    let bits = 8 * len;
    // Two reads that overlap take fewer steps than one of a length known only at run time.
    let word = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        _ if len > LONGEST => return 0,
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) as u128 | (u64::from_le_bytes(*last) as u128) << (bits - 64)
        }
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                (u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << (bits - 32))
                    as u128
            }
            _ => match *name {
                [a, b, c] => a as u128 | (b as u128) << 8 | (c as u128) << 16,
                [a, b] => a as u128 | (b as u128) << 8,
                [a] => a as u128,
                _ => 0,
            },
        },
    };
    // The length keeps a name apart from the same one with zeros behind it.
    let mark = if len < LONGEST { (len as u128) << 120 } else { 0 };
    (word & UPPER_CASE) | mark
}

fn special<'a>(name: u128, mut words: impl Iterator<Item = &'a [u8]>) -> Command {
    const AUTH: u128 = pack(b"AUTH");
    const ASKING: u128 = pack(b"ASKING");
    const CLIENT: u128 = pack(b"CLIENT");
    const DISCARD: u128 = pack(b"DISCARD");
    const EXEC: u128 = pack(b"EXEC");
    const FUNCTION: u128 = pack(b"FUNCTION");
    const HELLO: u128 = pack(b"HELLO");
    const MONITOR: u128 = pack(b"MONITOR");
    const MULTI: u128 = pack(b"MULTI");
    const PSUBSCRIBE: u128 = pack(b"PSUBSCRIBE");
    const PSYNC: u128 = pack(b"PSYNC");
    const PUNSUBSCRIBE: u128 = pack(b"PUNSUBSCRIBE");
    const QUIT: u128 = pack(b"QUIT");
    const REPLCONF: u128 = pack(b"REPLCONF");
    const RESET: u128 = pack(b"RESET");
    const SCRIPT: u128 = pack(b"SCRIPT");
    const SELECT: u128 = pack(b"SELECT");
    const SHUTDOWN: u128 = pack(b"SHUTDOWN");
    const SSUBSCRIBE: u128 = pack(b"SSUBSCRIBE");
    const SUBSCRIBE: u128 = pack(b"SUBSCRIBE");
    const SUNSUBSCRIBE: u128 = pack(b"SUNSUBSCRIBE");
    const SYNC: u128 = pack(b"SYNC");
    const UNSUBSCRIBE: u128 = pack(b"UNSUBSCRIBE");
    const UNWATCH: u128 = pack(b"UNWATCH");
    const WATCH: u128 = pack(b"WATCH");

    let second = words.next();
    let third = if matches!(name, CLIENT) { words.next() } else { None };
    let count = usize::from(second.is_some()) + usize::from(third.is_some()) + words.count();
    let count = u16::try_from(1 + count).unwrap_or(u16::MAX);
    let is = |word: Option<&[u8]>, text: &str| word.is_some_and(|w| w.eq_ignore_ascii_case(text.as_bytes()));
    let kind = match name {
        AUTH => Kind::Identity(Identity::Auth),
        HELLO => Kind::Identity(Identity::Hello),
        SELECT => Kind::Identity(Identity::Select),
        ASKING => Kind::Prefix,
        CLIENT if is(second, "REPLY") => match third {
            mode if is(mode, "ON") && count == 3 => Kind::Reply(ReplyMode::On),
            mode if is(mode, "OFF") && count == 3 => Kind::Reply(ReplyMode::Off),
            mode if is(mode, "SKIP") && count == 3 => Kind::Reply(ReplyMode::Skip),
            _ => Kind::Barrier,
        },
        CLIENT if is(second, "CACHING") => Kind::Prefix,
        MULTI => Kind::Multi,
        EXEC => return Command { proof: true, ..Command::of(Kind::Exec, count) },
        DISCARD => Kind::Discard,
        WATCH => Kind::Watch,
        UNWATCH => Kind::Unwatch,
        SUBSCRIBE => Kind::Subscribe(Topic::Channel),
        PSUBSCRIBE => Kind::Subscribe(Topic::Pattern),
        SSUBSCRIBE => Kind::Subscribe(Topic::Shard),
        UNSUBSCRIBE => Kind::Unsubscribe(Topic::Channel),
        PUNSUBSCRIBE => Kind::Unsubscribe(Topic::Pattern),
        SUNSUBSCRIBE => Kind::Unsubscribe(Topic::Shard),
        SCRIPT | FUNCTION if is(second, "KILL") => Kind::Kill,
        FUNCTION if is(second, "STATS") => Kind::Kill,
        SCRIPT if is(second, "LOAD") => return Command { proof: true, ..Command::of(Kind::Load, count) },
        SCRIPT | FUNCTION => return Command { proof: true, ..Command::of(Kind::Plain, count) },
        SHUTDOWN => Kind::Kill,
        RESET => Kind::Reset,
        QUIT => Kind::Quit,
        MONITOR => Kind::Monitor,
        PSYNC | SYNC => Kind::Sync,
        REPLCONF if count >= 3 && count % 2 == 1 && (is(second, "ACK") || is(second, "GETACK")) => {
            Kind::Unanswered
        }
        // CLIENT, READONLY, READWRITE, REPLCONF.
        _ => Kind::Barrier,
    };
    Command::of(kind, count)
}

/// The servers' own commands by packed name: a hash table, each at its slot or at the first free one behind it.
static CORE: [(u128, Class); SLOTS] = core();

/// A power of two; half of the slots are free, so a search is short.
const SLOTS: usize = 512;

/// Where a search begins.
const fn slot(key: u128) -> usize {
    let folded = (key >> 64) as u64 ^ key as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize
}

fn class(key: u128) -> Option<Class> {
    let mut at = slot(key);
    while CORE[at].0 != key {
        if CORE[at].0 == 0 {
            return None;
        }
        at = (at + 1) % SLOTS;
    }
    (key != 0).then_some(CORE[at].1)
}

const READS: &[&str] = &[
    "ACL",
    "BITCOUNT",
    "BITFIELD_RO",
    "BITPOS",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DBSIZE",
    "DUMP",
    "ECHO",
    "EXISTS",
    "EXPIRETIME",
    "GEODIST",
    "GEOHASH",
    "GEOPOS",
    "GEORADIUS_RO",
    "GEOSEARCH",
    "GET",
    "GETBIT",
    "GETRANGE",
    "HEXISTS",
    "HEXPIRETIME",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HPEXPIRETIME",
    "HPTTL",
    "HRANDFIELD",
    "HSCAN",
    "HSTRLEN",
    "HTTL",
    "HVALS",
    "INFO",
    "KEYS",
    "LASTSAVE",
    "LATENCY",
    "LCS",
    "LINDEX",
    "LLEN",
    "LOLWUT",
    "LPOS",
    "LRANGE",
    "MEMORY",
    "MGET",
    "OBJECT",
    "PEXPIRETIME",
    "PFCOUNT",
    "PING",
    "PTTL",
    "PUBSUB",
    "RANDOMKEY",
    "ROLE",
    "SCAN",
    "SCARD",
    "SDIFF",
    "SINTER",
    "SINTERCARD",
    "SISMEMBER",
    "SLOWLOG",
    "SMEMBERS",
    "SMISMEMBER",
    "SORT_RO",
    "SRANDMEMBER",
    "SSCAN",
    "STRLEN",
    "SUBSTR",
    "SUNION",
    "TIME",
    "TOUCH",
    "TTL",
    "TYPE",
    "XINFO",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREVRANGE",
    "ZCARD",
    "ZCOUNT",
    "ZDIFF",
    "ZINTER",
    "ZINTERCARD",
    "ZLEXCOUNT",
    "ZMSCORE",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZREVRANK",
    "ZSCAN",
    "ZSCORE",
    "ZUNION",
];

const WRITES: &[&str] = &[
    "APPEND",
    "BGREWRITEAOF",
    "BGSAVE",
    "BITFIELD",
    "BITOP",
    "COPY",
    "DECR",
    "DECRBY",
    "DEL",
    "DELIFEQ",
    "EXPIRE",
    "EXPIREAT",
    "FLUSHALL",
    "FLUSHDB",
    "GEOADD",
    "GEORADIUS",
    "GEOSEARCHSTORE",
    "GETDEL",
    "GETEX",
    "GETSET",
    "HDEL",
    "HEXPIRE",
    "HEXPIREAT",
    "HGETDEL",
    "HGETEX",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HMSET",
    "HPERSIST",
    "HPEXPIRE",
    "HPEXPIREAT",
    "HSET",
    "HSETEX",
    "HSETNX",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LINSERT",
    "LMOVE",
    "LMPOP",
    "LPOP",
    "LPUSH",
    "LPUSHX",
    "LREM",
    "LSET",
    "LTRIM",
    "MOVE",
    "MSET",
    "MSETEX",
    "MSETNX",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PFADD",
    "PFMERGE",
    "PSETEX",
    "PUBLISH",
    "RENAME",
    "RENAMENX",
    "RESTORE",
    "RESTORE-ASKING",
    "RPOP",
    "RPOPLPUSH",
    "RPUSH",
    "RPUSHX",
    "SADD",
    "SAVE",
    "SDIFFSTORE",
    "SET",
    "SETBIT",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "SINTERSTORE",
    "SMOVE",
    "SORT",
    "SPOP",
    "SPUBLISH",
    "SREM",
    "SUNIONSTORE",
    "SWAPDB",
    "UNLINK",
    "XACK",
    "XADD",
    "XAUTOCLAIM",
    "XCLAIM",
    "XDEL",
    "XGROUP",
    "XSETID",
    "XTRIM",
    "ZADD",
    "ZDIFFSTORE",
    "ZINCRBY",
    "ZINTERSTORE",
    "ZMPOP",
    "ZPOPMAX",
    "ZPOPMIN",
    "ZRANGESTORE",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
    "ZUNIONSTORE",
];

const BLOCKING: &[&str] = &[
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "WAIT",
    "WAITAOF",
    "XREAD",
    "XREADGROUP",
];

const SLOW: &[&str] = &["FAILOVER", "MIGRATE", "MODULE", "PFDEBUG", "PFSELFTEST", "REPLICAOF", "SLAVEOF"];

const SCRIPTS: &[&str] = &["EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"];

const SPECIALS: &[&str] = &[
    "ASKING",
    "AUTH",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "FUNCTION",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SCRIPT",
    "SELECT",
    "SHUTDOWN",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
];

const fn core() -> [(u128, Class); SLOTS] {
    let mut table = [(0, Class::Special); SLOTS];
    let lists = [
        (READS, Class::Read),
        (WRITES, Class::Write),
        (BLOCKING, Class::Blocking),
        (SLOW, Class::Slow),
        (SCRIPTS, Class::Script),
        (SPECIALS, Class::Special),
    ];
    let mut list = 0;
    while list < lists.len() {
        let (names, class) = lists[list];
        let mut name = 0;
        while name < names.len() {
            let key = pack(names[name].as_bytes());
            let mut at = slot(key);
            while table[at].0 != 0 {
                at = (at + 1) % SLOTS;
            }
            table[at] = (key, class);
            name += 1;
        }
        list += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn read(text: &str) -> Command {
        Command::read(format!("{text}\r\n").as_bytes())
    }

    #[test]
    fn each_name_is_found_and_in_one_list_only() {
        let lists = [READS, WRITES, BLOCKING, SLOW, SCRIPTS, SPECIALS].concat();
        let keys: BTreeSet<u128> = lists.iter().map(|name| pack(name.as_bytes())).collect();
        assert_eq!(keys.len(), lists.len());
        assert!(keys.iter().all(|key| *key != 0 && class(*key).is_some()));
        assert_eq!(class(pack(b"ZREVRANGEBYSCORE_")), None);
        assert_eq!(class(pack(b"GET\0")), None);
        assert_eq!(class(pack(b"GET ")), None);
        assert_eq!(class(pack(b"")), None);
    }

    /// It may be a module's.
    #[test]
    fn a_name_that_differs_in_one_letter_is_another() {
        let lists = [READS, WRITES, BLOCKING, SLOW, SCRIPTS, SPECIALS].concat();
        let names: BTreeSet<Vec<u8>> = lists.iter().map(|name| name.as_bytes().to_vec()).collect();
        for name in &names {
            for at in 0..name.len() {
                for letter in b'A'..=b'Z' {
                    let mut other = name.clone();
                    other[at] = letter;
                    let is_core = class(pack(&other)).is_some();
                    assert_eq!(is_core, names.contains(&other), "{}", other.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn scouts_are_commands_that_a_busy_server_rejects_and_an_open_one_answers_at_once() {
        for scout in ["GET k", "set k v", "PING", "EVAL x 0", "INFO"] {
            assert!(read(scout).scout && read(scout).proof, "{scout}");
        }
        // The first three wait, the next may be a module's, the others are answered while busy.
        for other in [
            "BLPOP k 0",
            "XREAD BLOCK 0 STREAMS s $",
            "WAIT 1 0",
            "JSON.GET k",
            "AUTH x",
            "HELLO 3",
            "WATCH k",
        ] {
            assert!(!read(other).scout, "{other}");
        }
        for allowed in [
            "AUTH x",
            "HELLO 3",
            "MULTI",
            "WATCH k",
            "UNWATCH",
            "RESET",
            "SELECT 1",
            "CLIENT ID",
            "SCRIPT KILL",
        ] {
            assert!(!read(allowed).proof, "a busy server answers {allowed}");
        }
    }

    #[test]
    fn subcommands_decide() {
        assert_eq!(read("CLIENT REPLY SKIP").kind, Kind::Reply(ReplyMode::Skip));
        assert_eq!(read("client reply wrong").kind, Kind::Barrier);
        assert_eq!(read("CLIENT ID").kind, Kind::Barrier);
        assert_eq!(read("CLIENT NO-EVICT OFF").kind, Kind::Barrier);
        assert_eq!(read("CLIENT CACHING YES").kind, Kind::Prefix);
        assert_eq!((read("SCRIPT LOAD x").kind, read("SCRIPT EXISTS x").kind), (Kind::Load, Kind::Plain));
        assert_eq!(read("FUNCTION STATS").kind, Kind::Kill);
        assert_eq!(read("FUNCTION LIST").kind, Kind::Plain);
        assert_eq!(read("SHUTDOWN NOSAVE").kind, Kind::Kill);
        assert_eq!(read("REPLCONF ACK 0").kind, Kind::Unanswered);
        assert_eq!(read("REPLCONF ACK 0 FACK 0").kind, Kind::Unanswered);
        assert_eq!(read("REPLCONF ACK 0 FACK").kind, Kind::Barrier, "which is refused");
        assert_eq!(read("REPLCONF listening-port 1").kind, Kind::Barrier);
        assert_eq!(read("SUBSCRIBE a b c").words, 4);
        assert_eq!(read("CLIENT").kind, Kind::Barrier);
        assert_eq!(read("").kind, Kind::Empty);
        assert_eq!(
            read("GEORADIUSBYMEMBER k m 1 m").kind,
            Kind::Foreign,
            "unknown here, so handled with care"
        );
    }

    #[test]
    fn what_reads_what_waits_and_what_proves_is_known() {
        assert!(read("GET k").read && !read("SET k v").read && !read("BLPOP k 0").read);
        assert!(read("BLPOP k 0").blocking && !read("GET k").blocking);
        assert!(read("GET k").is_plain() && !read("BLPOP k 0").is_plain() && !read("MULTI").is_plain());
        for rejected in ["BLPOP k 0", "MODULE LIST", "SCRIPT LOAD x", "FUNCTION LIST", "EXEC"] {
            assert!(read(rejected).proof, "a busy server rejects {rejected}");
        }
    }

    #[test]
    fn subscriptions_are_told_apart() {
        for (name, topic) in [("", Topic::Channel), ("P", Topic::Pattern), ("S", Topic::Shard)] {
            assert_eq!(read(&format!("{name}SUBSCRIBE a")).kind, Kind::Subscribe(topic));
            assert_eq!(read(&format!("{name}UNSUBSCRIBE a")).kind, Kind::Unsubscribe(topic));
        }
    }
}
