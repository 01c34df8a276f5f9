//! The client side: which replies the client is owed, and in what form.

use super::elements::Queue;
use super::who::Who;
use crate::command::{ReplyMode, Topic};

/// A transaction is kept for being sent again up to this size.
pub(super) const TRANSACTION_BYTES_MAX: usize = 64 << 20;

/// What a connection's history means for the replies to come.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set and cleared on its own")]
pub(super) struct ClientSide {
    pub(super) transaction: Option<Transaction>,
    /// WATCH is in force.
    pub(super) watching: bool,
    /// CLIENT REPLY OFF.
    pub(super) muted: bool,
    /// CLIENT REPLY SKIP: the next command is not answered.
    pub(super) skip: bool,
    pub(super) resp3: bool,
    pub(super) monitoring: bool,
    pub(super) subscriptions: Subscriptions,
    /// If it has said so.
    pub(super) who: Option<Box<Who>>,
}

impl ClientSide {
    /// Whether every reply, unless it is an array or pushed, belongs to the next command and goes to the client.
    pub(super) const fn is_plain(&self) -> bool {
        let silenced = self.muted || self.skip;
        self.transaction.is_none() && !silenced && !self.monitoring
    }

    /// Takes note of an accepted command that may say who the client is.
    pub(super) fn learn(&mut self, command: &[u8]) {
        let mut who = self.who.take().unwrap_or_default();
        who.learn(command);
        // Most say nothing, and need no room.
        self.who = (who.user.is_some() || who.name.is_some()).then_some(who);
    }

    /// EXEC or DISCARD: no transaction is open any more, and no key watched.
    pub(super) fn end_transaction(&mut self) {
        self.transaction = None;
        self.watching = false;
    }

    /// RESET (redis `src/networking.c`, `resetCommand`).
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The null reply of EXEC: a watched key changed.
    pub(super) const fn null(&self) -> &'static [u8] {
        if self.resp3 { b"_\r\n" } else { b"*-1\r\n" }
    }

    /// Takes note of CLIENT REPLY, once accepted.
    pub(super) const fn set_reply_mode(&mut self, mode: ReplyMode) {
        match mode {
            ReplyMode::On => self.muted = false,
            ReplyMode::Off => self.muted = true,
            ReplyMode::Skip => {}
        }
        self.skip = matches!(mode, ReplyMode::Skip) && !self.muted;
    }
}

/// A transaction between MULTI and EXEC.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set and cleared on its own")]
pub(super) struct Transaction {
    /// The server rejected a part of it as BUSY, so EXEC will be refused.
    pub(super) busy: bool,
    /// The client saw an error, so it expects EXEC to be refused.
    pub(super) tainted: bool,
    /// It grew too large to be kept.
    pub(super) too_large: bool,
    /// It queued a script.
    pub(super) has_script: bool,
    /// What EXEC's reply depends on.
    pub(super) queue: Queue,
}

/// How many subscriptions there are, as told by the confirmations.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: i64,
    /// Channels and patterns, which confirmations count together.
    both: i64,
    shards: i64,
    /// Confirmations still to come for the command being answered.
    pub(super) confirmations_left: u32,
}

impl Subscriptions {
    pub(super) const fn any(&self) -> bool {
        self.both > 0 || self.shards > 0
    }

    /// A confirmation said how many subscriptions there are now.
    pub(super) const fn confirmed(&mut self, topic: Topic, total: i64) {
        match topic {
            Topic::Shard => self.shards = total,
            Topic::Channel => {
                self.channels += total - self.both;
                self.both = total;
            }
            Topic::Pattern => self.both = total,
        }
    }

    /// How many confirmations UNSUBSCRIBE without names brings: one per subscription of the kind, at least one.
    pub(super) fn of(&self, topic: Topic) -> u32 {
        let count = match topic {
            Topic::Channel => self.channels,
            Topic::Pattern => self.both - self.channels,
            Topic::Shard => self.shards,
        };
        u32::try_from(count.max(1)).unwrap_or(u32::MAX)
    }
}

/// The kind of a Pub/Sub frame by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PubSub {
    /// Something published; nobody asked for it.
    Message,
    /// Confirms a subscription or its end.
    Confirmation { topic: Topic, subscribed: bool },
}

impl PubSub {
    pub(super) fn read(word: &[u8]) -> Option<Self> {
        let confirmation = |topic, subscribed| Some(Self::Confirmation { topic, subscribed });
        match word {
            b"message" | b"pmessage" | b"smessage" => Some(Self::Message),
            b"subscribe" => confirmation(Topic::Channel, true),
            b"psubscribe" => confirmation(Topic::Pattern, true),
            b"ssubscribe" => confirmation(Topic::Shard, true),
            b"unsubscribe" => confirmation(Topic::Channel, false),
            b"punsubscribe" => confirmation(Topic::Pattern, false),
            b"sunsubscribe" => confirmation(Topic::Shard, false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsubscribing_from_all_is_confirmed_once_per_subscription_of_the_kind() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.confirmed(Topic::Channel, 1);
        subscriptions.confirmed(Topic::Pattern, 2);
        subscriptions.confirmed(Topic::Channel, 3);
        subscriptions.confirmed(Topic::Pattern, 4);
        subscriptions.confirmed(Topic::Pattern, 5);
        subscriptions.confirmed(Topic::Shard, 1);
        assert_eq!(subscriptions.of(Topic::Channel), 2);
        assert_eq!(subscriptions.of(Topic::Pattern), 3);
        assert_eq!(subscriptions.of(Topic::Shard), 1);
        subscriptions.confirmed(Topic::Channel, 4);
        subscriptions.confirmed(Topic::Channel, 3);
        assert_eq!(subscriptions.of(Topic::Channel), 1, "none left is still one confirmation");
    }

    #[test]
    fn a_client_is_a_subscriber_as_long_as_one_subscription_is_left() {
        for topic in [Topic::Channel, Topic::Pattern, Topic::Shard] {
            let mut subscriptions = Subscriptions::default();
            assert!(!subscriptions.any());
            subscriptions.confirmed(topic, 1);
            assert!(subscriptions.any(), "{topic:?}");
            subscriptions.confirmed(topic, 0);
            assert!(!subscriptions.any(), "{topic:?}");
        }
    }

    #[test]
    fn confirmations_and_messages_are_told_by_their_first_word() {
        for (topic, name) in [(Topic::Channel, ""), (Topic::Pattern, "p"), (Topic::Shard, "s")] {
            for (subscribed, what) in [(true, "subscribe"), (false, "unsubscribe")] {
                let word = format!("{name}{what}");
                let read = PubSub::read(word.as_bytes());
                assert_eq!(read, Some(PubSub::Confirmation { topic, subscribed }), "{word}");
            }
            assert_eq!(PubSub::read(format!("{name}message").as_bytes()), Some(PubSub::Message));
        }
        assert_eq!(PubSub::read(b"invalidate"), None);
    }
}
