//! What the database says of itself: identity, role, settings. (step 1)
//!
//! In: answers of `instance`, `role`, `settings`. Out: [`NodeFacts`] without what only the host knows, [`DatabaseSettings`].

use hsw_types::{NodeFacts, Role};

use super::config::Config;
use super::connection::Line;
use super::queries::{Need, Query};

/// Settings other sources need, above all the log source. A text is empty where the role may not see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseSettings {
    /// `data_directory`; `log_directory` is relative to it unless absolute.
    pub data_directory: String,
    /// `log_directory`.
    pub log_directory: String,
    /// `log_filename`, a strftime pattern.
    pub log_filename: String,
    /// `log_destination`, e.g. `stderr,jsonlog`.
    pub log_destination: String,
    /// `log_line_prefix`.
    pub log_line_prefix: String,
    /// `log_timezone`, an IANA name.
    pub log_timezone: String,
    /// Whether the server writes its log files itself.
    pub logging_collector: bool,
    /// `pg_current_logfile()`, relative to the data directory; empty without a collector.
    pub current_logfile: String,
    /// Process id of the agent's own back end, so that host sampling can leave it out.
    pub own_pid: u32,
}

impl DatabaseSettings {
    pub(super) fn from_lines(lines: &[Line], own_pid: u32) -> Self {
        let setting = |name: &str| setting(lines, name).to_owned();
        Self {
            data_directory: setting("data_directory"),
            log_directory: setting("log_directory"),
            log_filename: setting("log_filename"),
            log_destination: setting("log_destination"),
            log_line_prefix: setting("log_line_prefix"),
            log_timezone: setting("log_timezone"),
            logging_collector: setting("logging_collector") == "on",
            current_logfile: lines
                .iter()
                .find(|line| line.kind == "logfile")
                .map_or_else(String::new, |line| line.name(0).to_owned()),
            own_pid,
        }
    }
}

/// The value of a setting in the answer of `settings`; empty where it is hidden.
pub(super) fn setting<'a>(lines: &'a [Line], name: &str) -> &'a str {
    lines
        .iter()
        .find(|line| line.kind == "setting" && line.name(0) == name)
        .map_or("", |line| line.name(1))
}

/// The answer of `instance`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Instance {
    pub(super) version: String,
    pub(super) system_identifier: String,
    pub(super) address: String,
    pub(super) database: String,
    pub(super) statements_schema: Option<String>,
    pub(super) major: i32,
    pub(super) started: f64,
    pub(super) in_recovery: bool,
    pub(super) n_slots: f64,
    pub(super) sees_all: bool,
    pub(super) is_superuser: bool,
    pub(super) may_ask_logfile: bool,
    pub(super) own_pid: u32,
}

impl Instance {
    pub(super) fn from_lines(lines: &[Line]) -> Option<Self> {
        let line = lines.iter().find(|line| line.kind == "instance")?;
        let schema = line.name(4);
        Some(Self {
            version: line
                .name(0)
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            system_identifier: line.name(1).to_owned(),
            address: line.name(2).to_owned(),
            database: line.name(3).to_owned(),
            statements_schema: (!schema.is_empty()).then(|| schema.to_owned()),
            major: line.number(0)? as i32,
            started: line.number(1)?,
            in_recovery: line.number(2) == Some(1.0),
            n_slots: line.number(3).unwrap_or(0.0),
            sees_all: line.number(4) == Some(1.0),
            is_superuser: line.number(6) == Some(1.0),
            may_ask_logfile: line.number(7) == Some(1.0),
            own_pid: line.number(5).unwrap_or(0.0) as u32,
        })
    }

    /// What keeps `row` from being sent; `None` when nothing does.
    pub(super) fn lacks(&self, row: &Query) -> Option<&'static str> {
        match row.needs {
            Need::ReadAllStats if !self.sees_all => Some("needs pg_monitor"),
            Need::Statements if self.statements_schema.is_none() => {
                Some("needs pg_stat_statements")
            }
            Need::CurrentLogfile if !self.may_ask_logfile => {
                Some("needs EXECUTE on pg_current_logfile()")
            }
            _ => None,
        }
    }

    /// Facts for the driver; it fills in shard, cluster, host, boot and agent.
    pub(super) fn facts(&self, config: &Config, has_router_tables: bool) -> NodeFacts {
        let role = match config.role {
            Some(role) => role.into(),
            None if self.in_recovery => Role::Replica,
            None if has_router_tables => Role::Router,
            None => Role::Primary,
        };
        NodeFacts {
            role,
            database: format!("PostgreSQL {}", self.version),
            system_identifier: self.system_identifier.clone(),
            // Over a Unix socket the server knows no address of its own.
            address: if self.address.is_empty() {
                config.target()
            } else {
                self.address.clone()
            },
            database_started: self.started as i64,
            ..NodeFacts::default()
        }
    }
}

/// Foreign tables over other nodes and either no table or no partition of its own beside them.
pub(super) fn is_router(lines: &[Line]) -> bool {
    let number = |at| {
        lines
            .first()
            .and_then(|line| line.number(at))
            .unwrap_or(0.0)
    };
    let (foreign, local, local_partitions) = (number(0), number(1), number(2));
    foreign > 0.0 && local_partitions == 0.0 && local <= foreign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_holds_foreign_tables_and_no_partition_of_its_own() {
        let role = |numbers: &[f64]| is_router(&[Line::new("role", &[], numbers)]);
        assert!(role(&[4.0, 1.0, 0.0]));
        assert!(!role(&[4.0, 1.0, 1.0]), "has a partition of its own");
        assert!(
            !role(&[1.0, 50.0, 0.0]),
            "a shard that also looks elsewhere"
        );
        assert!(!role(&[0.0, 0.0, 0.0]));
    }

    #[test]
    fn the_role_is_what_the_operator_says_before_what_the_database_says() {
        let instance = Instance {
            in_recovery: true,
            ..Instance::default()
        };
        assert_eq!(instance.facts(&Config::default(), true).role, Role::Replica);
        let config = Config {
            role: Some(super::super::config::RoleOverride::Router),
            ..Config::default()
        };
        assert_eq!(instance.facts(&config, false).role, Role::Router);
    }

    #[test]
    fn hidden_settings_are_empty() {
        let lines = [
            Line::new("setting", &["logging_collector", "on"], &[]),
            Line::new("logfile", &["log/a.json"], &[]),
        ];
        let settings = DatabaseSettings::from_lines(&lines, 7);
        assert!(settings.logging_collector && settings.data_directory.is_empty());
        assert_eq!(
            (settings.current_logfile.as_str(), settings.own_pid),
            ("log/a.json", 7)
        );
    }
}
