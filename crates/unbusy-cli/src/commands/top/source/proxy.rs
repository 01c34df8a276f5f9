//! A proxy, by its admin endpoint: its events, the episodes before them, and whether its server can be reached.

use std::sync::mpsc::SendError;
use std::time::Duration;

use super::Desk;
use crate::commands::top::sight::{Cost, Culprit, Doing, Episode, News, Sight, Totals, Waiting};
use crate::endpoint::{self, Condition, Endpoint, Event, Failure, Scripts, State};

/// How soon a proxy that cannot be reached is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// Each time the proxy connects to its server.
const READY_EVERY: Duration = Duration::from_secs(2);
const PRICES_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn watch(endpoint: &Endpoint, desk: &Desk) {
    // Both end only when nobody is there any more.
    tokio::select! {
        _ = follow(endpoint, desk) => {}
        _ = probe(endpoint, desk) => {}
        _ = price(endpoint, desk) => {}
    }
}

/// What scripts cost, again and again.
async fn price(endpoint: &Endpoint, desk: &Desk) -> Result<(), SendError<News>> {
    loop {
        // A proxy of an older version has no such page.
        if let Ok(Scripts { now_ms, scripts }) = endpoint.scripts().await {
            let exact = |millis: f64| Duration::from_secs_f64(millis.max(0.0) / 1000.0);
            let costs = scripts.into_iter().map(|script| Cost {
                name: script.name,
                runs: script.runs,
                blocked: exact(script.blocked_ms),
                longest: Some(exact(script.longest_ms)),
            });
            desk.tell(News::Scripts(costs.collect(), now_ms))?;
        }
        tokio::time::sleep(PRICES_EVERY).await;
    }
}

async fn follow(endpoint: &Endpoint, desk: &Desk) -> Result<(), SendError<News>> {
    loop {
        let end = listen(endpoint, desk).await?;
        desk.tell(News::Lost(end))?;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Tells what happens, until that fails; why?
async fn listen(endpoint: &Endpoint, desk: &Desk) -> Result<String, SendError<News>> {
    // Episodes that end between the two are told twice, rather than not at all.
    let mut events = match endpoint.events().await {
        Ok(events) => events,
        Err(failure) => return Ok(failure.reason().to_owned()),
    };
    match whole(endpoint).await {
        Ok(state) => tell(state, desk)?,
        Err(failure) => return Ok(failure.reason().to_owned()),
    }
    loop {
        match events.next().await {
            Ok(Event::State(state)) => tell(*state, desk)?,
            Ok(Event::Episodes(episodes)) => desk.tell(over(episodes))?,
            Err(error) => return Ok(error.to_string()),
        }
    }
}

async fn whole(endpoint: &Endpoint) -> Result<State, Failure> {
    State::of(&endpoint.state().await?)
}

fn tell(mut state: State, desk: &Desk) -> Result<(), SendError<News>> {
    let episodes = std::mem::take(&mut state.episodes);
    desk.tell(News::Sight(Box::new(sight(state))))?;
    desk.tell(over(episodes))
}

async fn probe(endpoint: &Endpoint, desk: &Desk) -> Result<(), SendError<News>> {
    loop {
        // Whether the proxy itself is there, the other connection tells.
        if let Ok(reason) = endpoint.unready().await {
            desk.tell(News::Unready(reason))?;
        }
        tokio::time::sleep(READY_EVERY).await;
    }
}

fn sight(state: State) -> Sight {
    let millis = Duration::from_millis;
    let (doing, lasted) = match (state.condition, state.busy) {
        (Condition::Busy, Some(busy)) => {
            let lasted = busy.lasted_ms;
            (Doing::Busy(culprit(busy)), lasted)
        }
        (Condition::Busy, None) => (Doing::Busy(Culprit::default()), 0),
        (Condition::Stalled, _) => (Doing::Stalled, state.stalled_ms.unwrap_or_default()),
        (Condition::Open, _) => (Doing::Open, 0),
    };
    Sight {
        now_ms: state.now_ms,
        start: Some(state.started_ms.to_string()),
        behind: Some(state.upstream),
        doing,
        lasted: millis(lasted),
        threshold: Some(millis(state.threshold_ms)).filter(|threshold| !threshold.is_zero()),
        waiting: Waiting::Clients {
            all: state.client_connections,
            connections: state.held_connections,
            commands: state.held_commands,
            longest: millis(state.longest_wait_ms),
        },
        totals: Totals::Proxy {
            started_ms: state.started_ms,
            draining: state.draining,
            counters: state.counters,
        },
    }
}

fn over(episodes: Vec<endpoint::Episode>) -> News {
    let episodes = episodes.into_iter().map(|episode| Episode {
        number: episode.number.unwrap_or_default(),
        began_ms: episode.began_ms,
        lasted: Duration::from_millis(episode.lasted_ms),
        waited: Some((episode.connections, episode.given_up)),
        culprit: culprit(episode),
    });
    News::Episodes(episodes.collect())
}

fn culprit(episode: endpoint::Episode) -> Culprit {
    let client = episode.whose();
    Culprit { cause: episode.cause, script: episode.script, client }
}
