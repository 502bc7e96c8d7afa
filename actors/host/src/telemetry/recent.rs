//! The last spans that were opened in this process, for the report of a panic.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::json::Fields;

/// Spans that are kept: a request at the gateway and an agent's job open a few each.
const SPANS_MAX: usize = 32;
/// Characters of a field that are kept.
const FIELD_CHARACTERS_MAX: usize = 200;

static SPANS: Mutex<VecDeque<Value>> = Mutex::new(VecDeque::new());

/// Remembers spans as they are opened.
#[derive(Debug)]
pub(super) struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Fields(&mut fields));
        for value in fields.values_mut() {
            if let Value::String(text) = value {
                *text = text.chars().take(FIELD_CHARACTERS_MAX).collect();
            }
        }
        let metadata = attributes.metadata();
        let span = json!({
            "at_ms": bus_client::now(),
            "name": metadata.name(),
            "target": metadata.target(),
            "fields": fields,
        });
        let mut spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() == SPANS_MAX {
            spans.pop_front();
        }
        spans.push_back(span);
    }
}

/// The last spans, oldest first. Empty while another thread is adding one: a panicked caller must not wait.
pub(crate) fn spans() -> Vec<Value> {
    SPANS.try_lock().map(|spans| spans.iter().cloned().collect()).unwrap_or_default()
}
