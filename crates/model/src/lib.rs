//! A model of unbusy: its rules for the gate, the lease, the window and transactions, a server, and a line between them, so
//! small that *every* state they can get into is looked at. The search is [stateright](https://docs.rs/stateright)'s.
//!
//! ```console
//! $ cargo test -p model                                            # seconds
//! $ cargo test -p model --test holds -- --nocapture                # how many states there are
//! $ cargo test --release -p model -- --ignored --nocapture         # larger worlds, three connections; minutes
//! ```
//!
//! `tests/holds.rs` looks for a state in which a promise is broken, `tests/ends.rs` for a run that does not end,
//! `tests/wrong.rs` sees that rules known to be wrong are found out, `tests/assumptions.rs` that each assumption is needed.
//!
//! # What stands for what
//!
//! | in the model | in the engine, the proxy or ARCHITECTURE.md |
//! |---|---|
//! | [`setting::Rules`] | the rules; each field turned round is a mistake that the model must find |
//! | `Gate::answered`, `rejected`, `release`, `settle` | `Gate::answered`, `rejected`, `release`, and what `Gate::tick` does at once |
//! | [`Stalls`](model::Action::Stalls), [`Scouts`](model::Action::Scouts), [`ReleasesAll`](model::Action::ReleasesAll) | `Gate::tick_open`, `tick_stalled` |
//! | [`Tries`](model::Action::Tries), [`LosesPatience`](model::Action::LosesPatience), [`HearsNothing`](model::Action::HearsNothing) | `Gate::tick_busy` |
//! | [`Asks`](model::Action::Asks), [`Goes`](model::Action::Goes) | `Gate::ask` and `ask_again`, `Pair::ask_gate`, `Session::send` with `Pass::One` or `Pass::Speak` |
//! | [`Sends`](model::Action::Sends) | `Pair::is_free`, `Session::send` with `Pass::Free`, a command at a time |
//! | `Gate::prove`, `outdates`, `learn`; `State::rules_out_busy` | `Lease::prove`, `outdates`, `learn`, `rules_out_busy` |
//! | `Lane::may_join` | `Session::next`, `fenced`, `may_join`, `Lane::fits_window` |
//! | `Lane::rejected`, `aborted`, `executed_behind`, `end_drain` | `Session::plan_rejection`, `plan_abort`, `fill_hole`, `end_drain` |
//! | `Lane::early` | replies that come early in relaxed order |
//! | `State::receive`, `make_way` | `Pair::report`, `make_way` |
//! | [`ScriptBegins`](model::Action::ScriptBegins), [`ScriptEnds`](model::Action::ScriptEnds) | a script of anybody's; it may end at any moment but within a reading (F4) |
//! | `Server::is_stalled`, `is_busy` | F1 and F2: until the threshold nothing is read and nothing written |
//! | [`Hook`](model::Action::Hook), [`Setting::hook`](setting::Setting::hook) | F3: a hook reads all of a window, and less of a new connection |
//! | `State::is_due`, [`Setting::line`](setting::Setting::line) | A1: what is sent under a lease arrives in time; all other delays are without limit |
//! | [`Flush`](model::Action::Flush) | replies lie in the output buffer until the server writes them, which a stall prevents |
//!
//! # What is left out
//!
//! * *Lengths of time* but those of the threshold, the lease and the line. When a scout is overdue, when the leader tries or
//!   others lose patience with it, may come at any moment, so nothing rests on how the gate's limits are chosen.
//! * *Clients.* A command is there when it is sent; a client that sends one by one is one of those that were looked at.
//! * *Bytes.* A command arrives, is read and answered as a whole, and the window counts commands. Every command is small and
//!   of one of four kinds.
//! * *Hooks of several clients.* Each client is read in a step of its own, and the script may end in between. That leaves the
//!   server more freedom than F3 and F4 do.
//! * *Budgets*: nothing is given up. *Barriers* but `WATCH` and `MULTI`. Errors that a server checks before BUSY. `PING`
//!   in front of or behind a script: that a rejection is not taken for a script's own reply is checked where the gate
//!   judges it. `PING` in place of a command that cannot speak for the server: here such a command leads deaf, and may take a
//!   busy server for open at any moment.
//! * *Threads.* A step is done as a whole. In the proxy a connection may act on a lease that was revoked just now; the
//!   lease's argument does not need the revocation.
//! * What hangs on a moment within a tick is told by the order of the steps, not by the clock.

pub mod explore;
pub mod gate;
pub mod lane;
pub mod model;
pub mod oracle;
pub mod properties;
pub mod server;
pub mod setting;
