//! Whether this process takes part in experiments, and following them where it does.

use std::sync::Arc;

use actors_runtime::supervision::{Child, Restart, Supervisor, Work};
use bus_client::chaos::ChaosFollower;
use bus_client::{Bus, Chaos, Error, patiently};

use crate::config::Config;

/// What `host` takes part in: nothing, where its settings do not allow it or nothing could be disturbed.
/// Otherwise the experiments are followed below `supervisor`.
pub(crate) async fn begin(
    bus: &Bus,
    config: &Config,
    host: &str,
    supervisor: Option<&Supervisor>,
) -> Result<Chaos, Error> {
    let profile = bus.profile();
    let Some(supervisor) = supervisor.filter(|_| config.chaos.allows(profile)) else {
        let message = format!("no experiments are allowed here under the profile `{profile}`");
        let hint = match profile {
            bus_client::Profile::Fast => "set `chaos = true` for every host, and start it again".to_owned(),
            _ => format!("set `chaos = \"{profile}\"` for every host, and start it again"),
        };
        return Ok(Chaos::refused(message, hint));
    };
    let (chaos, follower) = patiently("reading experiments", None, || bus.chaos(host)).await?;
    supervisor.start(following(follower));
    tracing::warn!(%profile, "experiments may disturb this process");
    Ok(chaos)
}

/// Keeps the experiments known to the process.
fn following(follower: ChaosFollower) -> Child {
    let work: Work = Arc::new(move |stop| {
        let follower = follower.clone();
        Box::pin(async move {
            tokio::select! {
                never = follower.run() => match never {},
                () = stop.cancelled() => Ok(()),
            }
        })
    });
    Child { name: "chaos".into(), restart: Restart::Always, work }
}
