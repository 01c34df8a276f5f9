//! Asks a busy server which function it runs, if that did not come through this proxy. Of scripts no server tells.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Upstream;
use crate::inquiry::Inquiry;
use crate::notices;
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

/// The first name and the last duration: what is between them is the command that runs it, arguments and all.
fn read(reply: &[u8]) -> Option<Running> {
    let parts: Vec<Part<'_>> = Parts(reply).collect();
    let text = |part: &Part<'_>, wanted: &str| matches!(part, Part::Text(text) if *text == wanted.as_bytes());
    let name = parts.iter().position(|part| text(part, "name"))?;
    let duration = parts.iter().rposition(|part| text(part, "duration_ms"))?;
    match (parts.get(name + 1)?, parts.get(duration + 1)?) {
        (Part::Text(name), Part::Number(millis)) => {
            let name = String::from_utf8_lossy(name).into_owned();
            Some(Running { name, since: Duration::from_millis(*millis) })
        }
        _ => None,
    }
}

/// A reply without its structure.
struct Parts<'a>(&'a [u8]);

#[derive(Debug)]
enum Part<'a> {
    Text(&'a [u8]),
    Number(u64),
    Other,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let end = self.0.windows(2).position(|bytes| bytes == b"\r\n")?;
        let (line, rest) = (&self.0[..end], &self.0[end + 2..]);
        self.0 = rest;
        let number = || std::str::from_utf8(line.get(1..)?).ok()?.parse().ok();
        Some(match line.first()? {
            b':' => number().map_or(Part::Other, Part::Number),
            b'$' => match number().and_then(|length| usize::try_from(length).ok()) {
                Some(length) => {
                    let text = rest.get(..length)?;
                    self.0 = rest.get(length + 2..)?;
                    Part::Text(text)
                }
                None => Part::Other,
            },
            _ => Part::Other,
        })
    }
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
        for end in 0..reply.len() {
            let _ = read(&reply.as_bytes()[..end]);
        }
    }
}
