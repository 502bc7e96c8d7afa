//! Answers in Redis. What the library says of an error is not shown: it may repeat the URL with its password.

use std::fmt;
use std::time::Duration;

use bus_schemas::Hash;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use tokio::sync::Mutex;

/// A server, with the connection to it once there is one.
pub(super) struct Redis {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

impl Redis {
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let is_ours = ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme));
        let client = Client::open(url).ok().filter(|_| is_ours);
        let client =
            client.ok_or("is not `redis://[user:password@]host:port/database`, or the same with `rediss`")?;
        Ok(Self { client, connection: Mutex::default() })
    }

    /// The bytes under a key, unless they are more than `bytes_max`.
    pub(super) async fn get(&self, key: Hash, bytes_max: usize) -> Result<Option<Bytes>, String> {
        // A range, so that a value of any size costs no more than this.
        let mut command = redis::cmd("GETRANGE");
        command.arg(name(key)).arg(0).arg(bytes_max);
        let bytes: Vec<u8> = self.ask(&command).await?;
        Ok(Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty() && bytes.len() <= bytes_max))
    }

    /// Keeps bytes under a key for some time.
    pub(super) async fn set(&self, key: Hash, bytes: &[u8], age: Duration) -> Result<(), String> {
        let mut command = redis::cmd("SET");
        command.arg(name(key)).arg(bytes).arg("EX").arg(age.as_secs().max(1));
        self.ask(&command).await
    }

    /// Ends the connection, so that the next request makes another one.
    pub(super) fn close(&self) {
        // Whoever holds it is about to find out by itself.
        if let Ok(mut connection) = self.connection.try_lock() {
            *connection = None;
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let mut open = self.connection.lock().await.clone();
        if let Some(connection) = &mut open {
            match command.query_async(connection).await {
                // The server may have been started again meanwhile: a new connection tells.
                Err(error) if error.is_unrecoverable_error() => self.close(),
                asked => return asked.map_err(|error| words(&error)),
            }
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| words(&error))?;
        *self.connection.lock().await = Some(connection.clone());
        command.query_async(&mut connection).await.map_err(|error| words(&error))
    }
}

fn name(key: Hash) -> String {
    format!("orrery:model:{}", key.to_hex())
}

/// What is wrong, in words that hold nothing of the server's answer.
fn words(error: &RedisError) -> String {
    match error {
        _ if error.is_connection_refusal() => "Redis refuses the connection".to_owned(),
        _ if error.is_io_error() => "the connection to Redis broke".to_owned(),
        _ => format!("Redis answers with an error ({})", error.category()),
    }
}
