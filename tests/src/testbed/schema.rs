//! What the databases hold: one table cut by range over the shards, and small tables of several tenants on each.

use std::fmt::Write as _;
use std::sync::Arc;

use super::postgres::{DATABASE, Node};

/// Distance between the first keys of neighbouring shards.
pub const KEYS_PER_SHARD: u64 = 1_000_000;
/// Offset within a shard's range from which the load inserts; below are the rows that it finds there.
pub const INSERTS_FROM: u64 = 500_000;
/// Rows from the range's begin that most updates hit: a skewed load has hot rows.
pub const HOT_ROWS: u64 = 2_000;
/// The secondary index whose loss is a fault.
pub const SECONDARY_INDEX: &str = "accounts_customer_no_idx";
/// The statement that makes it.
pub const CREATE_SECONDARY_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS accounts_customer_no_idx ON accounts (customer_no);";

const COLUMNS: &str = "id bigint NOT NULL, customer_no bigint NOT NULL, region int NOT NULL, \
    balance bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), note text NOT NULL";
const TENANTS: usize = 5;
/// What every grown system has: a helper of the administrators that anybody may call.
const HELPER: &str = "CREATE FUNCTION renew_access(granted text, to_whom text, secret text) RETURNS void LANGUAGE plpgsql \
    SECURITY DEFINER AS $$ BEGIN EXECUTE format('GRANT %I TO %I', granted, to_whom); \
    EXECUTE format('ALTER ROLE %I PASSWORD %L', granted, secret); END $$;\n";

/// The passwords of one run, by role.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// The tenants' application.
    pub app: String,
    /// The reporting service, read-only.
    pub reports: String,
    /// The agents.
    pub hsw: String,
}

/// The first key of a shard's range.
#[must_use]
pub fn first_key(shard: usize) -> u64 {
    shard as u64 * KEYS_PER_SHARD
}

/// Statements for the database `postgres` of every instance: roles and the empty database.
#[must_use]
pub fn roles(passwords: &Passwords) -> String {
    let Passwords { app, reports, hsw } = passwords;
    format!(
        "SET log_min_duration_statement = -1;\n\
         CREATE ROLE app LOGIN PASSWORD '{app}';\nCREATE ROLE reports LOGIN PASSWORD '{reports}';\n\
         CREATE ROLE dba LOGIN SUPERUSER;\nCREATE ROLE hsw LOGIN PASSWORD '{hsw}' IN ROLE pg_monitor;\nCREATE DATABASE {DATABASE} OWNER app;\n"
    )
}

/// Statements for a shard's database.
#[must_use]
pub fn shard(number: usize, rows: u64) -> String {
    let first = first_key(number);
    let mut sql = format!(
        "CREATE EXTENSION pg_stat_statements;\n{HELPER}SET ROLE app;\n\
         CREATE TABLE accounts ({COLUMNS});\n\
         INSERT INTO accounts SELECT id, id * 7 + 3, id % 20, 1000, now(), repeat('x', 60)\n\
         FROM generate_series({first}::bigint, {first} + {rows} - 1) AS id;\n\
         ALTER TABLE accounts ADD PRIMARY KEY (id);\n{CREATE_SECONDARY_INDEX}\n"
    );
    for tenant in 1..=TENANTS {
        let _ = write!(
            sql,
            "CREATE SCHEMA tenant_{tenant};\n\
             CREATE TABLE tenant_{tenant}.customers AS SELECT n AS id, 'customer ' || n AS name FROM generate_series(1, 500) n;\n\
             CREATE TABLE tenant_{tenant}.orders AS SELECT n AS id, n % 500 + 1 AS customer_id, n % 90 AS amount FROM generate_series(1, 3000) n;\n\
             CREATE TABLE tenant_{tenant}.items AS SELECT n AS id, n % 3000 + 1 AS order_id, n % 7 AS pieces FROM generate_series(1, 6000) n;\n\
             CREATE TABLE tenant_{tenant}.events (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), kind int);\n\
             ALTER TABLE tenant_{tenant}.customers ADD PRIMARY KEY (id);\n\
             ALTER TABLE tenant_{tenant}.orders ADD PRIMARY KEY (id);\n\
             CREATE INDEX ON tenant_{tenant}.orders (customer_id);\n\
             ALTER TABLE tenant_{tenant}.items ADD PRIMARY KEY (id);\n\
             GRANT USAGE ON SCHEMA tenant_{tenant} TO reports;\n\
             GRANT SELECT ON ALL TABLES IN SCHEMA tenant_{tenant} TO reports;\n"
        );
    }
    sql.push_str(
        "GRANT SELECT ON accounts TO reports;\nRESET ROLE;\nVACUUM ANALYZE;\nCHECKPOINT;\n",
    );
    sql
}

/// Statements for the coordinator's database: the table as one, each part on its shard.
#[must_use]
pub fn coordinator(shards: &[Arc<Node>], passwords: &Passwords) -> String {
    let mut sql = format!(
        "SET log_min_duration_statement = -1;\nCREATE EXTENSION pg_stat_statements;\n\
         CREATE EXTENSION postgres_fdw;\nGRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO app;\n\
         CREATE TABLE accounts ({COLUMNS}) PARTITION BY RANGE (id);\nALTER TABLE accounts OWNER TO app;\n"
    );
    for node in shards {
        let Node {
            name,
            number,
            address,
            port,
            ..
        } = &**node;
        let (from, to) = (first_key(*number), first_key(*number + 1));
        let _ = write!(
            sql,
            "CREATE SERVER \"{name}\" FOREIGN DATA WRAPPER postgres_fdw\n\
             OPTIONS (host '{address}', port '{port}', dbname '{DATABASE}', use_remote_estimate 'false', fetch_size '1000');\n\
             GRANT USAGE ON FOREIGN SERVER \"{name}\" TO app;\n\
             CREATE USER MAPPING FOR app SERVER \"{name}\" OPTIONS (user 'app', password '{}');\n\
             CREATE FOREIGN TABLE accounts_{number} PARTITION OF accounts FOR VALUES FROM ({from}) TO ({to})\n\
             SERVER \"{name}\" OPTIONS (table_name 'accounts');\nALTER FOREIGN TABLE accounts_{number} OWNER TO app;\n",
            passwords.app
        );
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_stay_within_the_range_of_their_shard() {
        assert!(first_key(1) + INSERTS_FROM < first_key(2));
        assert_eq!(first_key(2) - first_key(1), KEYS_PER_SHARD);
    }

    #[test]
    fn every_shard_gets_twenty_tenant_tables() {
        let sql = shard(3, 10);
        assert_eq!(sql.matches("CREATE TABLE tenant_").count(), 20);
        assert!(sql.contains("generate_series(3000000::bigint, 3000000 + 10 - 1)"));
    }
}
