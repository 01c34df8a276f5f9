//! The run itself: clients at work, scripts, and what the data say afterwards.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use unbusy_core::resp::args;

use super::audit::{Audit, audit};
use super::board::{Board, Count, Group};
use super::client::Client;
use super::link::Link;
use super::plan::{CALM, CLIENTS_PER_GROUP, RECOVERY};
use super::pulse::Pulse;
use super::script::{self, Block};
use super::stage::Stage;
use super::waits::Waits;

/// How much longer than planned the run may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) groups: Vec<GroupResult>,
    /// For how long the machine did not let the demo run.
    pub(super) paused: Duration,
}

/// What became of one group's commands.
#[derive(Debug, Clone)]
pub(super) struct GroupResult {
    pub(super) group: Group,
    pub(super) count: Count,
    pub(super) audit: Audit,
    pub(super) waits: Waits,
    pub(super) probes: Probes,
    /// The first error that was not BUSY.
    pub(super) strange: Option<String>,
}

/// The commands of a group that the server rejected with BUSY, tries included.
#[derive(Debug, Clone, Copy)]
pub(super) enum Probes {
    Counted(u64),
    /// Other clients' rejections may be among them.
    AtMost(u64),
    /// The server does not count rejections.
    NotTold,
}

impl Probes {
    const fn through_unbusy(rejected: Option<u64>, own_server: bool) -> Self {
        match rejected {
            None => Self::NotTold,
            Some(count) if own_server => Self::Counted(count),
            Some(count) => Self::AtMost(count),
        }
    }
}

pub(super) async fn play(stage: &Stage, board: &Arc<Board>) -> anyhow::Result<Results> {
    let acts = tokio::time::timeout(stage.plan.total() + PATIENCE, acts(stage, board));
    acts.await.unwrap_or_else(|_| bail!("the demo takes far longer than it should"))
}

async fn acts(stage: &Stage, board: &Arc<Board>) -> anyhow::Result<Results> {
    let mut observer = stage.direct().await?;
    let before = busy_errors(&mut observer).await?;
    stage.make_keys().await?;
    let crew = start_clients(stage, board).await?;
    let pulse = Pulse::start();
    tokio::time::sleep(CALM).await;
    let mut blocks = Vec::new();
    for &length in &stage.plan.scripts {
        blocks.push(script::block(stage, board, length).await.context("the script failed")?);
        tokio::time::sleep(RECOVERY).await;
    }
    board.stop();
    let paused = pulse.longest_pause().await?;
    let clients = crew.join_all().await;
    let after = busy_errors(&mut observer).await?;
    let rejected = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    let groups = results(stage, board, &mut observer, &clients, &blocks, rejected).await?;
    Ok(Results { groups, paused })
}

async fn start_clients(stage: &Stage, board: &Arc<Board>) -> anyhow::Result<JoinSet<Client>> {
    let mut crew = JoinSet::new();
    for number in 0..CLIENTS_PER_GROUP {
        for group in Group::ALL {
            let link = stage.open(group).await?;
            let client = Client::new(group, stage.key(group, number), link, Arc::clone(board));
            crew.spawn(client.work());
        }
    }
    Ok(crew)
}

/// How many BUSY errors the server has given since its start, if it tells.
async fn busy_errors(link: &mut Link) -> anyhow::Result<Option<u64>> {
    let info = link.ask(&["INFO", "errorstats"]).await?;
    let info = String::from_utf8_lossy(&info);
    if !info.contains("# Errorstats") {
        return Ok(None);
    }
    let count = info.lines().find_map(|line| line.strip_prefix("errorstat_BUSY:count="));
    Ok(Some(
        count.map(str::parse).transpose().context("INFO errorstats is not readable")?.unwrap_or_default(),
    ))
}

async fn results(
    stage: &Stage,
    board: &Board,
    observer: &mut Link,
    clients: &[Client],
    blocks: &[Block],
    rejected: Option<u64>,
) -> anyhow::Result<Vec<GroupResult>> {
    let seen: u64 = Group::ALL.into_iter().map(|group| board.tally(group).count().rejected).sum();
    let mut results = Vec::new();
    for group in Group::ALL {
        let members = || clients.iter().filter(|client| client.group == group);
        let mut found = Audit::default();
        for client in members() {
            found += audit_of(client, observer).await?;
        }
        let count = board.tally(group).count();
        let commands = members().flat_map(|client| &client.accepted);
        results.push(GroupResult {
            group,
            count,
            audit: found,
            strange: board.tally(group).strange(),
            waits: Waits::new(commands, blocks, stage.plan.threshold),
            probes: match group {
                Group::Direct | Group::Remedy => Probes::Counted(count.rejected),
                // What the server counted and no client saw was kept back by the proxy.
                Group::Unbusy => {
                    let rejected = rejected.map(|all| all.saturating_sub(seen) + count.rejected);
                    Probes::through_unbusy(rejected, stage.has_own_server())
                }
            },
        });
    }
    Ok(results)
}

async fn audit_of(client: &Client, observer: &mut Link) -> anyhow::Result<Audit> {
    let reply = observer.tell(&["LRANGE", &client.key, "0", "-1"]).await?;
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
    let list: Option<Vec<u32>> = args(&reply).map(number).collect();
    let accepted: Vec<_> = client.accepted.iter().map(|command| command.number).collect();
    Ok(audit(&list.context("a list holds what no client has put there")?, &accepted))
}
