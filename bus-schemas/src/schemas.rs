//! JSON Schemas of everything that goes over the wire, generated from the types of this crate.
//!
//! Pure: the test `tests/schemas.rs` holds the result against the files in `schemas/` and, when
//! asked, rewrites them. Commands and queries are described as a reader accepts them (what has a default may
//! be left out), everything else as a writer produces it.

mod asyncapi;

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::commands::deadletter::Entry;
use crate::wire::{WireCommand, WireEvent, WireQuery};
use crate::{Refusal, Reply, claims, commands, events, jobs, views};

pub use asyncapi::asyncapi;

/// One schema document: where it lies, what it is called, and how it is made.
struct Document {
    folder: &'static str,
    stem: String,
    version: u16,
    name: String,
    contract: Contract,
    root: fn(SchemaSettings) -> Schema,
}

fn root<T: JsonSchema>(settings: SchemaSettings) -> Schema {
    settings.into_generator().into_root_schema_for::<T>()
}

/// `task` → `Task`.
fn capitalized(kind: &str) -> String {
    let mut letters = kind.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

impl Document {
    fn command<C: WireCommand + JsonSchema>() -> Self {
        Self {
            folder: "commands/",
            stem: C::KIND.to_string(),
            version: 1,
            name: capitalized(C::KIND.as_str()) + "Command",
            contract: Contract::Deserialize,
            root: root::<C>,
        }
    }
    fn query<Q: WireQuery + JsonSchema>() -> Self {
        Self {
            folder: "queries/",
            stem: Q::KIND.to_string(),
            version: 1,
            name: capitalized(Q::KIND.as_str()) + "Query",
            contract: Contract::Deserialize,
            root: root::<Q>,
        }
    }
    fn event<E: WireEvent + JsonSchema>() -> Self {
        Self {
            folder: "events/",
            stem: E::KIND.to_string(),
            version: E::SCHEMA,
            name: capitalized(E::KIND.as_str()) + "Event",
            contract: Contract::Serialize,
            root: root::<E>,
        }
    }
    fn written<T: JsonSchema>(folder: &'static str, stem: &str, name: &str) -> Self {
        Self {
            folder,
            stem: stem.to_owned(),
            version: 1,
            name: name.to_owned(),
            contract: Contract::Serialize,
            root: root::<T>,
        }
    }
    fn path(&self) -> String {
        format!("{}{}.v{}.json", self.folder, self.stem, self.version)
    }
    /// The document on its own, as JSON Schema 2020-12.
    fn standalone(&self) -> Value {
        let mut settings = SchemaSettings::draft2020_12();
        settings.contract = self.contract.clone();
        let mut schema = (self.root)(settings);
        schema.insert("$id".to_owned(), json!(format!("urn:orrery:{}", self.path())));
        schema.insert("title".to_owned(), json!(self.name));
        schema.to_value()
    }
}

/// All documents, in the order in which a reader meets them.
fn all() -> Vec<Document> {
    let mut all = vec![
        Document::command::<commands::agent::Command>(),
        Document::command::<commands::breaker::Command>(),
        Document::command::<commands::broker::Command>(),
        Document::command::<commands::campaign::Command>(),
        Document::command::<commands::chaos::Command>(),
        Document::command::<commands::config::Command>(),
        Document::command::<commands::halt::Command>(),
        Document::command::<commands::deadletter::Command>(),
        Document::command::<commands::healer::Command>(),
        Document::command::<commands::probe::Command>(),
        Document::command::<commands::queue::Command>(),
        Document::command::<commands::schedule::Command>(),
        Document::command::<commands::task::Command>(),
        Document::query::<commands::agent::Query>(),
        Document::query::<commands::breaker::Query>(),
        Document::query::<commands::broker::Query>(),
        Document::query::<commands::chaos::Query>(),
        Document::query::<commands::config::Query>(),
        Document::query::<commands::queue::Query>(),
        Document::query::<commands::task::Query>(),
        Document::event::<events::agent::Event>(),
        Document::event::<events::breaker::Event>(),
        Document::event::<events::broker::Event>(),
        Document::event::<events::campaign::Event>(),
        Document::event::<events::chaos::Event>(),
        Document::event::<events::config::Event>(),
        Document::event::<events::halt::Event>(),
        Document::event::<events::deadletter::Event>(),
        Document::event::<events::healer::Event>(),
        Document::event::<events::probe::Event>(),
        Document::event::<events::queue::Event>(),
        Document::event::<events::schedule::Event>(),
        Document::event::<events::task::Event>(),
        Document::written::<views::task::Task>("views/", "task", "TaskView"),
        Document::written::<views::task::Why>("views/", "why", "WhyView"),
        Document::written::<commands::task::Reservation>("views/", "reservation", "ReservationView"),
        Document::written::<commands::task::Renewal>("views/", "renewal", "RenewalView"),
        Document::written::<commands::agent::Registration>("views/", "registration", "RegistrationView"),
        Document::written::<views::lane::Lane>("views/", "lane", "LaneView"),
        Document::written::<views::lane::Waiting>("views/", "waiting", "WaitingView"),
        Document::written::<views::lane::Part>("views/", "part", "PartView"),
        Document::written::<jobs::Job>("", "job", "Job"),
        Document::written::<claims::Answer>("", "claim-answer", "ClaimAnswer"),
        Document::written::<Reply>("", "reply", "Reply"),
        Document::written::<Refusal>("", "refusal", "Refusal"),
        Document::written::<Entry>("", "dead-letter", "DeadLetterEntry"),
    ];
    // Agents write claims and output, so their schemas say what may be left out.
    for written in [
        Document::written::<claims::Claim>("", "claim", "Claim"),
        Document::written::<jobs::OutputChunk>("", "output-chunk", "OutputChunk"),
    ] {
        all.push(Document { contract: Contract::Deserialize, ..written });
    }
    all
}

/// Every JSON Schema (2020-12) with its path below `schemas/`.
pub fn documents() -> Vec<(String, Value)> {
    all().iter().map(|document| (document.path(), document.standalone())).collect()
}
