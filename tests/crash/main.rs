//! Kills hosts and servers at every step, and looks at what is left: nothing acknowledged is lost,
//! nothing is done twice, and a former owner writes nothing.

mod bad_log;
mod bad_servers;
mod changes;
mod credentials;
mod effects;
mod full;
mod kill_nine;
mod points;
mod replies;
mod two_hosts;
mod waits;
mod zombie;

use system_tests::{check, own_server, process};
