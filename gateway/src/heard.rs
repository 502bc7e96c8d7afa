//! When hosts heard of workers last, by a claim or by a renewal. Neither leaves an event: hosts tell each
//! other every few seconds, and a gateway listens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bus_client::Bus;
use bus_schemas::{Key, Timestamp};
use futures::StreamExt;

use crate::projections::agent::Agent;
use crate::projections::count::now;

/// Of so many workers it is remembered.
const WORKERS_MAX: usize = 100_000;

/// What was heard. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    at: Arc<Mutex<HashMap<(Key, String), Timestamp>>>,
}

impl Heard {
    /// Listens without end; returns when the connection is gone for good.
    pub async fn follow(self, bus: Bus) {
        let mut heard = match bus.heard().await {
            Ok(heard) => heard,
            Err(error) => return tracing::warn!(%error, "listening for workers that are heard of"),
        };
        while let Some(workers) = heard.next().await {
            let now = now();
            let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
            for (agent, worker, ago_ms) in workers {
                let heard_at = Timestamp(now.0.saturating_sub(ago_ms));
                let name = (agent, worker.to_string());
                if at.len() < WORKERS_MAX || at.contains_key(&name) {
                    let known = at.entry(name).or_insert(heard_at);
                    *known = heard_at.max(*known);
                }
            }
        }
    }

    /// Says of an agent's workers when they were heard of.
    pub fn note(&self, agent: &mut Agent) {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in &mut agent.workers {
            worker.heard_at = at.get(&(agent.name.clone(), worker.worker.clone())).copied();
        }
    }
}
