//! Which servers there are and where their binaries lie: the one table that `cargo xtask servers` fills and the
//! tests read.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A server version that the tests run against.
///
/// The binary is taken from the environment variable ([`Flavor::variable`]) or else from the cache directory that
/// `cargo xtask servers` fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Redis 6.2: one threshold name (`lua-time-limit`) and no functions.
    Redis62,
    /// Redis 7.0, the one that Debian ships.
    Redis70,
    /// Valkey 9.1.
    Valkey91,
}

impl Flavor {
    /// Every flavour, oldest first.
    pub const ALL: [Self; 3] = [Self::Redis62, Self::Redis70, Self::Valkey91];

    /// The name used in messages and for the cache folder.
    ///
    /// ```
    /// assert_eq!(testkit::Flavor::Redis70.name(), "redis-7.0");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis62 => "redis-6.2",
            Self::Redis70 => "redis-7.0",
            Self::Valkey91 => "valkey-9.1",
        }
    }

    /// The environment variable that names the binary and wins over the cache.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Redis62 => "UNBUSY_TEST_REDIS_6_2",
            Self::Redis70 => "UNBUSY_TEST_REDIS_7_0",
            Self::Valkey91 => "UNBUSY_TEST_VALKEY_9_1",
        }
    }

    /// What `--version` of the right binary contains.
    pub const fn version_mark(self) -> &'static str {
        match self {
            Self::Redis62 => "v=6.2.",
            Self::Redis70 => "v=7.0.",
            Self::Valkey91 => "v=9.1.",
        }
    }

    /// The name under which the server's configuration knows the busy threshold.
    pub const fn threshold_option(self) -> &'static str {
        match self {
            Self::Redis62 => "lua-time-limit",
            Self::Redis70 | Self::Valkey91 => "busy-reply-threshold",
        }
    }

    /// The folder of this server in the cache.
    pub fn cache_folder(self) -> PathBuf {
        cache_dir().join("servers").join(self.name())
    }

    /// Where the cached binary is or would be.
    pub fn cached_binary(self) -> PathBuf {
        let file = match self {
            Self::Redis62 | Self::Redis70 => "redis-server",
            Self::Valkey91 => "valkey-server",
        };
        self.cache_folder().join(file)
    }

    /// The binary to run: the variable's, else the cached one; `None` if there is neither.
    pub fn binary(self) -> Option<PathBuf> {
        env::var_os(self.variable())
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .or_else(|| Some(self.cached_binary()).filter(|path| path.exists()))
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Flavor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|flavor| flavor.name() == name)
            .ok_or_else(|| format!("one of {}", names()))
    }
}

/// The directory for what the project's chores fetch once: `$XDG_CACHE_HOME/unbusy` or `~/.cache/unbusy`.
pub fn cache_dir() -> PathBuf {
    // The specification of the XDG directories says that a relative path is to be ignored.
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Path::new(&env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache");
    base.unwrap_or_else(home).join("unbusy")
}
