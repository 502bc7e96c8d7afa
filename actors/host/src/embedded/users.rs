//! The users of the embedded server and their permissions.
//!
//! Hosts and the verbs of this data directory are one user, whose password is in a file that only its owner
//! can read. A client without a name is another user in an account of its own: it may hand commands over, ask,
//! query and claim, and read events, blobs and output. What a host trusts (logs, mail, marks, leases) only the
//! first user can write, and what hosts keep for themselves (the private store) only it can read. The second one
//! cannot send under the name of the system either.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bus_schemas::Caller;
use bus_schemas::topology::{Store, Topology};
use uuid::Uuid;

/// The user of hosts and verbs.
pub(super) const HOST: &str = "orrery";
/// The user of clients without a name.
const LOCAL: &str = "local";
/// The file of the first user's password, in the server's directory.
const PASSWORD_FILE: &str = "password";
/// The first tokens of requests that read a stream; the stream follows, and in some a further token. None makes a
/// consumer: its creator chooses where the server delivers, with the rights of the server, and an empty delivery is a
/// valid request to delete a stream.
const READS: [&str; 3] = ["$JS.API.STREAM.INFO", "$JS.API.STREAM.MSG.GET", "$JS.API.DIRECT.GET"];
/// How long the server remembers where the further answers to a request go.
const ANSWERS: &str = "15s";

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
pub(super) fn made_up() -> String {
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

/// The lines of the server's configuration that define its accounts and users.
///
/// The user of hosts and the streams are in one account, the user of clients without a name in another, which
/// imports the few subjects below. So a reply to such a client never reaches a stream, whatever reply subject it
/// chose: the server delivers the reply in the client's own account, where there are no streams.
pub(super) fn lines(password: &str, topology: &Topology) -> String {
    let prefix = topology.subjects.prefix();
    let services = services(topology);
    let streams = ["evt.>", "out.>", "stop.>", "taken-over"].map(|rest| format!("{prefix}.{rest}"));
    let exports = services.iter().map(|Service { subject, responses }| match *responses {
        "stream" => format!("{{ service: \"{subject}\", response_type: stream, threshold: \"{ANSWERS}\" }}"),
        one => format!("{{ service: \"{subject}\", response_type: {one} }}"),
    });
    let exports = exports.chain(streams.iter().map(|subject| format!("{{ stream: \"{subject}\" }}")));
    let import =
        |what: &str, subject: &str| format!("{{ {what}: {{ account: {HOST}, subject: \"{subject}\" }} }}");
    let imports = services.iter().map(|service| import("service", &service.subject));
    let imports = imports.chain(streams.iter().map(|subject| import("stream", subject)));
    let (system, names) = (Caller::SYSTEM, ["do", "request", "query", "cmd.*", "ask.*", "view.*", "batch.*"]);
    let deny = names.iter().flat_map(|name| {
        [format!("\"{prefix}.{name}.{system}\""), format!("\"{prefix}.{name}.{system}.>\"")]
    });
    let publish = services.iter().map(|service| format!("\"{}\"", service.subject));
    let publish = publish.chain([format!("\"{prefix}.do.>\"")]);
    let inboxes = "_INBOX.>".to_owned();
    let subscribe = std::iter::once(&inboxes).chain(&streams).map(|subject| format!("\"{subject}\""));
    let mappings = super::mappings(topology.partitions);
    // Nobody needs the second password: a client without a name is this user.
    let nobody_knows = made_up();
    format!(
        "accounts {{\n  {HOST} {{\n    jetstream: enabled\n    users: [{{ user: {HOST}, password: \"{password}\" }}]\n    \
         {mappings}    exports: [\n      {}\n    ]\n  }}\n  {LOCAL} {{\n    \
         users: [{{ user: {LOCAL}, password: \"{nobody_knows}\", permissions: {{\n      \
         publish: {{ allow: [{}], deny: [{}] }}\n      subscribe: [{}]\n    }} }}]\n    \
         {mappings}    imports: [\n      {}\n    ]\n  }}\n}}\nno_auth_user: {LOCAL}\n",
        lined(exports),
        listed(publish),
        listed(deny),
        listed(subscribe),
        lined(imports),
    )
}

/// A subject on which a client without a name may ask the hosts or the server.
struct Service {
    subject: String,
    /// Whether one message or several answer a request: `singleton` or `stream`.
    responses: &'static str,
}

fn services(topology: &Topology) -> Vec<Service> {
    let prefix = topology.subjects.prefix();
    let service = |subject: String, responses| Service { subject, responses };
    let asks = ["cmd", "request", "ask", "query", "view"];
    let asks = asks.map(|verb| service(format!("{prefix}.{verb}.>"), "singleton"));
    // The replies to a batch, and the jobs of a claim, arrive in several messages.
    let many = ["batch", "claim"].map(|verb| service(format!("{prefix}.{verb}.>"), "stream"));
    let account =
        ["$JS.API.INFO", "$JS.API.STREAM.NAMES"].map(|subject| service(subject.into(), "singleton"));
    let streams = [topology.events(), topology.output(), format!("OBJ_{}", topology.objects(Store::Blobs))];
    let reads = streams.iter().flat_map(|stream| {
        READS.into_iter().flat_map(move |read| {
            let responses = if read.ends_with("DIRECT.GET") { "stream" } else { "singleton" };
            [service(format!("{read}.{stream}"), responses), service(format!("{read}.{stream}.>"), responses)]
        })
    });
    asks.into_iter().chain(many).chain(account).chain(reads).collect()
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn lined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join("\n      ")
}
