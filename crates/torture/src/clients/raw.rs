//! Clients that write bytes themselves, and many commands at once.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use testkit::{Reply, encode};

use crate::{
    chance::Chance,
    check::CHANGED,
    history::{Act, Outcome, Pen, Token, Transfer},
    script,
    stage::{Stage, any_act, any_list, any_transfer, plain_act, record},
    wire::{PATIENCE, Wire},
};

/// Many commands in one write, also more than the proxy's window takes; sometimes the client leaves in the middle.
pub(crate) fn pipelines(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("raw pipelines", stream, move |stage, chance| {
        let mut wire = Wire::connect(&proxy)?;
        let pen = stage.recorder.line("raw pipelines", true);
        while stage.goes_on() {
            let acts = if chance.one_in(25) { 1_200 } else { chance.between(1, 120) };
            let acts: Vec<_> = (0..acts).map(|_| any_act(chance, &pen)).collect();
            let tokens = send(&mut wire, &pen, &acts)?;
            match chance.below(30) {
                0 => return leave(wire, &pen, &acts, &tokens, chance),
                1 => {
                    wire.shutdown_write()?;
                    return receive(&mut wire, &pen, &acts, &tokens);
                }
                _ => receive(&mut wire, &pen, &acts, &tokens)?,
            }
            stage.pause(chance.below(60));
        }
        Ok(())
    })
}

/// Commands without end, written a few at a time without waiting for answers: some arrive at each moment of a script.
pub(super) fn streams(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("raw streams", stream, move |stage, chance| {
        let mut wire = Wire::connect(&proxy)?;
        let pen = stage.recorder.line("raw streams", true);
        while stage.goes_on() {
            let length = Duration::from_millis(chance.between(50, 300));
            flow(stage, &mut wire, &pen, chance, length)?;
            stage.pause(chance.below(600));
        }
        Ok(())
    })
}

fn flow(stage: &Stage, wire: &mut Wire, pen: &Pen, chance: &mut Chance, length: Duration) -> io::Result<()> {
    // More than a busy server reads at once, so that it is still reading when the script ends.
    const MOST_WAITING: usize = 8_000;
    let end = Instant::now() + length;
    let mut waiting = VecDeque::new();
    let mut last_answer = Instant::now();
    loop {
        let flows = stage.goes_on() && Instant::now() < end;
        if flows && waiting.len() < MOST_WAITING {
            let acts: Vec<_> = (0..chance.between(1, 200)).map(|_| plain_act(chance, pen)).collect();
            let tokens = send(wire, pen, &acts)?;
            waiting.extend(acts.into_iter().zip(tokens));
        }
        while let Some((act, token)) = waiting.front()
            && let Some(outcome) = answer_within(wire, pen, act, Duration::from_millis(1))?
        {
            pen.tell(*token, outcome);
            waiting.pop_front();
            last_answer = Instant::now();
        }
        if waiting.is_empty() && !flows {
            return Ok(());
        }
        if last_answer.elapsed() > PATIENCE {
            pen.complain(format!("no answer within {PATIENCE:?}"));
            return Ok(());
        }
    }
}

/// One command at a time, also such that need several steps; sometimes the client leaves before the answer.
pub(crate) fn singles(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("raw singles", stream, move |stage, chance| {
        let mut wire = Wire::connect(&proxy)?;
        let pen = stage.recorder.line("raw singles", true);
        while stage.goes_on() {
            single(&mut wire, &pen, chance)?;
            if chance.one_in(60) {
                let acts = [any_act(chance, &pen)];
                let tokens = send(&mut wire, &pen, &acts)?;
                return leave(wire, &pen, &acts, &tokens, chance);
            }
            stage.pause(chance.below(20));
        }
        Ok(())
    })
}

/// The same with a short budget: BUSY is to be expected.
pub(crate) fn hasty(stage: &Arc<Stage>, stream: u64) -> JoinHandle<()> {
    stage.client("hasty raw", stream, move |stage, chance| {
        let mut wire = Wire::connect(&stage.hasty)?;
        let pen = stage.recorder.line("hasty raw", false);
        while stage.goes_on() {
            if chance.one_in(3) {
                let count = chance.between(1, 40);
                let acts: Vec<_> = (0..count).map(|_| any_act(chance, &pen)).collect();
                let tokens = send(&mut wire, &pen, &acts)?;
                receive(&mut wire, &pen, &acts, &tokens)?;
            } else {
                single(&mut wire, &pen, chance)?;
            }
            stage.pause(chance.below(20));
        }
        Ok(())
    })
}

/// Clients that send slow scripts through the proxy.
pub(crate) fn scripts(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("raw scripts", stream, move |stage, chance| {
        let mut wire = Wire::connect(&proxy)?;
        let pen = stage.recorder.line("raw scripts", true);
        while stage.goes_on() {
            let function = stage.has_functions() && chance.one_in(2);
            let millis = if chance.one_in(2) { 0 } else { stage.slow(chance) };
            let script = Act::Script { list: any_list(chance), millis, function };
            // With neighbours in the same write, or alone.
            let mut acts = vec![script];
            if chance.one_in(2) {
                acts.insert(0, any_act(chance, &pen));
                acts.push(any_act(chance, &pen));
            }
            stage.count(if millis > 0 { "scripts through the proxy" } else { "short scripts" });
            let tokens = send(&mut wire, &pen, &acts)?;
            receive(&mut wire, &pen, &acts, &tokens)?;
            stage.pause(chance.below(1_500));
        }
        Ok(())
    })
}

pub(crate) fn consumers(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("consumer", stream, move |stage, _| {
        let mut wire = Wire::connect(&proxy)?;
        let pen = stage.recorder.line("consumer", true);
        while stage.goes_on() {
            record(&pen, &Act::Take, |act, token| perform(&mut wire, &pen, act, token))?;
        }
        Ok(())
    })
}

fn single(wire: &mut Wire, pen: &Pen, chance: &mut Chance) -> io::Result<()> {
    let act = if chance.one_in(8) { Act::Watched(any_transfer(chance)) } else { any_act(chance, pen) };
    record(pen, &act, |act, token| perform(wire, pen, act, token))
}

/// Sends a command or transaction and reads what it comes to.
pub(super) fn perform(wire: &mut Wire, pen: &Pen, act: &Act, token: Token) -> io::Result<Outcome> {
    match act {
        Act::Watched(transfer) => watched(wire, pen, transfer, token),
        act => {
            wire.send(&bytes(act, token))?;
            answer(wire, pen, act)
        }
    }
}

/// Writes a pipeline, as far as the connection takes it.
pub(super) fn send(wire: &mut Wire, pen: &Pen, acts: &[Act]) -> io::Result<Vec<Token>> {
    let tokens: Vec<_> = acts.iter().map(|act| pen.ask(act.clone())).collect();
    let bytes: Vec<_> = acts.iter().zip(&tokens).flat_map(|(act, token)| bytes(act, *token)).collect();
    wire.send(&bytes)?;
    Ok(tokens)
}

fn receive(wire: &mut Wire, pen: &Pen, acts: &[Act], tokens: &[Token]) -> io::Result<()> {
    for (act, token) in acts.iter().zip(tokens) {
        pen.tell(*token, answer(wire, pen, act)?);
    }
    Ok(())
}

/// Reads some of the answers and resets the connection.
fn leave(mut wire: Wire, pen: &Pen, acts: &[Act], tokens: &[Token], chance: &mut Chance) -> io::Result<()> {
    let some = chance.below(acts.len() as u64 + 1) as usize;
    std::thread::sleep(Duration::from_millis(chance.below(100)));
    for (act, token) in acts.iter().zip(tokens).take(some) {
        // All at once is not there yet; then the client leaves sooner.
        let Some(outcome) = answer_within(&mut wire, pen, act, Duration::from_millis(20))? else { break };
        pen.tell(*token, outcome);
    }
    wire.reset();
    Ok(())
}

fn bytes(act: &Act, token: Token) -> Vec<u8> {
    let token = &token.to_string();
    match act {
        Act::Push { list } => encode(&["RPUSH", list, token]),
        Act::Script { list, millis, function } => script::command(*function, list, *millis, token),
        Act::Count { counter } => encode(&["INCR", counter]),
        Act::Publish { channel } => encode(&["PUBLISH", channel, token]),
        Act::Enqueue => encode(&["RPUSH", "queue", token]),
        Act::Take => encode(&["BLPOP", "queue", "1"]),
        Act::Transfer(Transfer { from, to, amount }) | Act::Watched(Transfer { from, to, amount }) => {
            let amount = &amount.to_string();
            let ledgers = crate::check::LEDGERS.map(|ledger| encode(&["RPUSH", ledger, token]));
            let moves = [encode(&["DECRBY", from, amount]), encode(&["INCRBY", to, amount])];
            [&[encode(&["MULTI"])], &moves[..], &ledgers[..], &[encode(&["EXEC"])]].concat().concat()
        }
    }
}

fn watched(wire: &mut Wire, pen: &Pen, transfer: &Transfer, token: Token) -> io::Result<Outcome> {
    let Transfer { from, to, amount } = transfer;
    if let Reply::Error(text) = cmd(wire, pen, &["WATCH", from, to])? {
        return Ok(Outcome::Refused(text));
    }
    let mut balances = [0; 2];
    for (account, balance) in [from, to].into_iter().zip(&mut balances) {
        match cmd(wire, pen, &["GET", account])? {
            Reply::Error(text) => {
                // What is watched must not disturb the next transaction.
                let _ = cmd(wire, pen, &["UNWATCH"])?;
                return Ok(Outcome::Refused(text));
            }
            reply => *balance = reply.text().parse::<i64>().expect("a balance is a number"),
        }
    }
    let token = &token.to_string();
    let [a, b] = crate::check::LEDGERS;
    let words: [&[&str]; 6] = [
        &["MULTI"],
        &["SET", from, &(balances[0] - amount).to_string()],
        &["SET", to, &(balances[1] + amount).to_string()],
        &["RPUSH", a, token],
        &["RPUSH", b, token],
        &["EXEC"],
    ];
    wire.send(&words.map(encode).concat())?;
    for _ in 1..words.len() {
        read(wire, pen)?;
    }
    Ok(exec_outcome(read(wire, pen)?))
}

fn cmd(wire: &mut Wire, pen: &Pen, words: &[&str]) -> io::Result<Reply> {
    wire.send(&encode(words))?;
    read(wire, pen)
}

/// A connection that lives and does not answer is a fault.
fn read(wire: &mut Wire, pen: &Pen) -> io::Result<Reply> {
    wire.read(PATIENCE).inspect_err(|error| {
        if error.kind() == io::ErrorKind::TimedOut {
            pen.complain(format!("no answer within {PATIENCE:?}"));
        }
    })
}

fn answer(wire: &mut Wire, pen: &Pen, act: &Act) -> io::Result<Outcome> {
    if let Act::Transfer(_) = act {
        for _ in 0..5 {
            read(wire, pen)?;
        }
        return Ok(exec_outcome(read(wire, pen)?));
    }
    Ok(outcome(act, read(wire, pen)?))
}

fn answer_within(wire: &mut Wire, pen: &Pen, act: &Act, limit: Duration) -> io::Result<Option<Outcome>> {
    match act {
        Act::Transfer(_) => answer(wire, pen, act).map(Some),
        act => match wire.read(limit) {
            Ok(reply) => Ok(Some(outcome(act, reply))),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        },
    }
}

fn exec_outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Array(_) => Outcome::Done(None),
        Reply::Null => Outcome::Refused(CHANGED.into()),
        Reply::Error(text) => Outcome::Refused(text),
        other => Outcome::Refused(format!("{other:?}")),
    }
}

fn outcome(act: &Act, reply: Reply) -> Outcome {
    match (act, reply) {
        (_, Reply::Error(text)) => Outcome::Refused(text),
        (Act::Take, Reply::Null) => Outcome::Took(None),
        (Act::Take, Reply::Array(words)) if words.len() == 2 => Outcome::Took(Some(words[1].text())),
        (_, Reply::Integer(number)) => Outcome::Done(Some(number)),
        (_, other) => Outcome::Refused(format!("{other:?}")),
    }
}
