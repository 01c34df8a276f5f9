//! A connection at the gate: what it tells, what it asks, and its budget.

use std::cmp::Ordering;
use std::task::Context;

use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::session::{Out, Pass};
use unbusy_core::{Script, Time};

use super::{GONE_WAIT, Look, Pair, Place, Scratch};
use crate::running::{Call, Client};
use crate::sync;
use crate::timer::Timer;

impl Pair {
    /// Tells the gate what the replies mean for it.
    pub(super) fn report(&mut self, cx: &Context<'_>, out: &Out, now: Time) {
        self.count_scripts();
        for event in &out.events {
            self.shared.happened(event, now);
        }
        if let Some(sent) = out.proof {
            self.report_proof(sent);
        }
        if let Some(rejection) = out.rejection {
            let ticket = self.take_ticket();
            let ask = self.session.waits().then(|| self.session.ask());
            let ticket = self.shared.rejected(ticket, ask, rejection, out.rejected, now, cx.waker());
            self.place = ticket.map_or(Place::Away, Place::Waiting);
        } else if let Place::Sent(ticket) = self.place
            && self.session.is_idle()
        {
            self.place = Place::Away;
            self.shared.answered(Some(ticket), Outcome::Unclear, now, now);
        }
        if out.script_answered {
            self.shared.script_answered(now);
        }
        for (script, sent) in out.scripts() {
            self.shared.ledger.note(self.worker, script, sent, now);
        }
        self.count_given_up(out, now);
    }

    fn report_proof(&mut self, sent: Time) {
        let ticket = match self.place {
            Place::Sent(ticket) => Some(ticket),
            _ if self.shared.wants_proof(sent) => None,
            _ => return,
        };
        if ticket.is_some() {
            self.place = Place::Away;
        }
        // When it was heard matters, and it was read later than the clock.
        self.shared.answered(ticket, Outcome::Proof, sent, sync::now());
    }

    /// A script that answers BUSY may have run. If the gate cannot tell, the session asks the server.
    pub(super) fn settle_doubt(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) {
        let Some(rejection) = self.session.doubt() else { return };
        // By an older clock BUSY could seem not to have begun yet.
        let now = sync::now();
        match self.shared.was_rejected(rejection.1, now) {
            None => {}
            Some(true) => {
                self.session.confirm_rejection();
                if self.place == Place::Away {
                    let ask = Some(self.session.ask());
                    let ticket = self.shared.rejected(None, ask, rejection, 1, now, cx.waker());
                    self.place = ticket.map_or(Place::Away, Place::Waiting);
                }
            }
            Some(false) => {
                scratch.out.clear();
                self.session.deny_rejection(now, &mut scratch.out);
                self.deliver(cx, &[], &scratch.out);
                self.report(cx, &scratch.out, now);
            }
        }
    }

    /// Asks the gate, and lets the session send if it may. `false`: it waits.
    pub(super) fn ask_gate(&mut self, cx: &mut Context<'_>, mut ask: Ask, now: Time) -> bool {
        if self.has_left_unseen(cx, now) {
            // What it was owed must not be executed now.
            self.client_closed = true;
            self.session.client_gone();
            self.leave_gate(now);
            return false;
        }
        let speaks = self.reads_server() && !self.client_lost;
        ask.scout &= speaks;
        ask.pings &= speaks;
        let ticket = self.take_ticket();
        match self.shared.ask(ticket, ask, now, cx.waker()) {
            Answer::Free => {
                self.waiting_since = None;
                self.session.send(Pass::Free, now);
            }
            Answer::One(ticket) => {
                let waited = self.waiting_since.take().filter(|_| self.client_closed);
                if waited.is_some_and(|since| now - since > GONE_WAIT) {
                    self.place = ticket.map_or(Place::Away, Place::Waiting);
                    self.leave_gate(now);
                    return false;
                }
                let pass = if ticket.is_some() { Pass::Speak } else { Pass::One };
                self.place = ticket.map_or(Place::Away, Place::Sent);
                self.session.send(pass, now);
            }
            Answer::Wait(ticket) => {
                self.place = Place::Waiting(ticket);
                self.waiting_since.get_or_insert(now);
                if self.client_closed && (self.session.is_held() || self.shared.episode().is_some()) {
                    self.leave_gate(now);
                } else if !self.client_closed {
                    self.session.wait_began(now);
                    self.arm_timer();
                }
                return false;
            }
        }
        true
    }

    /// Whether it may send without asking the gate.
    pub(super) fn is_free(&self, now: Time) -> bool {
        self.shared.is_free(now) && self.session.may_join(self.shared.lease_width(), now)
    }

    /// Behind a hole a connection may wait at the gate with nothing left to send. Nobody is to wait for it there.
    pub(super) fn make_way(&mut self) {
        if self.session.is_idle() {
            self.step_back();
        }
    }

    /// Nobody drives it for a while, so nobody is to wait for it at the gate; it asks again when it goes on.
    pub(crate) fn step_back(&mut self) {
        if let Place::Waiting(ticket) = self.place {
            self.place = Place::Away;
            self.shared.leave(ticket, sync::now());
        }
    }

    /// The client has gone: what waits is not executed any more.
    pub(super) fn leave_gate(&mut self, now: Time) {
        if let Some(ticket) = self.take_ticket() {
            self.shared.leave(ticket, now);
        }
        self.session.abandon();
    }

    pub(super) fn take_ticket(&mut self) -> Option<Ticket> {
        match std::mem::replace(&mut self.place, Place::Away) {
            Place::Away => None,
            Place::Waiting(ticket) | Place::Sent(ticket) => Some(ticket),
        }
    }

    /// Takes back what is to be sent with a script in flight, while a kill is on its way to another: also who may pass the gate,
    /// such as a command in its last try. The script has been noted by now, so either it is seen here that a kill is on its way,
    /// or there that it has company.
    pub(super) fn holds_back(&mut self, cx: &Context<'_>) -> bool {
        if self.session.scripts_in_flight() == 0 || !self.shared.waits_for_thaw(cx.waker()) {
            return false;
        }
        self.session.take_back();
        self.count_scripts();
        true
    }

    pub(super) fn count_scripts(&mut self) {
        let (before, after) = (self.scripts_counted, self.session.scripts_in_flight());
        match after.cmp(&before) {
            Ordering::Greater => self.shared.add_scripts(self.worker, after - before),
            Ordering::Less => self.shared.remove_scripts(self.worker, before - after),
            Ordering::Equal => return,
        }
        self.scripts_counted = after;
        let caller = *self.caller.get_or_insert_with(|| self.shared.running.caller());
        let first = self.session.script();
        if let Some(script) = first.and_then(|(command, _)| Script::of(command)) {
            self.shared.ledger.see(self.worker, script);
        }
        let call = first.and_then(|(command, sent)| {
            let company = self.session.script_company();
            Call::new(command, self.who(), sent, company, self.shared.show_arguments)
        });
        self.shared.running.note(caller, call);
    }

    fn count_given_up(&self, out: &Out, now: Time) {
        if out.given_up > 0 {
            let first = out.first_given_up.clone();
            self.shared.gave_up(out.given_up, first, self.who(), now);
        }
    }

    /// As far as the client has said it.
    fn who(&self) -> Client {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Client {
            address: self.client.peer(),
            user: own(self.session.user()),
            name: own(self.session.client_name()),
        }
    }

    fn arm_timer(&mut self) {
        let Some(deadline) = self.session.deadline() else { return };
        let by_caller = self.is_driven_by_caller();
        match &mut self.timer {
            Some(timer) => timer.set(deadline),
            None => self.timer = Some(Timer::at(deadline, by_caller)),
        }
    }

    /// Gives up commands that have waited for too long.
    pub(super) fn check_budget(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        look: &mut Look,
    ) -> bool {
        if !matches!(self.place, Place::Waiting(_)) || self.client_closed {
            if !self.client_closed {
                self.timer = None;
            }
            return false;
        }
        self.arm_timer();
        let Some(timer) = &mut self.timer else { return false };
        if !timer.is_over(cx) {
            return false;
        }
        scratch.out.clear();
        let now = sync::now();
        look.now = Some(now);
        self.session.expire(self.shared.episode(), now, &mut scratch.out);
        self.deliver(cx, &[], &scratch.out);
        self.count_given_up(&scratch.out, now);
        if self.session.is_quiet()
            && let Some(ticket) = self.take_ticket()
        {
            self.shared.leave(ticket, now);
        }
        self.timer = None;
        true
    }
}
