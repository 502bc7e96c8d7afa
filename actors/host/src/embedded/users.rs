//! The users of the embedded server and their permissions.
//!
//! Hosts and the verbs of this data directory are one user, whose password is in a file that only its owner
//! can read. A client without a name is another user: it may hand commands over, ask, query and claim, and
//! read events, blobs and output. What a host trusts (logs, mail, marks, leases) only the first user can
//! write. It cannot send under the name of the system either.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bus_schemas::Caller;
use bus_schemas::topology::Topology;
use uuid::Uuid;

/// The user of hosts and verbs.
pub(super) const HOST: &str = "orrery";
/// The user of clients without a name.
const LOCAL: &str = "local";
/// The file of the first user's password, in the server's directory.
const PASSWORD_FILE: &str = "password";
/// The first tokens of requests that read a stream; the stream follows, and in some a further token.
const READS: [&str; 7] = [
    "$JS.API.STREAM.INFO",
    "$JS.API.STREAM.MSG.GET",
    "$JS.API.DIRECT.GET",
    "$JS.API.CONSUMER.CREATE",
    "$JS.API.CONSUMER.INFO",
    "$JS.API.CONSUMER.MSG.NEXT",
    "$JS.API.CONSUMER.DELETE",
];

/// The password of hosts and verbs, created at the first start, and its file.
pub(super) fn password(directory: &Path) -> std::io::Result<(String, PathBuf)> {
    let path = directory.join(PASSWORD_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok((text.trim().to_owned(), path)),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let password = made_up();
    private(&path, &format!("{password}\n"))?;
    Ok((password, path))
}

/// A random secret of 244 bits.
fn made_up() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Writes a file that only its owner can read.
pub(super) fn private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
    // Opening an existing file does not change its mode.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// The lines of the server's configuration that define its users.
pub(super) fn lines(password: &str, topology: &Topology) -> String {
    let prefix = topology.subjects.prefix();
    let asks = ["do", "cmd", "request", "ask", "query", "view", "batch", "claim"]
        .map(|verb| format!("{prefix}.{verb}.>"));
    let reads = [topology.events(), topology.output(), format!("OBJ_{}", topology.blobs())];
    let reads = reads.iter().flat_map(|stream| {
        READS.iter().flat_map(move |read| [format!("{read}.{stream}"), format!("{read}.{stream}.>")])
    });
    let account = ["$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.FC.>", "$JS.ACK.>"].map(str::to_owned);
    let publish: Vec<String> = asks.into_iter().chain(account).chain(reads).collect();
    let (system, names) = (Caller::SYSTEM, ["do", "request", "query", "cmd.*", "ask.*", "view.*", "batch.*"]);
    let deny: Vec<String> = names
        .iter()
        .flat_map(|name| [format!("{prefix}.{name}.{system}"), format!("{prefix}.{name}.{system}.>")])
        .collect();
    let hears = ["evt.>", "out.>", "stop.>", "taken-over"].map(|rest| format!("{prefix}.{rest}"));
    let subscribe: Vec<String> = std::iter::once("_INBOX.>".to_owned()).chain(hears).collect();
    let list = |subjects: &[String]| {
        let quoted: Vec<String> = subjects.iter().map(|subject| format!("\"{subject}\"")).collect();
        quoted.join(", ")
    };
    // Nobody needs the second password: a client without a name is this user.
    let nobody_knows = made_up();
    format!(
        "authorization {{\n  users: [\n    {{ user: {HOST}, password: \"{password}\" }}\n    \
         {{ user: {LOCAL}, password: \"{nobody_knows}\", permissions: {{\n      \
         publish: {{ allow: [{}], deny: [{}] }}\n      subscribe: [{}]\n    }} }}\n  ]\n}}\nno_auth_user: {LOCAL}\n",
        list(&publish),
        list(&deny),
        list(&subscribe),
    )
}
