//! A network of the test's own: a bridge, and a network namespace for each machine on it, whose cable
//! can be pulled, and which can be kept from seeing some of the others.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

/// What a test without `ip` says.
const NEEDED: &str = "this test makes network namespaces: install the package `iproute2` and run it as root";

/// Networks that this process made: the tests of one process run side by side.
static MADE: AtomicU8 = AtomicU8::new(0);
/// Processes whose networks do not meet.
const PROCESSES: u32 = 16;
/// Networks of one process.
const NETWORKS: u8 = 16;

/// Machines on one bridge; the test itself is on it too. Gone with this.
pub struct Network {
    /// What the names of everything begin with; another for each network.
    tag: String,
    /// The third part of its addresses. RFC 2544 keeps 198.18.0.0/15 for such networks.
    third: u8,
    machines: Vec<Machine>,
}

/// A machine on the network.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its network namespace.
    pub namespace: String,
    /// The end of its cable at the bridge.
    cable: String,
}

/// Runs `ip`, and says what it said when that fails.
fn ip(arguments: &str) {
    let ran = run(arguments).unwrap_or_else(|error| panic!("{NEEDED} (`ip`: {error})"));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "`ip {arguments}`: {said}; {NEEDED}");
}

fn run(arguments: &str) -> std::io::Result<Output> {
    Command::new("ip").args(arguments.split(' ')).output()
}

impl Network {
    /// Makes the bridge.
    pub fn make() -> Self {
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::SeqCst) % NETWORKS);
        let third = u8::try_from(process % PROCESSES).expect("below sixteen") * NETWORKS + number;
        // The kernel takes fifteen characters.
        let tag = format!("o{:x}{number:x}", process % 0x0100_0000);
        let network = Self { tag, third, machines: Vec::new() };
        let bridge = network.bridge();
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("address add {}/24 dev {bridge}", network.address(1)));
        ip(&format!("link set {bridge} up"));
        network
    }

    fn bridge(&self) -> String {
        format!("{}b", self.tag)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.third, last)
    }

    /// Puts another machine on the network.
    pub fn join(&mut self) -> Machine {
        let number = u8::try_from(self.machines.len()).expect("a handful of machines");
        let (namespace, cable) = (format!("{}n{number}", self.tag), format!("{}c{number}", self.tag));
        let machine = Machine { address: self.address(10 + number), namespace, cable };
        let Machine { address, namespace, cable } = &machine;
        ip(&format!("netns add {namespace}"));
        self.machines.push(machine.clone());
        ip(&format!("link add {cable} type veth peer name eth0 netns {namespace}"));
        ip(&format!("link set {cable} master {} up", self.bridge()));
        ip(&format!("-n {namespace} address add {address}/24 dev eth0"));
        ip(&format!("-n {namespace} link set eth0 up"));
        ip(&format!("-n {namespace} link set lo up"));
        machine
    }
}

impl Machine {
    /// Pulls the cable: nobody reaches it and it reaches nobody, and nobody is told.
    pub fn pull(&self) {
        ip(&format!("link set {} down", self.cable));
    }
    /// Puts the cable back.
    pub fn plug(&self) {
        ip(&format!("link set {} up", self.cable));
    }
    /// Drops everything between it and others, as a firewall does; the rest still reaches it.
    pub fn lose(&self, others: &[&Machine]) {
        for other in others {
            ip(&format!("-n {} route add blackhole {}/32", self.namespace, other.address));
        }
    }
    /// Ends what [`Machine::lose`] began.
    pub fn find(&self, others: &[&Machine]) {
        for other in others {
            ip(&format!("-n {} route del blackhole {}/32", self.namespace, other.address));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A test that fails has another message for people; a namespace takes its cable along.
        for machine in &self.machines {
            let _ = run(&format!("netns del {}", machine.namespace));
        }
        let _ = run(&format!("link del {}", self.bridge()));
    }
}
