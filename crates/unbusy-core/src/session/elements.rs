//! EXEC's reply, element by element, where they are not one for each command.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::client::PubSub;
use super::plan::{Plan, is_monitor_line};
use super::{Out, Session};
use crate::command::{Kind, ReplyMode};

/// Of one transaction no more odd commands are remembered; nobody queues as many.
const ODD_MAX: usize = 1 << 16;

/// A queued command that has more replies than one, or none, or that changes which replies the client wants.
#[derive(Debug)]
struct Odd {
    /// How many commands were queued before it.
    place: u32,
    kind: Kind,
    names: u16,
}

/// What the server has queued of a transaction.
#[derive(Debug, Default)]
pub(super) struct Queue {
    commands: u32,
    odd: Vec<Odd>,
}

impl Queue {
    pub(super) fn push(&mut self, kind: Kind, words: u16) {
        let is_odd =
            matches!(kind, Kind::Subscribe(_) | Kind::Unsubscribe(_) | Kind::Reply(_) | Kind::Unanswered);
        if is_odd && self.odd.len() < ODD_MAX {
            self.odd.push(Odd { place: self.commands, kind, names: words.saturating_sub(1) });
        }
        self.commands += 1;
    }
}

/// Where in EXEC's reply the server is.
#[derive(Debug)]
pub(super) struct Elements {
    /// Commands whose replies have not begun.
    commands_left: i64,
    place: u32,
    odd: Peekable<IntoIter<Odd>>,
    /// Of the command whose replies come.
    replies_left: u32,
    /// It subscribes or unsubscribes.
    confirms: bool,
    /// The client wants no reply to it.
    muted: bool,
    /// CLIENT REPLY SKIP was among the commands; it holds for the one behind EXEC.
    skip: bool,
}

impl Session {
    /// Whether EXEC's reply is to be looked at element by element.
    pub(super) fn splits_elements(&self) -> bool {
        // Before Redis 7.2, what the transaction itself publishes to its client comes in the middle.
        let mixed = self.client.monitoring || (self.client.resp3 && self.client.subscriptions.any());
        self.client.transaction.as_ref().is_some_and(|transaction| mixed || !transaction.queue.odd.is_empty())
    }

    /// EXEC's header said how many commands were executed; none, not even zero, if a watched key changed.
    pub(super) fn begin_elements(&mut self, out: &mut Out) {
        let Some(transaction) = &mut self.client.transaction else { return };
        self.elements = Some(Box::new(Elements {
            commands_left: self.replies.frame().count,
            place: 0,
            odd: std::mem::take(&mut transaction.queue.odd).into_iter().peekable(),
            replies_left: 0,
            confirms: false,
            muted: false,
            skip: false,
        }));
        self.next_element(out);
    }

    /// Goes to the command that is answered next.
    fn next_element(&mut self, out: &mut Out) {
        let Some(elements) = &mut self.elements else { return };
        let client = &mut self.client;
        while elements.replies_left == 0 && elements.commands_left > 0 {
            let place = elements.place;
            elements.place += 1;
            elements.commands_left -= 1;
            let odd = elements.odd.next_if(|odd| odd.place == place).map(|odd| (odd.kind, odd.names));
            (elements.confirms, elements.replies_left) = match odd {
                Some((Kind::Unsubscribe(topic), 0)) => (true, client.subscriptions.of(topic)),
                Some((Kind::Subscribe(_) | Kind::Unsubscribe(_), names)) => (true, names.into()),
                Some((Kind::Unanswered, _)) => (false, 0),
                _ => (false, 1),
            };
            let mut skips = false;
            if let Some((Kind::Reply(mode), _)) = odd {
                skips = mode == ReplyMode::Skip;
                elements.skip |= skips && !client.muted;
                client.set_reply_mode(mode);
            }
            // Confirmations are pushed, whatever the mode (redis `src/pubsub.c`, `addReplyPubsubSubscribed`).
            elements.muted = (client.muted || skips) && !elements.confirms;
        }
        if elements.replies_left == 0 {
            self.end_elements(out);
        }
    }

    pub(super) fn plan_element(&self, first: u8) -> Option<Plan> {
        let elements = self.elements.as_ref()?;
        Some(if elements.muted && first != b'>' { Plan::MuteElement } else { Plan::Element })
    }

    pub(super) fn end_element(&mut self, out: &mut Out) {
        let frame = *self.replies.frame();
        let Some(elements) = &mut self.elements else { return };
        let subscriptions = &mut self.client.subscriptions;
        let word = match frame.kind {
            b'>' => PubSub::read(frame.head()),
            b'*' if !self.client.resp3 => PubSub::read(frame.head()),
            _ => None,
        };
        let unasked = match word {
            Some(PubSub::Confirmation { topic, .. }) if elements.confirms || frame.kind == b'>' => {
                subscriptions.confirmed(topic, frame.last_integer);
                !elements.confirms
            }
            Some(PubSub::Message) if subscriptions.any() => true,
            _ => frame.kind == b'>',
        };
        let is_line = self.client.monitoring && frame.kind == b'+' && is_monitor_line(frame.head());
        if unasked || is_line {
            return;
        }
        // A command that is refused has one reply, whatever it asked for.
        elements.replies_left = if frame.is_error() { 0 } else { elements.replies_left - 1 };
        self.next_element(out);
    }

    fn end_elements(&mut self, out: &mut Out) {
        let skip = self.elements.take().is_some_and(|elements| elements.skip);
        self.complete(false, true, out);
        self.client.skip = skip;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_odd_commands_are_remembered_and_not_without_end() {
        let mut queue = Queue::default();
        queue.push(Kind::Plain, 1);
        assert_eq!((queue.commands, queue.odd.len()), (1, 0));
        for _ in 0..=ODD_MAX {
            queue.push(Kind::Unanswered, 3);
        }
        assert_eq!(queue.odd.len(), ODD_MAX);
    }
}
