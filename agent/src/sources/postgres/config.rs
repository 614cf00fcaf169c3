//! Configuration of the PostgreSQL source, and how it becomes a connection. (step 1)
//!
//! In: the agent's `[postgres]` table. Out: [`tokio_postgres::Config`], [`TlsMode`].
//! Invariants: PG-1 a password comes from a file or a systemd credential, never from the command line or the config itself.
//! PG-2 limits of the session travel with the connection's start, so that no statement ever runs without them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hsw_types::Role;
use serde::{Deserialize, Serialize};

/// `application_name` of the agent's own session; sessions of this name are left out of what is reported.
pub const APPLICATION_NAME: &str = "hsw-agent";

/// Time a connection attempt may take, name resolution to the first answer.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time one address of a host name may take; long enough for a second SYN, short enough to try another address.
const ADDRESS_TIMEOUT: Duration = Duration::from_millis(1300);

/// The client waits this much longer than `statement_timeout` before it gives the connection up.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(700);

/// Encryption of the connection to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// When the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked, so this does not stop someone in the middle.
    Require,
    /// Always; the certificate must come from `sslrootcert` and name `host`.
    VerifyFull,
}

/// A role that the operator states because the database cannot know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleOverride {
    /// Takes writes of its shard.
    Primary,
    /// Follows a primary.
    Replica,
    /// Holds foreign tables over other nodes.
    Router,
}

impl From<RoleOverride> for Role {
    fn from(role: RoleOverride) -> Self {
        match role {
            RoleOverride::Primary => Self::Primary,
            RoleOverride::Replica => Self::Replica,
            RoleOverride::Router => Self::Router,
        }
    }
}

/// Where the database is and how gently it is asked. Changed by the operator of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Host name, address, or (when it begins with `/`) directory of the Unix socket. Default `/var/run/postgresql`.
    pub host: String,
    /// Port, also part of the socket's name. Default 5432.
    pub port: u16,
    /// Login role; needs `pg_monitor` and nothing else. Default `hsw`.
    pub user: String,
    /// Database to stay in. Unset (default): the biggest one the role may enter, with short visits to the others.
    pub database: Option<String>,
    /// File that holds the password on one line; read at each connection, so it may be replaced at any time. Default none.
    pub password_file: Option<PathBuf>,
    /// Name of a systemd credential (`LoadCredential=`) that holds the password; not together with `password_file`. Default none.
    pub password_credential: Option<String>,
    /// `disable`, `prefer`, `require` or `verify-full`. Default `prefer`; no meaning on a Unix socket.
    pub sslmode: TlsMode,
    /// PEM file with the authorities `verify-full` trusts; needed by it, refused with any other mode. Default none.
    pub sslrootcert: Option<PathBuf>,
    /// Longest time a statement of the agent may run, milliseconds. Default 800, limits 50 to 999.
    pub statement_timeout_ms: u64,
    /// Longest time a statement of the agent may wait for a lock, milliseconds. Default 100, limits 1 to `statement_timeout_ms`.
    pub lock_timeout_ms: u64,
    /// Seconds between full rounds; the light probe stays at one second. Default 1, limits 1 to 60.
    pub interval_s: u64,
    /// Sessions grouped by peer, user, application and database that are reported; the rest is counted. Default 200, limits 0 to 1,000.
    pub n_edges_max: usize,
    /// States the node's role where the database's own word is not enough. Default none: the database decides.
    pub role: Option<RoleOverride>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "/var/run/postgresql".to_owned(),
            port: 5432,
            user: "hsw".to_owned(),
            database: None,
            password_file: None,
            password_credential: None,
            sslmode: TlsMode::default(),
            sslrootcert: None,
            statement_timeout_ms: 800,
            lock_timeout_ms: 100,
            interval_s: 1,
            n_edges_max: 200,
            role: None,
        }
    }
}

impl Config {
    /// Checks every limit once, at start.
    ///
    /// # Errors
    /// One line that names the field and what it may be.
    pub fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            !self.host.is_empty(),
            "postgres.host is empty: give a host name or socket directory"
        );
        ensure!(
            self.port != 0,
            "postgres.port is 0: give the database's port"
        );
        ensure!(
            !self.user.is_empty(),
            "postgres.user is empty: give the login role"
        );
        ensure!(
            (50..=999).contains(&self.statement_timeout_ms),
            "postgres.statement_timeout_ms is {}: it may be 50 to 999",
            self.statement_timeout_ms
        );
        ensure!(
            (1..=self.statement_timeout_ms).contains(&self.lock_timeout_ms),
            "postgres.lock_timeout_ms is {}: it may be 1 to statement_timeout_ms",
            self.lock_timeout_ms
        );
        ensure!(
            (1..=60).contains(&self.interval_s),
            "postgres.interval_s is {}: it may be 1 to 60",
            self.interval_s
        );
        ensure!(
            self.n_edges_max <= 1000,
            "postgres.n_edges_max is {}: it may be 0 to 1000",
            self.n_edges_max
        );
        ensure!(
            self.password_file.is_none() || self.password_credential.is_none(),
            "postgres.password_file and postgres.password_credential are both set: keep one"
        );
        ensure!(
            (self.sslmode == TlsMode::VerifyFull) == self.sslrootcert.is_some(),
            "postgres.sslrootcert goes with sslmode = \"verify-full\" and only with it: set both or neither"
        );
        Ok(())
    }

    /// Whether the connection goes through a Unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Where this source connects, for messages.
    #[must_use]
    pub fn target(&self) -> String {
        if self.is_local() {
            format!("{}/.s.PGSQL.{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The longest the client waits for an answer.
    pub(super) fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms) + ANSWER_MARGIN
    }

    /// Session limits that travel with the start of the connection (PG-2).
    pub(super) fn startup_options(&self) -> String {
        format!(
            "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=5000 -c jit=off \
             -c default_transaction_read_only=on -c search_path=pg_catalog -c max_parallel_workers_per_gather=0",
            self.statement_timeout_ms, self.lock_timeout_ms
        )
    }

    /// Everything the driver needs to connect to `database`, with the password read anew.
    pub(super) fn connection(&self, database: &str) -> anyhow::Result<tokio_postgres::Config> {
        use tokio_postgres::config::SslMode;
        let mut out = tokio_postgres::Config::new();
        out.user(&self.user)
            .dbname(database)
            .port(self.port)
            .application_name(APPLICATION_NAME)
            .options(self.startup_options())
            .connect_timeout(ADDRESS_TIMEOUT)
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(30));
        if self.is_local() {
            out.host_path(&self.host);
        } else {
            out.host(&self.host);
        }
        out.ssl_mode(match self.sslmode {
            _ if self.is_local() => SslMode::Disable,
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
        });
        if let Some(password) = self.password()? {
            out.password(password);
        }
        Ok(out)
    }

    /// Path of the file that holds the password, if one is configured.
    pub(super) fn password_path(&self) -> anyhow::Result<Option<PathBuf>> {
        if let Some(name) = &self.password_credential {
            let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
                bail!(
                    "postgres.password_credential is set but the service has no credentials: add LoadCredential={name}:/path to its unit"
                );
            };
            return Ok(Some(Path::new(&folder).join(name)));
        }
        Ok(self.password_file.clone())
    }

    fn password(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = self.password_path()? else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "read the database password from {}: make the file readable for the agent",
                path.display()
            )
        })?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        ensure!(
            !password.is_empty(),
            "{} is empty: write the database password into it",
            path.display()
        );
        Ok(Some(password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_the_limits_and_unknown_keys_are_errors() {
        Config::default().validate().unwrap();
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        assert!(toml::from_str::<Config>("hots = 'x'").is_err());
        let config: Config = toml::from_str("sslmode = 'verify-full'\nrole = 'router'").unwrap();
        assert_eq!(config.sslmode, TlsMode::VerifyFull);
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("sslrootcert")
        );
    }

    #[test]
    fn a_timeout_of_a_second_or_more_is_refused() {
        let config = Config {
            statement_timeout_ms: 1000,
            ..Config::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("50 to 999")
        );
    }

    #[test]
    fn the_limits_travel_with_the_connection_and_the_password_comes_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3cret\n").unwrap();
        let config = Config {
            password_file: Some(path),
            ..Config::default()
        };
        let built = config.connection("shop").unwrap();
        assert_eq!(built.get_password(), Some(b"s3cret".as_slice()));
        assert_eq!(built.get_dbname(), Some("shop"));
        assert_eq!(built.get_application_name(), Some(APPLICATION_NAME));
        let options = built.get_options().unwrap();
        assert!(options.contains("statement_timeout=800") && options.contains("read_only=on"));
        assert!(options.contains("search_path=pg_catalog"));
    }

    #[test]
    fn a_missing_password_file_is_named_with_its_remedy() {
        let config = Config {
            password_file: Some("/no/such".into()),
            ..Config::default()
        };
        let message = config.connection("x").unwrap_err().to_string();
        assert!(message.contains("/no/such") && message.contains("readable"));
    }
}
