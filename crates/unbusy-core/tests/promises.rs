//! The promises, with the engine in a world of its own: whatever scripts run, however the network cuts and delays,
//! clients see what a quiet server would have told them, and the server executes each command once and in order.
//!
//! A failing case prints its seed; everything follows from it.
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use simulation::oracle::{Quiet, executed, like_quiet, quiet};
use simulation::program::{program, sends, simple};
use simulation::server::{Flavor, Settings};
use simulation::world::{Pace, Plan, START, World};
use simulation::{BUSY, Leave, MS, Rng, cmd, encode, pipeline, words};
use unbusy_core::{Event, Policy};

const THRESHOLD: Duration = Duration::from_millis(100);
const LINE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(3));
const LONG: Duration = Duration::from_secs(300);

fn settings(flavor: Flavor) -> Settings {
    Settings { flavor, ..Settings::default() }
}

fn any_flavor() -> impl Strategy<Value = Flavor> {
    prop_oneof![Just(Flavor::Redis7), Just(Flavor::Valkey9)]
}

fn any_leave() -> impl Strategy<Value = Leave> {
    prop_oneof![Just(Leave::HalfClose), Just(Leave::Close), Just(Leave::Reset)]
}

/// Scripts of 0.3 to 3 thresholds, some back to back, beside the proxy.
fn run_scripts(world: &mut World, rng: &mut Rng, count: usize) {
    let mut at = Duration::ZERO;
    let mut sends = Vec::new();
    for number in 0..count {
        let threshold = THRESHOLD.as_millis() as u64;
        // Those that end just after BUSY began are the hardest: some replies are rejections still on their way.
        let short = rng.one_in(3);
        let length = if short { threshold + rng.below(6) } else { threshold * (3 + rng.below(28)) / 10 };
        sends.push((at, encode(&["EVAL", &format!("run-{length}"), "0", &number.to_string()])));
        // The next one waits in the socket while this one runs, or comes some time after.
        at += if rng.one_in(3) { Duration::ZERO } else { MS * (length as u32 + rng.below(150) as u32) };
    }
    world.direct(sends);
}

fn check_like_quiet(world: &World, client: usize, commands: &[Vec<String>]) -> Result<Quiet, TestCaseError> {
    like_quiet(world, client, commands).map_err(TestCaseError::fail)
}

fn live_quietly(seed: u64, clients: usize, length: usize, flavor: Flavor) -> Result<World, TestCaseError> {
    let mut rng = Rng(seed);
    let mut world = World::new(seed, settings(flavor), Policy::default(), LINE);
    if seed % 2 == 1 {
        world.lose_replies();
    }
    let programs: Vec<_> = (0..clients).map(|client| program(&mut rng, client, length)).collect();
    for program in &programs {
        let sends = sends(&mut rng, program);
        world.client(sends);
    }
    let count = 1 + rng.index(8);
    run_scripts(&mut world, &mut rng, count);
    world.run(LONG);
    let mut doubts = 0;
    for (client, program) in programs.iter().enumerate() {
        doubts += check_like_quiet(&world, client, program)?.doubts;
    }
    let told = world.events.iter().filter(|(_, event)| *event == Event::Ambiguous).count();
    prop_assert_eq!(doubts, told, "BUSY reaches a client only for a script that may have run");
    prop_assert!(!world.server.saw_mute, "CLIENT REPLY OFF or SKIP came through");
    prop_assert!(!world.saw(&Event::Hole));
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Promises 1 to 5 at once: held, once, in order, transactions whole, everything else unchanged.
    #[test]
    fn clients_see_a_quiet_server(seed: u64, clients in 1_usize..6, length in 1_usize..120, flavor in any_flavor()) {
        live_quietly(seed, clients, length, flavor)?;
    }

    /// What was in flight may still be executed, in order; what waited for the server never is.
    #[test]
    fn nothing_is_executed_for_a_client_that_has_gone(
        seed: u64, clients in 1_usize..8, flavor in any_flavor(), how in any_leave(),
    ) {
        let mut rng = Rng(seed);
        let mut world = World::new(seed, settings(flavor), Policy::default(), LINE);
        let mut programs = Vec::new();
        for client in 0..clients {
            let program: Vec<_> = (0..200).map(|n| words(&simple(&mut rng, client, n))).collect();
            let sends = sends(&mut rng, &program);
            world.client(sends);
            let leaves = MS * rng.below(600) as u32;
            world.leaves(client, leaves, how);
            programs.push(program);
        }
        run_scripts(&mut world, &mut rng, 4);
        world.run(LONG);
        for (client, program) in programs.iter().enumerate() {
            let pair = &world.pairs[client];
            let expected = quiet(program, &[]);
            prop_assert!(expected.executed.starts_with(&executed(&world, client)), "not in order, or not once");
            prop_assert!(expected.replies.starts_with(&pair.replies));
        }
        prop_assert_eq!(world.faults, Vec::<String>::new());
    }

    /// Those whose budget ends get the server's own words and are never executed; all others are, in order.
    #[test]
    fn over_budget_means_busy_and_not_executed(
        seed: u64, clients in 1_usize..6, flavor in any_flavor(), budget in 1_u32..400,
    ) {
        let mut rng = Rng(seed);
        let policy = Policy { max_wait: MS * budget, ..Policy::default() };
        let mut world = World::new(seed, settings(flavor), policy, LINE);
        for client in 0..clients {
            let commands: Vec<_> = (0..100).map(|n| words(&format!("SET k{client} {n}"))).collect();
            let sends = sends(&mut rng, &commands);
            world.client(sends);
        }
        run_scripts(&mut world, &mut rng, 6);
        world.run(LONG);
        for client in 0..clients {
            let pair = &world.pairs[client];
            let replies = String::from_utf8(pair.replies.clone()).expect("replies are text");
            let replies: Vec<_> = replies.split_inclusive("\r\n").collect();
            prop_assert_eq!(replies.len(), 100);
            prop_assert!(replies.iter().all(|reply| matches!(*reply, "+OK\r\n" | BUSY)), "{:?}", replies);
            let accepted = replies.iter().enumerate().filter(|(_, reply)| **reply != BUSY);
            let accepted: Vec<_> = accepted.map(|(n, _)| (0, words(&format!("SET k{client} {n}")))).collect();
            prop_assert_eq!(world.executed(client), accepted);
            let refused = replies.iter().filter(|reply| **reply == BUSY).count();
            prop_assert_eq!(pair.given_up, refused as u64);
        }
        prop_assert!(!world.saw(&Event::Hole));
    }

    /// Behind a SELECT, AUTH or HELLO that was given up, what was sent along with it would run in the wrong place.
    #[test]
    fn nothing_runs_in_the_wrong_place(seed: u64, flavor in any_flavor(), budget in 1_u32..300) {
        let mut rng = Rng(seed);
        let policy = Policy { max_wait: MS * budget, ..Policy::default() };
        let mut world = World::new(seed, settings(flavor), policy, LINE);
        let clients = 8;
        for _ in 0..clients {
            let mut db = 0;
            let mut commands = Vec::new();
            for n in 0..60 {
                if rng.one_in(10) {
                    db = rng.below(8);
                    commands.push(format!("SELECT {db}"));
                }
                commands.push(format!("SET k{n} {db}"));
            }
            let bytes = commands.iter().flat_map(|command| cmd(command)).collect();
            world.client([(MS * rng.below(500) as u32, bytes)]);
        }
        run_scripts(&mut world, &mut rng, 4);
        world.run(LONG);
        for entry in world.server.log.iter().filter(|entry| entry.words[0] == "SET") {
            prop_assert_eq!(&entry.db.to_string(), &entry.words[2], "{:?}", entry);
        }
        for client in 0..clients {
            prop_assert_eq!(world.pairs[client].error, None);
        }
    }

    /// Rejections that come late, when another connection has long proved that the server is open again: nothing is
    /// sent behind the commands that were rejected.
    #[test]
    fn late_rejections_make_no_hole(seed: u64, clients in 2_usize..6, large: bool) {
        let mut rng = Rng(seed);
        let mut world = World::new(seed, settings(Flavor::Redis7), Policy::default(), LINE);
        world.lose_replies();
        let mut programs = Vec::new();
        for client in 0..clients {
            // Large ones go without a lease, too, and are no scouts.
            let value = |rng: &mut Rng| if large && rng.one_in(3) { "x".repeat(17_000) } else { "x".into() };
            let program: Vec<_> =
                (0..300).map(|n| words(&format!("SET k{client}:{n} {}", value(&mut rng)))).collect();
            let busy_line = |(n, group): (usize, &[Vec<String>])| {
                (MS * (n as u32 * 7) + MS * rng.below(7) as u32, group.iter().flat_map(|words| encode(words)).collect())
            };
            let sends: Vec<_> = program.chunks(3).enumerate().map(busy_line).collect();
            world.client(sends);
            programs.push(program);
        }
        run_scripts(&mut world, &mut rng, 6);
        world.run(LONG);
        for (client, program) in programs.iter().enumerate() {
            check_like_quiet(&world, client, program)?;
        }
        prop_assert!(!world.saw(&Event::Hole));
    }

    /// Without the lease's knowledge and on a server that no real one is, holes happen: they are seen and told,
    /// nothing is sent again out of order, and what the client is told is true.
    #[test]
    fn holes_are_told_and_nothing_is_reordered(seed: u64, ends_after in 1_usize..30) {
        let mut rng = Rng(seed);
        let settings = Settings { threshold: Some(10 * MS), ends_after: Some(ends_after), ..Settings::default() };
        let mut world = World::new(seed, settings, Policy::default(), LINE);
        world.assume(Some(Duration::from_secs(10)));
        let clients = 3;
        for client in 0..clients {
            let commands: Vec<_> = (0..400).map(|n| words(&format!("SET k{client} {n}"))).collect();
            let sends = sends(&mut rng, &commands);
            world.client(sends);
        }
        let scripts = (0..30).map(|n| (MS * (n * 40 + rng.below(40) as u32), cmd("EVAL run-30 0 x"))).collect::<Vec<_>>();
        world.direct(scripts);
        world.run(LONG);
        let mut refused_at_all = 0;
        for client in 0..clients {
            let replies = String::from_utf8(world.pairs[client].replies.clone()).expect("replies are text");
            let accepted: Vec<_> = replies
                .split_inclusive("\r\n")
                .enumerate()
                .filter(|(_, reply)| *reply != BUSY)
                .map(|(n, _)| (0, words(&format!("SET k{client} {n}"))))
                .collect();
            prop_assert_eq!(replies.matches("\r\n").count(), 400);
            prop_assert_eq!(world.executed(client), accepted.clone());
            refused_at_all += 400 - accepted.len();
        }
        prop_assert_eq!(refused_at_all > 0, world.saw(&Event::Hole), "BUSY reaches a client only by a hole");
    }

    /// Relaxed order: every command is executed once, and every reply comes in its place.
    #[test]
    fn relaxed_order_loses_nothing(seed: u64, clients in 1_usize..5, flavor in any_flavor()) {
        let mut rng = Rng(seed);
        let policy = Policy { strict: false, ..Policy::default() };
        let settings = Settings { ends_after: rng.one_in(2).then_some(7), ..settings(flavor) };
        let mut world = World::new(seed, settings, policy, LINE);
        for client in 0..clients {
            let commands: Vec<_> = (0..300).map(|n| words(&format!("ECHO {client}:{n}"))).collect();
            let sends = sends(&mut rng, &commands);
            world.client(sends);
        }
        run_scripts(&mut world, &mut rng, 6);
        world.run(LONG);
        for client in 0..clients {
            let all: Vec<_> = (0..300).map(|n| words(&format!("ECHO {client}:{n}"))).collect();
            let expected = quiet(&all, &[]);
            prop_assert_eq!(world.pairs[client].error, None);
            prop_assert_eq!(
                world.pairs[client].replies.escape_ascii().to_string(),
                expected.replies.escape_ascii().to_string()
            );
            let mut times = BTreeMap::<_, usize>::new();
            for (_, words) in world.executed(client) {
                *times.entry(words).or_default() += 1;
            }
            prop_assert_eq!(times.len(), 300);
            prop_assert!(times.values().all(|times| *times == 1));
        }
    }

    /// A session takes no more of a pipeline than the window and one read.
    #[test]
    fn memory_is_bounded(seed: u64, length in 1_usize..200) {
        let mut rng = Rng(seed);
        let mut world = World::new(seed, settings(Flavor::Redis7), Policy::default(), LINE);
        let command = vec!["SET".to_owned(), "key".into(), "x".repeat(length)];
        let count = 400_000 / encode(&command).len();
        let pace = Pace::Timed(vec![(Duration::ZERO, count)]);
        let plan = Plan { commands: vec![command; count], pace, countable: true, ..Plan::default() };
        let client = world.join(&plan);
        run_scripts(&mut world, &mut rng, 4);
        world.run(LONG);
        prop_assert_eq!(world.executed(client).len(), count);
        prop_assert_eq!(world.faults, Vec::<String>::new());
    }
}

/// The random cases are worth something only if BUSY, transactions under it and null replies occur in them.
#[test]
fn the_random_cases_meet_busy() {
    let (mut rejections, mut episodes, mut nulls) = (0, 0, 0);
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let program = program(&mut rng, 0, 100);
        let world = live_quietly(seed, 1, 100, Flavor::Redis7).expect("promises hold");
        nulls += check_like_quiet(&world, 0, &program).expect("promises hold").nulls;
        rejections += world.server.rejected.len();
        episodes +=
            world.events.iter().filter(|(_, event)| matches!(event, Event::EpisodeBegan { .. })).count();
    }
    assert!(rejections > 500, "{rejections} rejections");
    assert!(episodes > 60, "{episodes} episodes");
    assert!(nulls > 0, "{nulls} null replies");
}

/// One client, one script of 300 ms at once, the commands 120 ms later: in the midst of BUSY.
fn during_busy(policy: Policy, commands: &[&str]) -> World {
    let mut world = World::new(7, settings(Flavor::Redis7), policy, LINE);
    world.direct([(Duration::ZERO, cmd("EVAL run-300 0 x"))]);
    world.client([(120 * MS, pipeline(commands))]);
    world.run(LONG);
    world
}

fn replies(world: &World, client: usize) -> String {
    String::from_utf8_lossy(&world.pairs[client].replies).into_owned()
}

#[test]
fn a_command_is_held_and_executed_right_after_busy() {
    let world = during_busy(Policy::default(), &["INCR n", "INCR n"]);
    assert_eq!(replies(&world, 0), ":1\r\n:2\r\n");
    let first = world.pairs[0].reply_times[0].0 - START;
    assert!(first > 300 * MS && first < 340 * MS, "{first:?}");
}

#[test]
fn a_transaction_is_started_again_from_multi() {
    let world = during_busy(Policy::default(), &["MULTI", "INCR n", "INCR n", "EXEC", "GET n"]);
    assert_eq!(replies(&world, 0), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n$1\r\n2\r\n");
}

#[test]
fn watch_never_commits_what_busy_discarded() {
    let world = during_busy(
        Policy::default(),
        &["WATCH n", "MULTI", "INCR n", "EXEC", "GET n", "MULTI", "INCR n", "EXEC"],
    );
    let expected = "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n$-1\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n";
    assert_eq!(replies(&world, 0), expected);
}

/// WATCH before, somebody else's write in between, EXEC after: null, whether BUSY struck or not.
#[test]
fn watch_never_commits_over_a_change() {
    for script in [0, 50, 150, 300, 500] {
        for exec_at in [100, 210, 330, 450, 620] {
            let mut world = World::new(script + 1, settings(Flavor::Redis7), Policy::default(), LINE);
            let client = world.client([
                (Duration::ZERO, pipeline(&["WATCH n", "GET n"])),
                (MS * exec_at, pipeline(&["MULTI", "SET n mine", "EXEC"])),
            ]);
            world.direct([(20 * MS, cmd("SET n theirs")), (30 * MS, cmd(&format!("EVAL run-{script} 0 x")))]);
            world.run(LONG);
            assert_eq!(
                replies(&world, client),
                "+OK\r\n$-1\r\n+OK\r\n+QUEUED\r\n*-1\r\n",
                "{script} {exec_at}"
            );
            assert!(
                !world.server.log.iter().any(|entry| entry.words.last().is_some_and(|word| word == "mine"))
            );
        }
    }
}

#[test]
fn over_budget_the_servers_own_words_reach_the_client() {
    let policy = Policy { max_wait: 50 * MS, ..Policy::default() };
    let world = during_busy(policy, &["SELECT 3", "SET a b", "SET c d"]);
    assert_eq!(replies(&world, 0), BUSY.repeat(3));
    assert_eq!(world.executed(0), []);
}

/// What is sent in the knowledge of the failure is executed, as it would be without a proxy.
#[test]
fn after_the_refusals_the_connection_goes_on() {
    let policy = Policy { max_wait: 50 * MS, ..Policy::default() };
    let mut world = World::new(7, settings(Flavor::Redis7), policy, LINE);
    world.direct([(Duration::ZERO, cmd("EVAL run-300 0 x"))]);
    let client = world.client([(120 * MS, pipeline(&["SELECT 3", "SET a b"])), (400 * MS, cmd("SET e f"))]);
    world.run(LONG);
    assert_eq!(replies(&world, client), BUSY.repeat(2) + "+OK\r\n");
    assert_eq!(world.executed(client), [(0, words("SET e f"))]);
}

/// On a server that rejects AUTH and HELLO as well, nothing behind them is executed without them.
#[test]
fn nothing_is_executed_behind_a_given_up_handshake() {
    for first in ["AUTH pw", "HELLO 3", "SELECT 3"] {
        let policy = Policy { max_wait: 50 * MS, ..Policy::default() };
        let mut world = World::new(7, settings(Flavor::Strict), policy, LINE);
        world.direct([(Duration::ZERO, cmd("EVAL run-300 0 x"))]);
        let client = world.client([(120 * MS, pipeline(&[first, "SET a b", "GET a"]))]);
        world.run(LONG);
        assert_eq!(replies(&world, client), BUSY.repeat(3), "{first}");
        assert_eq!(world.executed(client), []);
    }
}

/// CLIENT REPLY OFF: nothing is answered, everything is executed, and the server never hears of it.
#[test]
fn writes_without_replies_are_held_too() {
    let commands =
        ["CLIENT REPLY OFF", "INCR n", "INCR n", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "INCR n", "GET n"];
    let world = during_busy(Policy::default(), &commands);
    assert_eq!(replies(&world, 0), "+OK\r\n$1\r\n3\r\n");
    assert!(!world.server.saw_mute);
}

#[test]
fn a_held_client_that_leaves_leaves_nothing_behind() {
    let mut world = World::new(3, settings(Flavor::Redis7), Policy::default(), LINE);
    world.direct([(Duration::ZERO, cmd("EVAL run-300 0 x"))]);
    let client = world.client([(120 * MS, pipeline(&["INCR n", "INCR n"]))]);
    world.leaves(client, 200 * MS, Leave::HalfClose);
    let other = world.client([(150 * MS, cmd("INCR m"))]);
    world.run(LONG);
    assert_eq!(world.executed(client), []);
    assert_eq!(replies(&world, other), ":1\r\n", "the queue goes on without the one that led it");
}

/// A kill goes through at once, and its effect is for everybody.
#[test]
fn a_kill_passes_the_gate() {
    let mut world = World::new(3, settings(Flavor::Redis7), Policy::default(), LINE);
    world.direct([(Duration::ZERO, cmd("EVAL run-60000 0 x"))]);
    let held = world.client([(120 * MS, cmd("INCR n"))]);
    let operator = world.client([(500 * MS, pipeline(&["AUTH pw", "SCRIPT KILL"]))]);
    world.run(LONG);
    assert_eq!(replies(&world, operator), "+OK\r\n+OK\r\n");
    let after = world.pairs[held].reply_times[0].0 - START;
    assert!(after < 600 * MS, "{after:?}");
}

/// A subscriber beside held commands: messages come through, in their order and unchanged.
#[test]
fn messages_pass_while_commands_are_held() {
    for (hello, kind, confirmed) in [("HELLO 2", '*', "*2"), ("HELLO 3", '>', "%1")] {
        let mut world = World::new(3, settings(Flavor::Redis7), Policy::default(), LINE);
        let client = world
            .client([(Duration::ZERO, pipeline(&[hello, "SUBSCRIBE c"])), (220 * MS, cmd("SUBSCRIBE d"))]);
        world.direct([(10 * MS, pipeline(&["PUBLISH c one", "EVAL run-300 0 x", "PUBLISH c two"]))]);
        world.run(LONG);
        let message = |text: &str| format!("{kind}3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\n{text}\r\n");
        let confirm = |name: &str, n: u8| format!("{kind}3\r\n$9\r\nsubscribe\r\n$1\r\n{name}\r\n:{n}\r\n");
        let hello = format!("{confirmed}\r\n$6\r\nserver\r\n$5\r\nredis\r\n");
        let expected = [hello, confirm("c", 1), message("one"), message("two"), confirm("d", 2)].concat();
        assert_eq!(replies(&world, client), expected);
    }
}
