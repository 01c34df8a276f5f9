//! What each script has cost: how often it was answered, and for how long it kept the server from everybody else.
//!
//! A server executes one script at a time. So of the time from a script's sending to its answer only that part counts as its
//! own in which no other was answered, and all parts together are no longer than the time that passed. The way to the server and
//! back is in them, and what else the server did meanwhile; that is little where it matters.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha1_smol::Sha1;
use unbusy_core::{Script, Time};

use crate::histogram::Histogram;

/// So many scripts are told apart by each worker; with one more the cheapest join the others, some at once, since looking for
/// them takes its time.
const SCRIPTS_MAX: usize = 500;
const SCRIPTS_LET_GO: usize = 50;
/// What each worker keeps of texts.
const TEXTS_BYTES_MAX: usize = 1024 * 1024;
/// Functions with a longer name are not told apart.
const NAME_BYTES_MAX: usize = 256;

/// By what a script is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Name {
    /// The SHA-1 of its text.
    Sha1(String),
    Function(String),
}

/// As in the log.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha1(sha1) => f.write_str(sha1),
            Self::Function(name) => write!(f, "function {name:?}"),
        }
    }
}

/// What a script has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// How long it kept the server from others, each time; the sum is what the timings add up to.
    pub(crate) blocked: Histogram,
    pub(crate) longest: Duration,
    /// When it was last answered.
    pub(crate) last: Time,
}

impl Cost {
    fn add(&mut self, blocked: Duration, now: Time) {
        self.blocked.add(blocked);
        self.longest = self.longest.max(blocked);
        self.last = self.last.max(now);
    }

    fn merge(&mut self, other: &Self) {
        self.blocked.merge(&other.blocked);
        self.longest = self.longest.max(other.longest);
        self.last = self.last.max(other.last);
    }
}

/// The costs of all scripts.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// One per worker, so that none waits for another; none, if nobody is to look.
    books: Vec<Mutex<Book>>,
    /// When any script was last answered.
    last: AtomicU64,
}

/// One script in it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) cost: Cost,
    /// If it came this way and is kept.
    pub(crate) text: Option<Arc<[u8]>>,
}

/// The whole of it at one moment.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    pub(crate) scripts: HashMap<Name, Account>,
    /// Of all that are not told apart.
    pub(crate) others: Cost,
}

#[derive(Debug, Default)]
struct Book {
    costs: HashMap<Name, Cost>,
    others: Cost,
    texts: Texts,
}

impl Ledger {
    pub(crate) fn new(workers: usize) -> Self {
        Self { books: (0..workers).map(|_| Mutex::default()).collect(), last: AtomicU64::new(0) }
    }

    /// A script was sent, so that it is known by its text while it runs.
    pub(crate) fn see(&self, worker: usize, script: Script<'_>) {
        let Some(book) = self.books.get(worker) else { return };
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = book.name(script) {
            book.cost(name);
        }
    }

    /// A script was answered, or its text loaded.
    pub(crate) fn note(&self, worker: usize, script: Script<'_>, sent: Time, now: Time) {
        let Some(book) = self.books.get(worker) else { return };
        if let Script::Loaded(text) = script {
            book.lock().unwrap_or_else(PoisonError::into_inner).keep_text(text);
            return;
        }
        let last = Time::from_nanos(self.last.fetch_max(now.as_nanos(), Relaxed));
        let blocked = now - sent.max(last).min(now);
        book.lock().unwrap_or_else(PoisonError::into_inner).note(script, blocked, now);
    }

    pub(crate) fn costs(&self) -> Costs {
        let mut all = Costs::default();
        for book in &self.books {
            let book = book.lock().unwrap_or_else(PoisonError::into_inner);
            all.others.merge(&book.others);
            for (name, cost) in &book.costs {
                all.scripts.entry(name.clone()).or_default().cost.merge(cost);
            }
        }
        // A text may have come by way of another worker than its script's runs.
        for book in &self.books {
            let book = book.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, account) in &mut all.scripts {
                account.text = account.text.take().or_else(|| book.texts.of(name));
            }
        }
        all
    }
}

impl Book {
    fn note(&mut self, script: Script<'_>, blocked: Duration, now: Time) {
        match self.name(script) {
            Some(name) => self.cost(name).add(blocked, now),
            None => self.others.add(blocked, now),
        }
    }

    fn name(&mut self, script: Script<'_>) -> Option<Name> {
        match script {
            Script::Text(text) | Script::Loaded(text) => Some(Name::Sha1(self.keep_text(text))),
            Script::Sha1(digits) => {
                let is_sha1 = digits.len() == 40 && digits.iter().all(u8::is_ascii_hexdigit);
                let digits = String::from_utf8_lossy(digits).to_ascii_lowercase();
                is_sha1.then_some(Name::Sha1(digits))
            }
            Script::Function(name) => (name.len() <= NAME_BYTES_MAX)
                .then(|| Name::Function(String::from_utf8_lossy(name).into_owned())),
        }
    }

    fn cost(&mut self, name: Name) -> &mut Cost {
        if self.costs.len() == SCRIPTS_MAX && !self.costs.contains_key(&name) {
            self.let_go_of_the_cheapest();
        }
        self.costs.entry(name).or_default()
    }

    fn let_go_of_the_cheapest(&mut self) {
        let mut sums: Vec<_> = self.costs.values().map(|cost| cost.blocked.sum).collect();
        let (_, limit, _) = sums.select_nth_unstable(SCRIPTS_LET_GO - 1);
        let (limit, mut left) = (*limit, SCRIPTS_LET_GO);
        self.costs.retain(|_, cost| {
            let goes = left > 0 && cost.blocked.sum <= limit;
            if goes {
                left -= 1;
                self.others.merge(cost);
            }
            !goes
        });
    }

    /// Keeps a text while there is room; those of scripts that are not told apart go first. Tells its SHA-1.
    fn keep_text(&mut self, text: &[u8]) -> String {
        if let Some(sha1) = self.texts.sha1(text) {
            return sha1.clone();
        }
        let sha1 = Sha1::from(text).digest().to_string();
        if self.texts.bytes + text.len() > TEXTS_BYTES_MAX {
            self.texts.retain(|sha1| self.costs.contains_key(&Name::Sha1(sha1.to_owned())));
        }
        self.texts.keep(text, &sha1);
        sha1
    }
}

/// Texts by their SHA-1, and the other way round, so that each is hashed once.
#[derive(Debug, Default)]
struct Texts {
    by_sha1: HashMap<String, Arc<[u8]>>,
    by_text: HashMap<Arc<[u8]>, String>,
    bytes: usize,
}

impl Texts {
    fn sha1(&self, text: &[u8]) -> Option<&String> {
        self.by_text.get(text)
    }

    fn of(&self, name: &Name) -> Option<Arc<[u8]>> {
        match name {
            Name::Sha1(sha1) => self.by_sha1.get(sha1).cloned(),
            Name::Function(_) => None,
        }
    }

    fn keep(&mut self, text: &[u8], sha1: &str) {
        if self.bytes + text.len() <= TEXTS_BYTES_MAX {
            let text: Arc<[u8]> = text.into();
            self.bytes += text.len();
            self.by_sha1.insert(sha1.to_owned(), Arc::clone(&text));
            self.by_text.insert(text, sha1.to_owned());
        }
    }

    fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.by_sha1.retain(|sha1, _| is_wanted(sha1));
        self.by_text.retain(|_, sha1| is_wanted(sha1));
        self.bytes = self.by_text.keys().map(|text| text.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn sha1(text: &str) -> Name {
        Name::Sha1(Sha1::from(text).digest().to_string())
    }

    fn blocked(costs: &Costs, name: &Name) -> (u64, Duration, Duration) {
        let cost = &costs.scripts[name].cost;
        (cost.blocked.count(), cost.blocked.sum, cost.longest)
    }

    #[test]
    fn time_that_scripts_share_counts_once() {
        let ledger = Ledger::new(2);
        ledger.note(0, Script::Text(b"slow"), at(0), at(100));
        // Sent at the same time, it had to wait for the first.
        ledger.note(1, Script::Function(b"f"), at(0), at(130));
        ledger.note(0, Script::Sha1(sha1_of("slow").to_ascii_uppercase().as_bytes()), at(150), at(160));
        let costs = ledger.costs();
        let ms = Duration::from_millis;
        assert_eq!(blocked(&costs, &sha1("slow")), (2, ms(110), ms(100)));
        assert_eq!(blocked(&costs, &Name::Function("f".to_owned())), (1, ms(30), ms(30)));
    }

    fn sha1_of(text: &str) -> String {
        Sha1::from(text).digest().to_string()
    }

    #[test]
    fn a_text_is_known_however_it_came() {
        let ledger = Ledger::new(2);
        ledger.note(0, Script::Loaded(b"loaded"), at(0), at(1));
        ledger.note(0, Script::Text(b"sent"), at(0), at(1));
        for text in ["loaded", "sent", "unknown"] {
            ledger.note(1, Script::Sha1(sha1_of(text).as_bytes()), at(1), at(2));
        }
        let costs = ledger.costs();
        let text = |text| costs.scripts[&sha1(text)].text.as_deref();
        assert_eq!(text("loaded"), Some(&b"loaded"[..]));
        assert_eq!(text("sent"), Some(&b"sent"[..]));
        assert_eq!(text("unknown"), None);
        assert_eq!(costs.scripts.len(), 3, "what was only loaded has cost nothing");
        ledger.see(0, Script::Text(b"runs for the first time"));
        let costs = ledger.costs();
        let account = &costs.scripts[&sha1("runs for the first time")];
        assert_eq!((account.cost.blocked.count(), account.text.is_some()), (0, true));
    }

    /// A script whose text differs each time, as some build it, must not fill the memory, nor hide one that costs.
    #[test]
    fn a_million_scripts_are_bounded_and_the_dearest_is_still_there() {
        const SCRIPTS: u64 = 1_000_000;
        let ledger = Ledger::new(1);
        let padding = "x".repeat(100);
        let mut now = at(1);
        ledger.note(0, Script::Text(b"dear"), Time::ZERO, now);
        for number in 0..SCRIPTS {
            let text = format!("return {number} {padding}");
            let sent = now;
            now = now + Duration::from_micros(10);
            ledger.note(0, Script::Text(text.as_bytes()), sent, now);
        }
        let book = ledger.books[0].lock().unwrap();
        assert!((SCRIPTS_MAX - SCRIPTS_LET_GO..=SCRIPTS_MAX).contains(&book.costs.len()));
        assert!(book.texts.bytes <= TEXTS_BYTES_MAX);
        assert_eq!(book.texts.bytes, book.texts.by_sha1.values().map(|text| text.len()).sum::<usize>());
        drop(book);
        let costs = ledger.costs();
        let Account { cost, text } = &costs.scripts[&sha1("dear")];
        assert_eq!((cost.blocked.sum, text.as_deref()), (at(1) - Time::ZERO, Some(&b"dear"[..])));
        let told: u64 = costs.scripts.values().map(|account| account.cost.blocked.count()).sum();
        assert_eq!(told + costs.others.blocked.count(), SCRIPTS + 1, "none is lost");
        let newest = format!("return {} {padding}", SCRIPTS - 1);
        assert!(costs.scripts.contains_key(&sha1(&newest)), "the newest may become the dearest");
    }

    #[test]
    fn what_has_no_name_is_among_the_others() {
        let ledger = Ledger::new(1);
        ledger.note(0, Script::Sha1(b"abc"), at(0), at(1));
        ledger.note(0, Script::Function(&[b'f'; NAME_BYTES_MAX + 1]), at(1), at(3));
        let costs = ledger.costs();
        assert!(costs.scripts.is_empty());
        assert_eq!(costs.others.blocked.count(), 2);
    }

    #[test]
    fn nothing_is_kept_if_nobody_is_to_look() {
        let ledger = Ledger::new(0);
        ledger.note(0, Script::Text(b"x"), at(0), at(1));
        assert!(ledger.costs().scripts.is_empty());
    }
}
