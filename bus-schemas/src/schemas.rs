//! JSON Schemas of everything on the wire, generated from the types of this crate.
//!
//! Pure: the test `tests/schemas.rs` compares the result with the files in `schemas/` and, on request,
//! rewrites them. Commands and queries are described as a reader accepts them (a field with a default may be
//! missing), everything else as a writer produces it.

mod asyncapi;

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::commands::dead_letter::Entry;
use crate::wire::{WireCommand, WireEvent, WireQuery};
use crate::{Refusal, Reply, claims, commands, events, jobs, views};

pub use asyncapi::asyncapi;

/// One schema document: its path, its title, and how it is made.
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

/// `dead-letter` as `DeadLetter`.
fn capitalized(kind: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase().to_string()).unwrap_or_default();
        first + letters.as_str()
    };
    kind.split('-').map(word).collect()
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
    let mut all: Vec<Document> = Vec::new();
    macro_rules! documents {
        ($($module:ident $entity:ident $($query:ident)? [$($system:literal)*],)*) => {
            $(all.push(Document::command::<commands::$module::Command>());)*
            $($(all.push(Document::$query::<commands::$module::Query>());)?)*
            $(all.push(Document::event::<events::$module::Event>());)*
        };
    }
    crate::for_each_kind!(documents);
    all.extend([
        Document::written::<views::task::Task>("views/", "task", "TaskView"),
        Document::written::<views::task::Why>("views/", "why", "WhyView"),
        Document::written::<commands::task::Reservation>("views/", "reservation", "ReservationView"),
        Document::written::<commands::task::Renewal>("views/", "renewal", "RenewalView"),
        Document::written::<commands::agent::Registration>("views/", "registration", "RegistrationView"),
        Document::written::<views::command::CommandStatus>("views/", "command", "CommandView"),
        Document::written::<views::lane::Lane>("views/", "lane", "LaneView"),
        Document::written::<views::lane::Waiting>("views/", "waiting", "WaitingView"),
        Document::written::<views::lane::Part>("views/", "part", "PartView"),
        Document::written::<jobs::Job>("", "job", "Job"),
        Document::written::<claims::Answer>("", "claim-answer", "ClaimAnswer"),
        Document::written::<Reply>("", "reply", "Reply"),
        Document::written::<Refusal>("", "refusal", "Refusal"),
        Document::written::<Entry>("", "dead-letter", "DeadLetterEntry"),
    ]);
    // Agents write claims and output, so their schemas tell which fields may be missing.
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
