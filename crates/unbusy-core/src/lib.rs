//! The engine of unbusy: holds Redis and Valkey commands while the server answers BUSY, and sends them again when it
//! accepts them, once and in order.
//!
//! It does no input or output: no sockets, no clock, no threads, no async, no randomness. Bytes and [`Time`] are
//! arguments, and what is to be done is told by return values. It knows nothing of TLS, of several servers, or of how
//! a waiting connection is woken; that is its shell's business (`unbusy-proxy` is one).
//!
//! There is one [`Gate`] per server and one [`Session`] per client connection, and they do not know each other: the
//! shell carries questions and answers between them. [`session`] says in which order to call what.
//!
//! | module | what it knows |
//! |---|---|
//! | [`rejected`], [`Cause`] | which errors mean "not executed" |
//! | [`command`] | what a command does to its connection, and what its reply proves |
//! | [`Lease`] | until when the server cannot begin to answer BUSY |
//! | [`gate`] | who may send while that is not known: queue, scouts, leader |
//! | [`session`] | one client and its server connection: window, transactions, replies |
//! | [`resp`] | where commands and replies end |
//! | [`Script`] | which script a command runs |
//! | [`Survey`] | what a server is asked of itself |
//! | [`Policy`], [`Event`] | what it is told, and what it reports |
//!
//! Only `session`, `command` and `resp` read bytes; the others could serve a client library that sees errors.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use unbusy_core::gate::{Answer, Gate, Outcome};
//! use unbusy_core::session::{Out, Pass, Session, Want};
//! use unbusy_core::{Policy, Time};
//!
//! const BUSY: &[u8] =
//!     b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
//! let ms = |ms: u64| Time::from_nanos(ms * 1_000_000);
//! let mut gate = Gate::new(Some(Duration::from_secs(5)));
//! let (mut session, mut out) = (Session::new(Policy::default()), Out::default());
//!
//! // A client's command comes. Nothing is known of the server yet, so it goes as a scout.
//! session.client_bytes(b"INCR n\r\n", ms(1), &mut out).unwrap();
//! let Want::Gate(ask) = session.want() else { panic!("INCR asks the gate") };
//! let Answer::One(ticket) = gate.ask(None, ask, ms(1)) else { panic!("the first may go") };
//! session.send(Pass::One, ms(1));
//! session.wrote(session.outgoing().len(), &mut out);
//!
//! // The server rejects it. The client sees nothing, and the session waits at the gate.
//! session.server_bytes(BUSY, ms(2), &mut out).unwrap();
//! assert!(out.pieces().is_empty() && session.is_held());
//! let (cause, sent) = out.rejection.unwrap();
//! let ticket = gate.rejected(ticket, Some(session.ask()), cause, sent, ms(2));
//!
//! // When it is time to try again the gate wakes it, and this time the server accepts.
//! let later = gate.tick(false, ms(2));
//! gate.tick(false, later);
//! assert_eq!(gate.woken().next(), ticket);
//! session.send(Pass::One, later);
//! session.wrote(session.outgoing().len(), &mut out);
//! out.clear();
//! let reply = b":1\r\n";
//! session.server_bytes(reply, later, &mut out).unwrap();
//! gate.answered(ticket, Outcome::Proof, out.proof.unwrap(), later);
//! assert_eq!(out.to_client(reply), reply);
//! assert!(gate.busy().is_none());
//! ```

mod classify;
pub mod command;
mod event;
pub mod gate;
mod lease;
mod policy;
pub mod resp;
mod script;
pub mod session;
mod survey;
mod time;
pub use classify::{Cause, aborted, rejected};
pub use event::{EpisodeReport, Event};
pub use gate::Gate;
pub use lease::{DEFAULT_THRESHOLD, Lease};
pub use policy::Policy;
pub use script::{Company, Script, Sent};
pub use session::Session;
pub use survey::Survey;
pub use time::Time;
