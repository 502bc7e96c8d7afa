//! `orrery ledger`: the effects and approvals as a signed file, for whoever does not trust this program.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use actors_host::Config;
use bus_schemas::Timestamp;
use orrery_storage::ledger::{Error, Request, SigningKey, export};
use schemars::JsonSchema;
use serde::Serialize;

use super::archive::Location;
use crate::bar::Bar;
use crate::client;
use crate::failure::Failure;
use crate::output::{Output, Show};
use crate::session::Session;

/// The action on the ledger.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write effects with their outcomes, and approvals, as lines that `verify_ledger.py` verifies
    Export(Export),
    /// Print the public key of the signatures, to be published; made on first use
    Key,
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Only this task and its descendants, with the approvals that they may use
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only what happened at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only what happened before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// The file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    archive: Location,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "is no RFC 3339 time".to_owned())
}

/// The public key of an installation's ledgers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PublicKey {
    /// The Ed25519 key: 64 hexadecimal digits.
    pub public_key: String,
    /// The file of the private key.
    pub path: PathBuf,
}

impl Show for PublicKey {
    fn text(&self) -> String {
        self.public_key.clone()
    }
}

/// A ledger that was written to a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// The number of entries.
    pub entries: u64,
    /// The public key of its signature: 64 hexadecimal digits.
    pub public_key: String,
}

impl Show for Exported {
    fn text(&self) -> String {
        let path = self.path.display();
        format!(
            "{} entries in {path}; verify them with: python3 verify_ledger.py {path} --key {}",
            self.entries, self.public_key
        )
    }
}

/// Runs the verb.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Key => {
            let key = SigningKey::open(&config.data_dir)?;
            output.show(&PublicKey { public_key: key.public(), path: key.path });
            Ok(())
        }
        Verb::Export(arguments) => {
            let session = Session::open(config).await?;
            let result = session.unless_interrupted(written(&session, arguments, output)).await;
            session.close().await;
            result
        }
    }
}

async fn written(session: &Session, arguments: Export, output: Output) -> Result<(), Failure> {
    let Export { task, since, until, output: path, archive } = arguments;
    let task = task.as_deref().map(client::id).transpose()?;
    let key = SigningKey::open(&session.config.data_dir)?;
    let archive = archive.open(&session.config)?;
    let mut out: Box<dyn Write + Send> = match &path {
        Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).map_err(Error::Unwritable)?)),
        None => Box::new(Stdout(output)),
    };
    let request = Request { task, since, until, now: bus_client::now() };
    let entries = export(&session.bus, &archive, &request, &key, &Bar::new(output), &mut *out).await?;
    if let Some(path) = path {
        output.show(&Exported { path, entries, public_key: key.public() });
    }
    Ok(())
}

/// Lines on stdout, whatever the output format.
struct Stdout(Output);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
