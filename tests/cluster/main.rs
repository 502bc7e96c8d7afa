//! Three servers, networks that are cut, owners that freeze, and power cuts: nothing acknowledged is
//! lost, nothing is done twice, and a former owner writes nothing.

mod checks;
mod image;
mod network;
mod partitioned;
mod power_cut;
mod replicated;
mod servers;
mod snapshot;
mod zombie;
