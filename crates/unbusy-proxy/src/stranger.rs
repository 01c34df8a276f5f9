//! Asks a busy server which function it runs, if that did not come through this proxy. Of scripts no server tells.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Upstream;
use crate::inquiry::Inquiry;
use crate::notices;
use crate::reply::Reply;
use crate::shared::Shared;
use crate::upstream::Connector;

/// For connecting, logging in, and the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `FUNCTION STATS` tells of the function that runs.
#[derive(Debug, PartialEq, Eq)]
struct Running {
    name: String,
    since: Duration,
}

/// Asks whenever an episode begins with a function that nobody knows here.
pub(crate) async fn follow(shared: Arc<Shared>, connector: Arc<Connector>, upstream: Upstream) {
    loop {
        shared.strange_function().await;
        // Who may not ask, or is too late, has lost nothing.
        if let Ok(Ok(Some(running))) = tokio::time::timeout(PATIENCE, ask(&connector, &upstream)).await {
            notices::strange_function(&running.name, running.since);
            shared.blame_stranger(&running.name);
        }
    }
}

async fn ask(connector: &Connector, upstream: &Upstream) -> io::Result<Option<Running>> {
    let mut server = Inquiry::on(connector.connect().await?);
    server.log_in(upstream).await?;
    Ok(read(&server.ask(&["FUNCTION", "STATS"]).await?))
}

fn read(reply: &[u8]) -> Option<Running> {
    let stats = Reply::parse(reply);
    let running = stats.get("running_script")?;
    let millis = running.get("duration_ms")?.number()?;
    Some(Running { name: running.get("name")?.text()?, since: Duration::from_millis(millis) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_that_runs_is_read_whatever_its_arguments_are() {
        let head = "*4\r\n$14\r\nrunning_script\r\n*6\r\n$4\r\nname\r\n$4\r\nslow\r\n$7\r\ncommand\r\n";
        let command = "*5\r\n$5\r\nFCALL\r\n$4\r\nslow\r\n$1\r\n0\r\n$11\r\nduration_ms\r\n$4\r\nname\r\n";
        let tail = "$11\r\nduration_ms\r\n:1234\r\n$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n*0\r\n";
        let reply = [head, command, tail].concat();
        let running = Running { name: "slow".to_owned(), since: Duration::from_millis(1234) };
        assert_eq!(read(reply.as_bytes()), Some(running));
        for none in [
            "*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*0\r\n",
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
            "-NOPERM no\r\n",
            "",
        ] {
            assert_eq!(read(none.as_bytes()), None, "{none}");
        }
    }
}
