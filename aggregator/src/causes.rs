//! Causes that are known from the start, and the runbook. (step 12)
//!
//! In: the section `[causes]`. Out: the cases that are shipped, learned from faults that were really injected into PostgreSQL
//! (`tests/faults --second --export FILE`), and what to do first by cause. Does not: learn; operators' cases live in the store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use hsw_engine::CAUSE_CHARS_MAX;
use hsw_explain::{NamedCase, format};
use serde::{Deserialize, Serialize};

/// Entries of a runbook at most.
const RUNBOOK_MAX: usize = 1_000;
/// Longest action, characters.
const ACTION_CHARS_MAX: usize = 1_000;

/// The shipped cases, in the format of `hsw causes export`.
pub const SHIPPED: &str = include_str!("causes_default.json");
/// The shipped runbook.
pub const RUNBOOK: &str = include_str!("runbook_default.toml");

/// Section `[causes]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Begin with the causes that are shipped. True by default; without them only what operators name is known.
    pub shipped: bool,
    /// TOML file of `"cause" = "what to do first"`, in the place of the shipped one. None by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shipped: true,
            runbook: None,
        }
    }
}

impl Config {
    /// The shipped cases, unless they are switched off, and the runbook.
    ///
    /// # Errors
    /// One line that names the runbook's file and what is wrong with it.
    pub fn load(&self) -> anyhow::Result<(Vec<NamedCase>, BTreeMap<String, String>)> {
        let cases = if self.shipped {
            format::read(SHIPPED).context("read the shipped causes")?
        } else {
            Vec::new()
        };
        let runbook = match &self.runbook {
            None => runbook(RUNBOOK).context("read the shipped runbook")?,
            Some(path) => std::fs::read_to_string(path)
                .map_err(anyhow::Error::from)
                .and_then(|text| runbook(&text))
                .with_context(|| format!("read causes.runbook {}", path.display()))?,
        };
        Ok((cases, runbook))
    }
}

fn runbook(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let actions: BTreeMap<String, String> = toml::from_str(text)?;
    ensure!(
        actions.len() <= RUNBOOK_MAX,
        "more than {RUNBOOK_MAX} causes: remove some"
    );
    for (cause, action) in &actions {
        let fits =
            cause.chars().count() <= CAUSE_CHARS_MAX && action.chars().count() <= ACTION_CHARS_MAX;
        ensure!(
            fits,
            "`{cause}`: a cause has at most {CAUSE_CHARS_MAX} characters, what to do first {ACTION_CHARS_MAX}"
        );
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_cause_has_a_first_action() {
        let (cases, runbook) = Config::default().load().unwrap();
        for case in &cases {
            assert!(runbook.contains_key(&case.cause), "{}", case.cause);
        }
        assert!(SHIPPED.len() < 300_000, "{} bytes", SHIPPED.len());
    }

    #[test]
    fn a_runbook_of_ones_own_takes_the_place_of_the_shipped_one_and_says_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runbook.toml");
        let config = Config {
            shipped: false,
            runbook: Some(path.clone()),
        };
        let missing = format!("{:#}", config.load().unwrap_err());
        assert!(missing.contains("causes.runbook"), "{missing}");
        std::fs::write(&path, "\"full disk\" = \"make room\"").unwrap();
        let (cases, runbook) = config.load().unwrap();
        assert!(cases.is_empty());
        assert_eq!(runbook["full disk"], "make room");
    }
}
