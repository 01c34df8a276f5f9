//! Where the news come from. A source runs on a thread of its own, so that no slow answer keeps a key from being obeyed.

mod proxy;
mod server;
mod sightings;

use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::time::Duration;

use super::sight::News;
use crate::asking::{Asker, block_on};
use crate::cli::Subject;
use crate::endpoint::Endpoint;

/// So much may be told before it is looked at; then the source waits.
const NEWS_MAX: usize = 64;

/// Where a source puts what it learned. It ends when nobody is there any more.
#[derive(Clone)]
struct Desk(SyncSender<News>);

impl Desk {
    fn tell(&self, news: News) -> Result<(), SendError<News>> {
        self.0.send(news)
    }
}

/// Watches from here on.
pub(super) fn start(subject: Subject, interval: Duration) -> anyhow::Result<Receiver<News>> {
    let (sender, news) = sync_channel(NEWS_MAX);
    let desk = Desk(sender);
    let threads = std::thread::Builder::new().name("unbusy-source".to_owned());
    match subject {
        Subject::Proxy(settings) => {
            let endpoint = Endpoint::new(settings);
            threads.spawn(move || block_on(proxy::watch(&endpoint, &desk)))?;
        }
        Subject::Server(settings) => {
            let asker = Asker::new(&settings)?;
            threads.spawn(move || block_on(server::watch(&asker, interval, settings.threshold, &desk)))?;
        }
    }
    Ok(news)
}
