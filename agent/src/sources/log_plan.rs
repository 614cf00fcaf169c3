//! Which log files to follow and how they are written: as the config says, or else the database's settings. (step 1)
//!
//! Invariant: of several formats of one server only the best is followed (LG-1); with a journal and no paths, no file is.

use std::path::Path;

use hsw_tail::Pattern;

use super::log::{Config, Format};
use super::postgres::DatabaseSettings;

/// What to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) patterns: Vec<Pattern>,
    pub(super) format: Format,
    pub(super) prefix: Option<String>,
    /// Why nothing is followed, and what to do.
    pub(super) problem: Option<String>,
}

/// What to follow, from the config or else from the database.
pub(super) fn plan(config: &Config, settings: Option<&DatabaseSettings>) -> Plan {
    let prefix = config
        .line_prefix
        .clone()
        .or_else(|| settings.map(|s| s.log_line_prefix.clone()));
    // The server's own default, where nobody says.
    let prefix = match config.format {
        Format::Stderr => prefix.or_else(|| Some("%m [%p] ".to_owned())),
        _ => prefix,
    };
    let mut plan = Plan {
        prefix,
        format: config.format,
        ..Plan::default()
    };
    let texts = if config.paths.is_empty() && !config.journald_units.is_empty() {
        // An event that is in both would be counted twice (LG-1).
        Vec::new()
    } else if config.paths.is_empty() {
        match settings.map(database_paths) {
            Some(Ok((format, paths))) => {
                if plan.format == Format::Auto {
                    plan.format = format;
                }
                paths
            }
            Some(Err(problem)) => {
                plan.problem = Some(problem);
                return plan;
            }
            None => {
                plan.problem = Some(
                    "log files unknown until the database answers; or set `paths` in [log]"
                        .to_owned(),
                );
                return plan;
            }
        }
    } else {
        config.paths.clone()
    };
    for text in texts {
        match Pattern::parse(&text) {
            Ok(pattern) => plan.patterns.push(pattern),
            Err(error) => plan.problem = Some(error.to_string()),
        }
    }
    plan
}

/// Where the collector writes, in the best of its formats: one event must not be read twice.
fn database_paths(settings: &DatabaseSettings) -> Result<(Format, Vec<String>), String> {
    if !settings.logging_collector {
        return Err(
            "logging_collector is off, the database's log goes elsewhere; set `paths` in [log]"
                .to_owned(),
        );
    }
    let writes = |name: &str| {
        settings
            .log_destination
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case(name))
    };
    let (format, ending) = if writes("jsonlog") {
        (Format::Jsonlog, Some("json"))
    } else if writes("csvlog") {
        (Format::Csvlog, Some("csv"))
    } else if writes("stderr") {
        (Format::Stderr, None)
    } else {
        return Err(format!(
            "log_destination = {} writes no file; add stderr, csvlog or jsonlog, or set `paths` in [log]",
            settings.log_destination
        ));
    };
    let directory = Path::new(&settings.data_directory).join(&settings.log_directory);
    let name = wildcard_of(&settings.log_filename);
    // The server puts its own ending in place of `.log`.
    let name = match ending {
        Some(ending) => format!("{}.{ending}", name.strip_suffix(".log").unwrap_or(&name)),
        None => name,
    };
    Ok((format, vec![directory.join(name).display().to_string()]))
}

/// `postgresql-%Y-%m-%d.log` → `postgresql-*.log`.
fn wildcard_of(filename: &str) -> String {
    let mut name = String::new();
    let mut characters = filename.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' => match characters.next() {
                Some('%') | None => name.push('%'),
                Some(_) if name.ends_with('*') => {}
                Some(_) => name.push('*'),
            },
            // Between two escapes nothing is lost by a wider pattern; adjacent stars stay one.
            _ => name.push(c),
        }
    }
    name
}
