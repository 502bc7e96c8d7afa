//! When hosts last heard of workers, by a claim or by a renewal. Neither leaves an event: hosts tell each
//! other every few seconds, and a gateway listens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bus_client::{Bus, now};
use bus_schemas::{Key, Timestamp};
use futures::StreamExt;
use gateway_api::agents::Agent;

/// The number of workers that are remembered.
const WORKERS_MAX: usize = 100_000;

/// The last times by worker. Cheap to clone; all clones share one state.
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

    /// Adds the times to an agent's workers.
    pub fn note(&self, agent: &mut Agent) {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in &mut agent.workers {
            worker.heard_at = at.get(&(agent.name.clone(), worker.worker.clone())).copied();
        }
    }
}
