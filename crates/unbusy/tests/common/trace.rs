//! Hears the events of a thread, and in which span each happened.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Remembers events of one target as `SPAN: FIELD=VALUE …`.
#[derive(Clone)]
pub(crate) struct Listener {
    target: &'static str,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    spans: Vec<&'static str>,
    entered: Vec<u64>,
    events: Vec<String>,
}

impl Listener {
    pub(crate) fn to(target: &'static str) -> Self {
        Self { target, heard: Arc::default() }
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.heard.lock().unwrap().events.clone()
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() || metadata.target() == self.target
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut heard = self.heard.lock().unwrap();
        heard.spans.push(span.metadata().name());
        Id::from_u64(heard.spans.len() as u64)
    }

    fn event(&self, event: &Event<'_>) {
        let mut heard = self.heard.lock().unwrap();
        let span = heard.entered.last().map_or("", |id| heard.spans[*id as usize - 1]);
        let mut words = Words(format!("{span}:"));
        event.record(&mut words);
        heard.events.push(words.0);
    }

    fn enter(&self, span: &Id) {
        self.heard.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.heard.lock().unwrap().entered.pop();
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}
