//! What one file of the suite is run on.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use testkit::{Flavor, Proxy, STORM_THRESHOLD, Server, Storm};

use super::Meeting;
use crate::conformance::Way;
use crate::shell;

/// The servers' own default.
const QUIET_THRESHOLD: Duration = Duration::from_secs(5);

/// A new server, and what belongs to the way of running the suite. In the order in which it ends.
pub(super) struct Rig {
    proxy: Option<Proxy>,
    storm: Option<Storm>,
    server: Server,
}

impl Rig {
    pub(super) fn set(flavor: Flavor, way: Way, meeting: Meeting) -> Result<Self> {
        let threshold = if way.is_busy() { STORM_THRESHOLD } else { QUIET_THRESHOLD };
        let mut server = Server::builder(flavor).threshold(threshold);
        // Tests want errors of the server, which only this command gives them. 6.2 always has it.
        if flavor != Flavor::Redis62 {
            server = server.arg("--enable-debug-command").arg("yes");
        }
        let server = server.start();
        let proxy = if way.has_unbusy() && meeting == Meeting::Proxy {
            Some(Proxy::start(&shell::built("debug", "unbusy")?, &server.url(), &[]))
        } else {
            None
        };
        Ok(Self { proxy, storm: None, server })
    }

    /// From now on the server is busy now and then.
    pub(super) fn begin_storm(&mut self, seed: u64) {
        self.storm = Some(Storm::start(self.server.address(), seed));
    }

    /// Where the suite is to connect to. By the name that its tests use, too.
    pub(super) fn url(&self) -> String {
        format!("redis://localhost:{}", self.port())
    }

    pub(super) fn port(&self) -> &str {
        let address = self.proxy.as_ref().map_or_else(|| self.server.address(), Proxy::address);
        address.rsplit(':').next().unwrap_or_default()
    }

    /// Ends the storm and keeps what the proxy said.
    pub(super) fn end(&mut self, folder: &Path) -> Result<()> {
        self.storm = None;
        let log = self.proxy.as_ref().map(Proxy::log).unwrap_or_default();
        Ok(fs::write(folder.join("proxy.log"), log)?)
    }
}
