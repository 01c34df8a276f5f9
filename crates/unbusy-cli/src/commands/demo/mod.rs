//! `unbusy demo`: what BUSY does to clients, with and without unbusy, shown on a real server.

mod audit;
mod board;
mod client;
mod consent;
mod link;
mod own_server;
mod plan;
mod play;
mod pulse;
mod report;
mod script;
mod signals;
mod stage;
mod view;
mod waits;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use board::Board;
use play::Results;
use signals::Signals;
use stage::Stage;

use crate::cli::{DemoArgs, DemoServer, DemoSettings};
use crate::logging;

/// Not all that is claimed was seen.
const CLAIM_FAILED: u8 = 1;

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let plain = args.plain || !std::io::stdout().is_terminal();
    if let DemoServer::Users(url) = &settings.server {
        consent::check_possible(url, args.yes)?;
    }
    if plain && settings.log.verbosity > 0 {
        logging::start(settings.log)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let origins = settings.origins.clone();
    runtime.block_on(demo(settings, args.yes, plain)).map_err(|error| origins.explain(error))
}

/// What came of the play.
enum Outcome {
    Played(anyhow::Result<Results>),
    Interrupted(ExitCode),
}

async fn demo(settings: DemoSettings, agreed: bool, plain: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let stage = tokio::select! {
        stage = prepare(settings, agreed) => match stage? {
            Some(stage) => stage,
            None => return Ok(ExitCode::from(CLAIM_FAILED)),
        },
        code = signals.next() => return Ok(code),
    };
    let board = Arc::new(Board::new());
    let outcome = tokio::select! {
        results = play::play(&stage, &board) => Outcome::Played(results),
        code = signals.next() => Outcome::Interrupted(code),
        end = view::show(&board, &stage.plan, plain) => match end {
            Ok(()) => Outcome::Interrupted(signals::ctrl_c()),
            Err(error) => Outcome::Played(Err(error.into())),
        },
    };
    if let Outcome::Interrupted(_) = outcome {
        tell_what_is_left(&stage, &board);
    }
    let cleared = tokio::select! {
        cleared = stage.clear(&board) => cleared,
        code = signals.next() => {
            say(&format!("the keys {}* may be left; they expire within 10 minutes\n", stage.keys()));
            return Ok(code);
        }
    };
    match outcome {
        Outcome::Interrupted(code) => cleared.map(|()| code),
        Outcome::Played(Err(error)) => match cleared {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(left.to_string())),
        },
        Outcome::Played(Ok(results)) => {
            cleared?;
            let (text, all_true) = report::report(&results);
            say(&format!("\n{text}"));
            Ok(if all_true { ExitCode::SUCCESS } else { ExitCode::from(CLAIM_FAILED) })
        }
    }
}

/// The stage, or nothing if the user does not want it.
async fn prepare(settings: DemoSettings, agreed: bool) -> anyhow::Result<Option<Stage>> {
    let stage = Stage::set(settings.config, &settings.server).await?;
    let wanted = match &settings.server {
        DemoServer::Users(url) if !agreed => consent::given(url, &stage).await?,
        DemoServer::Own(_) | DemoServer::Users(_) => true,
    };
    Ok(wanted.then_some(stage))
}

/// A server of the user's is not left before all is as it was, which can take as long as its threshold.
fn tell_what_is_left(stage: &Stage, board: &Board) {
    if stage.has_own_server() {
        return;
    }
    if let Some(wait) = script::deaf_for(stage, board) {
        let seconds = wait.as_secs_f64();
        say(&format!("Ending: SCRIPT KILL goes to the server when it listens, in {seconds:.1} s,\n"));
    } else {
        say("Ending: no script runs,\n");
    }
    say("then the keys are removed. Ctrl-C again leaves both as they are.\n");
}

// Not println, which panics when nobody reads.
fn say(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}
