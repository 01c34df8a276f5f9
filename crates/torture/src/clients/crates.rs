//! Clients that use the `redis` crate: as it is, through a proxy, and with the crate `unbusy`, past it.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use redis::{Cmd, Commands, ConnectionLike, Pipeline, RedisError, RedisResult, Value};

use crate::{
    chance::Chance,
    check::{CHANGED, LEDGERS},
    history::{Act, Outcome, Pen, Token, Transfer},
    script,
    stage::{Stage, any_act, any_list, any_transfer, plain_act},
    wire::PATIENCE,
};

/// The budget of those that may be told of BUSY.
pub(crate) const HASTE: Duration = Duration::from_millis(100);

/// The crate as it is, through a proxy.
pub(super) fn plain(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let url = url(proxy);
    stage.client("redis crate", stream, move |stage, chance| {
        let mut connection =
            redis::Client::open(url.as_str()).and_then(|c| c.get_connection()).map_err(broken)?;
        connection.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        work(stage, chance, &mut connection, &stage.recorder.line("redis crate", true))
    })
}

/// The crate `unbusy`, without a proxy.
pub(super) fn unbusy(stage: &Arc<Stage>, stream: u64) -> JoinHandle<()> {
    stage.client("unbusy", stream, move |stage, chance| {
        let mut connection = connect(stage, &unbusy::Policy::default())?;
        work(stage, chance, &mut connection, &stage.recorder.line("unbusy", true))
    })
}

/// The same with a short budget.
pub(super) fn hasty(stage: &Arc<Stage>, stream: u64) -> JoinHandle<()> {
    stage.client("hasty unbusy", stream, move |stage, chance| {
        let mut connection = connect(stage, &unbusy::Policy::default().max_wait(HASTE))?;
        let pen = stage.recorder.line("hasty unbusy", false);
        while stage.goes_on() {
            let act = any_act(chance, &pen);
            request(&pen, &act, |request| request.run(&mut connection))?;
            stage.pause(chance.below(20));
        }
        Ok(())
    })
}

/// Slow scripts with the crate.
pub(super) fn scripts(stage: &Arc<Stage>, stream: u64) -> JoinHandle<()> {
    stage.client("unbusy scripts", stream, move |stage, chance| {
        let mut connection = connect(stage, &unbusy::Policy::default())?;
        let pen = stage.recorder.line("unbusy scripts", true);
        while stage.goes_on() {
            let function = stage.has_functions() && chance.one_in(2);
            let act = Act::Script { list: any_list(chance), millis: stage.slow(chance), function };
            stage.count("scripts with the crate");
            request(&pen, &act, |request| request.run(&mut connection))?;
            stage.pause(chance.between(100, 2_500));
        }
        Ok(())
    })
}

fn connect(stage: &Stage, policy: &unbusy::Policy) -> io::Result<unbusy::Connection> {
    let client = unbusy::Client::open(url(&stage.server)).map_err(broken)?.with_policy(policy);
    let connection = client.get_connection().map_err(broken)?;
    connection.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    Ok(connection)
}

pub(super) fn url(address: &str) -> String {
    format!("redis://{address}/")
}

fn work(
    stage: &Stage,
    chance: &mut Chance,
    connection: &mut impl ConnectionLike,
    pen: &Pen,
) -> io::Result<()> {
    while stage.goes_on() {
        match chance.below(12) {
            0 => {
                let acts: Vec<_> = (0..chance.between(2, 200)).map(|_| plain_act(chance, pen)).collect();
                pipeline(pen, &acts, |pipe| pipe.query(connection))?;
            }
            1 => watched(connection, pen, &any_transfer(chance))?,
            _ => request(pen, &any_act(chance, pen), |request| request.run(connection))?,
        }
        stage.pause(chance.below(25));
    }
    Ok(())
}

/// What is sent for an operation.
pub(super) enum Request {
    Single(Cmd),
    Atomic(Pipeline),
}

impl Request {
    fn run(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self {
            Self::Single(cmd) => cmd.query(connection),
            Self::Atomic(pipeline) => pipeline.query(connection),
        }
    }
}

pub(super) fn request_for(act: &Act, token: Token) -> Request {
    let token = token.to_string();
    match act {
        Act::Transfer(transfer) | Act::Watched(transfer) => {
            Request::Atomic(transfer_pipeline(transfer, &token))
        }
        act => Request::Single(cmd_for(act, &token)),
    }
}

pub(super) fn cmd_for(act: &Act, token: &str) -> Cmd {
    let words = |name: &str| redis::cmd(name);
    let mut cmd = match act {
        Act::Push { .. } | Act::Enqueue => words("RPUSH"),
        Act::Script { .. } => return script_cmd(act, token),
        Act::Count { counter } => return words("INCR").arg(counter).take(),
        Act::Publish { .. } => words("PUBLISH"),
        Act::Take => return words("BLPOP").arg("queue").arg(1).take(),
        Act::Transfer(_) | Act::Watched(_) => unreachable!("a transaction is no single command"),
    };
    let key = match act {
        Act::Push { list } => list,
        Act::Publish { channel } => channel,
        _ => "queue",
    };
    cmd.arg(key).arg(token).take()
}

fn script_cmd(act: &Act, token: &str) -> Cmd {
    let Act::Script { list, millis, function } = act else { unreachable!("asked for scripts only") };
    let mut cmd = redis::cmd(if *function { "FCALL" } else { "EVAL" });
    cmd.arg(if *function { script::FUNCTION.to_owned() } else { script::lua() });
    cmd.arg(1).arg(list).arg(*millis).arg(token).take()
}

fn transfer_pipeline(transfer: &Transfer, token: &str) -> Pipeline {
    let mut pipe = redis::pipe();
    pipe.atomic();
    pipe.cmd("DECRBY").arg(&transfer.from).arg(transfer.amount);
    pipe.cmd("INCRBY").arg(&transfer.to).arg(transfer.amount);
    for ledger in LEDGERS {
        pipe.rpush(ledger, token);
    }
    pipe
}

/// Does one operation. An error that ends the connection is given back.
fn request(pen: &Pen, act: &Act, run: impl FnOnce(&Request) -> RedisResult<Value>) -> io::Result<()> {
    let token = pen.ask(act.clone());
    let result = run(&request_for(act, token));
    pen.tell(token, outcome(pen, act, result)?);
    Ok(())
}

/// Many commands at once. The crate tells of an error in one of them only that there was one.
fn pipeline(
    pen: &Pen,
    acts: &[Act],
    run: impl FnOnce(&Pipeline) -> RedisResult<Vec<Value>>,
) -> io::Result<()> {
    let (tokens, pipe) = pipe_for(pen, acts);
    let result = run(&pipe);
    tell_all(pen, acts, &tokens, result)
}

pub(super) fn pipe_for(pen: &Pen, acts: &[Act]) -> (Vec<Token>, Pipeline) {
    let tokens: Vec<_> = acts.iter().map(|act| pen.ask(act.clone())).collect();
    let mut pipe = redis::pipe();
    for (act, token) in acts.iter().zip(&tokens) {
        pipe.add_command(cmd_for(act, &token.to_string()));
    }
    (tokens, pipe)
}

pub(super) fn tell_all(
    pen: &Pen,
    acts: &[Act],
    tokens: &[Token],
    result: RedisResult<Vec<Value>>,
) -> io::Result<()> {
    match result {
        Ok(values) => {
            for ((act, token), value) in acts.iter().zip(tokens).zip(values) {
                pen.tell(*token, outcome(pen, act, Ok(value))?);
            }
            Ok(())
        }
        Err(error) => {
            if let Outcome::Refused(text) = outcome(pen, &acts[0], Err(error))? {
                pen.complain(text);
            }
            Ok(())
        }
    }
}

fn watched(connection: &mut impl ConnectionLike, pen: &Pen, transfer: &Transfer) -> io::Result<()> {
    let act = Act::Watched(transfer.clone());
    let token = pen.ask(act.clone());
    let Transfer { from, to, amount } = transfer;
    let result: RedisResult<Value> = redis::transaction(connection, &[from, to], |connection, pipe| {
        let (from_has, to_has): (i64, i64) = connection.mget(&[from, to])?;
        pipe.set(from, from_has - amount).set(to, to_has + amount);
        for ledger in LEDGERS {
            pipe.rpush(ledger, token.to_string());
        }
        pipe.query(connection)
    });
    pen.tell(token, outcome(pen, &act, result)?);
    Ok(())
}

pub(super) fn outcome(pen: &Pen, act: &Act, result: RedisResult<Value>) -> io::Result<Outcome> {
    match result {
        Ok(Value::Int(number)) => Ok(Outcome::Done(Some(number))),
        Ok(Value::Nil) if matches!(act, Act::Watched(_) | Act::Transfer(_)) => {
            Ok(Outcome::Refused(CHANGED.into()))
        }
        Ok(_) => Ok(Outcome::Done(None)),
        Err(error) if error.code().is_some() => Ok(Outcome::Refused(text(&error))),
        Err(error) => {
            if error.is_timeout() {
                pen.complain(format!("no answer: {error}"));
            }
            Err(broken(error))
        }
    }
}

/// The server's words.
fn text(error: &RedisError) -> String {
    format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}

pub(super) fn broken(error: RedisError) -> io::Error {
    io::Error::other(error)
}
