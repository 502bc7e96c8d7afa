//! The gates of this host: commands of the system, halts, quarantine, and whether experiments are allowed.

use actors_logic::{change, chaos, halt, system, task};
use actors_runtime::{Gate, GateRequest, Gates};
use bus_client::Folded;
use bus_schemas::halts::Halts;
use bus_schemas::{EntityAddress, Key, Kind, Refusal};

use crate::quarantine::Quarantine;

/// All gates. `no_experiments` says why no experiment may begin here; `None` when they are allowed.
pub fn all(
    halts: &Folded<Halts>,
    quarantine: &Quarantine,
    no_experiments: Option<Refusal>,
    writes_code: bool,
) -> Gates {
    let experiments = no_experiments.map(|refusal| Box::new(NoExperiments(refusal)) as Box<dyn Gate>);
    let gates: [Box<dyn Gate>; 3] =
        [Box::new(SystemOnly), Box::new(Halted(halts.clone())), Box::new(quarantine.clone())];
    let writes = (!writes_code).then(|| Box::new(NoWrites) as Box<dyn Gate>);
    gates.into_iter().chain(experiments).chain(writes).collect()
}

/// Refuses commands that only the system sends, from anybody else.
#[derive(Debug)]
struct SystemOnly;

impl Gate for SystemOnly {
    fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal> {
        system::admit(request)
    }
}

/// Refuses work that a halt covers; usually there is no halt.
#[derive(Debug)]
struct Halted(Folded<Halts>);

impl Gate for Halted {
    fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal> {
        self.0.read(|halts| if halts.is_empty() { Ok(()) } else { task::admit(halts, request) })
    }
    fn withholds(&self, _: &EntityAddress, lane: &Key, agent: &Key) -> bool {
        self.0.read(|halts| !halts.is_empty() && halts.covers(lane, agent))
    }
    fn resting(&self) -> &[Kind] {
        let all_is_halted = self.0.read(|halts| halts.all().is_some());
        if all_is_halted { &halt::RESTING } else { &[] }
    }
}

/// Refuses experiments that the configuration forbids.
#[derive(Debug)]
struct NoExperiments(Refusal);

impl Gate for NoExperiments {
    fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal> {
        if chaos::is_experiment(request) { Err(self.0.clone()) } else { Ok(()) }
    }
}

/// Refuses work that would write files or change repositories, where the configuration does not allow it.
#[derive(Debug)]
struct NoWrites;

impl Gate for NoWrites {
    fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal> {
        change::admit_no_writes(request)
    }
}
