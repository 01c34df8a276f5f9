//! Sentinel: the check whether a node is the master uses ROLE, which a busy master rejects.
//!
//! ```no_run
//! use redis::Commands;
//! use redis::sentinel::{SentinelClient, SentinelServerType};
//!
//! # fn main() -> redis::RedisResult<()> {
//! let nodes = vec!["redis://127.0.0.1:26379/"];
//! let mut sentinel = SentinelClient::build(nodes, String::from("mymaster"), None, SentinelServerType::Master)?;
//! // let mut connection = sentinel.get_connection()?;
//! let client = unbusy::sentinel::get_client(&mut sentinel, &unbusy::Policy::default())?;
//! let mut connection = client.get_connection()?;
//! let visits: u64 = connection.incr("visits", 1)?;
//! # Ok(())
//! # }
//! ```

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::redis::RedisResult;
use super::redis::sentinel::SentinelClient;

use super::Client;
use super::blocking::block_on;
use super::patience::Patience;
use crate::Policy;
use crate::door::Door;

/// A client for the node that Sentinel names now, found also while that node is busy. Ask again when a connection is lost:
/// Sentinel may have made another node the master, also because of a long script.
///
/// # Errors
/// As [`SentinelClient::get_client`].
pub fn get_client(sentinel: &mut SentinelClient, policy: &Policy) -> RedisResult<Client> {
    let mut patience = patience(policy);
    loop {
        match sentinel.get_client() {
            Ok(client) => return Ok(Client::from(patience.done(client)).with_policy(policy)),
            Err(error) => block_on(patience.wait(error))?,
        }
    }
}

/// As [`get_client`], without blocking.
///
/// # Errors
/// As [`SentinelClient::async_get_client`].
#[cfg(feature = "aio")]
pub async fn async_get_client(sentinel: &mut SentinelClient, policy: &Policy) -> RedisResult<Client> {
    let mut patience = patience(policy);
    loop {
        match sentinel.async_get_client().await {
            Ok(client) => return Ok(Client::from(patience.done(client)).with_policy(policy)),
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// Which node it will be is not known yet, so its gate is not, either.
fn patience(policy: &Policy) -> Patience {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("a master that Sentinel is asked for ({})", NUMBER.fetch_add(1, Relaxed));
    Patience::new(Door::new(&name, false, policy))
}
