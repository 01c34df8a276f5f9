//! What the demo needs around it: a server, a proxy, the ways to both, and the keys.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use unbusy_core::resp::args;
use unbusy_proxy::{Address, BusyThreshold, Config, HoldKinds, Ordering, Proxy, Stopper, Upstream};

use super::board::{Board, Group};
use super::link::{Link, Login};
use super::own_server::OwnServer;
use super::plan::{CLIENTS_PER_GROUP, Plan};
use super::script;
use crate::cli::DemoServer;

/// Assumed where the server does not tell.
const DEFAULT_THRESHOLD: Duration = Duration::from_secs(5);
/// After so many seconds the keys go by themselves, should the demo not be able to remove them.
const KEYS_LIVE: &str = "600";
const REMOVE_LIMIT: Duration = Duration::from_secs(5);
/// By then the server has executed what interrupted clients had sent.
const SETTLED: Duration = Duration::from_millis(100);

pub(super) struct Stage {
    pub(super) plan: Plan,
    login: Login,
    keys: String,
    unbusy: RunningProxy,
    direct: Direct,
}

/// The way to the server itself.
enum Direct {
    Own(OwnServer),
    Users(Address),
    /// For a server with TLS: a proxy that holds nothing.
    PassThrough(RunningProxy),
}

impl Stage {
    pub(super) async fn set(config: Config, server: &DemoServer) -> anyhow::Result<Self> {
        let (config, direct, db) = match server {
            DemoServer::Own(program) => {
                let server = OwnServer::start(program.as_ref()).await?;
                let upstream = Upstream { address: server.address().clone(), ..config.upstream };
                (Config { upstream, ..config }, Direct::Own(server), None)
            }
            DemoServer::Users(url) => {
                let direct = match &config.upstream.tls {
                    None => Direct::Users(config.upstream.address.clone()),
                    Some(_) => Direct::PassThrough(RunningProxy::start(passing_through(&config))?),
                };
                (config, direct, url.db.clone())
            }
        };
        let login = login(&config.upstream, db);
        let threshold = threshold(config.busy_threshold, direct.address(), &login).await?;
        let plan = match &direct {
            Direct::Own(_) => Plan::own(threshold),
            Direct::Users(_) | Direct::PassThrough(_) => Plan::users(threshold),
        };
        let keys = format!("unbusy:demo:{:016x}:", RandomState::new().build_hasher().finish());
        Ok(Self { plan, login, keys, unbusy: RunningProxy::start(config)?, direct })
    }

    /// What all keys begin with.
    pub(super) fn keys(&self) -> &str {
        &self.keys
    }

    pub(super) fn key(&self, group: Group, client: usize) -> String {
        format!("{}{}:{client}", self.keys, group.name().replace(' ', "-"))
    }

    /// Whether nobody but the demo uses the server.
    pub(super) const fn has_own_server(&self) -> bool {
        matches!(self.direct, Direct::Own(_))
    }

    /// A new connection to the server.
    pub(super) async fn direct(&self) -> anyhow::Result<Link> {
        Link::open(self.direct.address(), &self.login).await
    }

    /// A new connection to a server that may be busy, in its first database.
    pub(super) async fn direct_while_busy(&self) -> anyhow::Result<Link> {
        Link::open_while_busy(self.direct.address(), &self.login).await
    }

    /// A new connection as the clients of this group have it.
    pub(super) async fn open(&self, group: Group) -> anyhow::Result<Link> {
        match group {
            Group::Direct | Group::Remedy => self.direct().await,
            Group::Unbusy => Link::open(&self.unbusy.address, &self.login).await,
        }
    }

    /// Makes the keys, with an end of their own.
    pub(super) async fn make_keys(&self) -> anyhow::Result<()> {
        let mut link = self.direct().await?;
        for key in self.all_keys() {
            link.tell(&["RPUSH", &key, "0"]).await?;
            link.tell(&["EXPIRE", &key, KEYS_LIVE]).await?;
        }
        Ok(())
    }

    /// Ends the script and removes the keys. The clients must have ended.
    pub(super) async fn clear(&self, board: &Board) -> anyhow::Result<()> {
        if self.has_own_server() {
            return Ok(());
        }
        // What its clients left held is not executed any more.
        self.unbusy.stop();
        script::end(self, board).await?;
        self.remove_keys().await.with_context(|| {
            format!("the keys {}* could not be removed; they expire within 10 minutes", self.keys)
        })
    }

    async fn remove_keys(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + REMOVE_LIMIT;
        loop {
            match self.keys_removed().await {
                Ok(0) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                // Once more, since a command that was under way can have made a key again; or since the server is
                // busy with a script of somebody else.
                Ok(_) | Err(_) => tokio::time::sleep(SETTLED).await,
            }
        }
    }

    /// Removes the keys and tells how many there were.
    async fn keys_removed(&self) -> anyhow::Result<u64> {
        let mut link = self.direct().await?;
        let keys = self.all_keys();
        let words: Vec<_> = ["DEL"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let reply = link.tell(&words).await?;
        let count = String::from_utf8_lossy(&reply).trim_start_matches(':').trim_end().parse();
        count.context("not a number of keys")
    }

    fn all_keys(&self) -> Vec<String> {
        let keys = |group| (0..CLIENTS_PER_GROUP).map(move |client| self.key(group, client));
        Group::ALL.into_iter().flat_map(keys).collect()
    }
}

impl Direct {
    const fn address(&self) -> &Address {
        match self {
            Self::Own(server) => server.address(),
            Self::Users(address) => address,
            Self::PassThrough(proxy) => &proxy.address,
        }
    }
}

/// A proxy that ends when this goes.
struct RunningProxy {
    address: Address,
    stopper: Stopper,
}

impl RunningProxy {
    fn start(config: Config) -> anyhow::Result<Self> {
        let listen = vec![Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 }];
        let proxy = Proxy::start(Config { listen, ..config })?;
        Ok(Self { address: proxy.addresses()[0].clone(), stopper: proxy.stopper() })
    }

    fn stop(&self) {
        self.stopper.stop_now();
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.stop();
    }
}

fn passing_through(config: &Config) -> Config {
    Config {
        hold: HoldKinds { busy: false, loading: false },
        busy_threshold: BusyThreshold::Fixed(Duration::ZERO),
        ordering: Ordering::Relaxed,
        ..config.clone()
    }
}

fn login(upstream: &Upstream, db: Option<String>) -> Login {
    let user = upstream.username.iter().filter(|_| upstream.password.is_some());
    Login { auth: user.chain(&upstream.password).cloned().collect(), db }
}

async fn threshold(told: BusyThreshold, server: &Address, login: &Login) -> anyhow::Result<Duration> {
    let threshold = match told {
        BusyThreshold::Fixed(threshold) => threshold,
        BusyThreshold::Auto => read_threshold(&mut Link::open(server, login).await?).await?,
    };
    if threshold.is_zero() {
        bail!("the server's BUSY threshold is 0: it never answers BUSY, so there is nothing to show");
    }
    Ok(threshold)
}

async fn read_threshold(link: &mut Link) -> anyhow::Result<Duration> {
    // Redis 7.0 gave it a new name and keeps the old one as an alias.
    for name in ["busy-reply-threshold", "lua-time-limit"] {
        let reply = link.ask(&["CONFIG", "GET", name]).await?;
        let millis = args(&reply).nth(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        if let Some(millis) = millis {
            return Ok(Duration::from_millis(millis));
        }
    }
    Ok(DEFAULT_THRESHOLD)
}
