//! Who is told, and how often. (step 14)

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Section `[alerts]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where people reach this aggregator's page, e.g. `https://watch.example`; the links of alerts begin with it.
    /// Empty by default: links are then relative.
    pub external_url: String,
    /// Seconds between two `HyperShardWatchWatchdog` alerts, 10 to 3,600; 0 sends none. 60 by default.
    pub watchdog_interval_s: u64,
    /// PEM file of the CA certificates that https receivers are checked against; the system's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// `[[alerts.webhook]]`: receivers of Alertmanager's webhook form, version 4. None by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook: Vec<Webhook>,
    /// `[[alerts.alertmanager]]`: Alertmanagers to push to; list every member of a cluster. None by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alertmanager: Vec<Alertmanager>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            webhook: Vec::new(),
            alertmanager: Vec::new(),
            external_url: String::new(),
            watchdog_interval_s: 60,
            ca_file: None,
        }
    }
}

/// `[[alerts.webhook]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to post; this or `url_file`.
    pub url: Option<String>,
    /// File that holds the URL, for URLs that are secrets; read anew for each message.
    pub url_file: Option<PathBuf>,
    /// Also tell when an incident is over. True by default.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Also send the watchdog alert. True by default; turn it off for receivers that people read.
    #[serde(default = "yes")]
    pub send_watchdog: bool,
    /// Seconds to wait for an answer, 1 to 120. 10 by default.
    #[serde(default = "ten")]
    pub timeout_s: u64,
    /// File that holds a bearer token; read anew for each message. None by default.
    pub bearer_token_file: Option<PathBuf>,
}

/// `[[alerts.alertmanager]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// Base URL, e.g. `http://alertmanager:9093`; `/api/v2/alerts` is added.
    pub url: String,
    /// Seconds to wait for an answer, 1 to 120. 10 by default.
    #[serde(default = "ten")]
    pub timeout_s: u64,
    /// File that holds a bearer token; read anew for each message. None by default.
    pub bearer_token_file: Option<PathBuf>,
}

impl Config {
    /// Checks what serde cannot.
    ///
    /// # Errors
    /// One line that names the key and what it may be.
    pub fn check(&self) -> anyhow::Result<()> {
        let is_url = |url: &str| {
            url.parse::<hyper::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
            })
        };
        for (at, webhook) in self.webhook.iter().enumerate() {
            anyhow::ensure!(
                webhook.url.is_some() != webhook.url_file.is_some(),
                "alerts.webhook[{at}]: give either url or url_file"
            );
            anyhow::ensure!(
                webhook.url.as_deref().is_none_or(is_url),
                "alerts.webhook[{at}].url: give a URL such as http://host:port/path"
            );
            check_timeout(&format!("alerts.webhook[{at}]"), webhook.timeout_s)?;
        }
        for (at, manager) in self.alertmanager.iter().enumerate() {
            anyhow::ensure!(
                is_url(&manager.url),
                "alerts.alertmanager[{at}].url: give a base URL such as http://alertmanager:9093"
            );
            check_timeout(&format!("alerts.alertmanager[{at}]"), manager.timeout_s)?;
        }
        anyhow::ensure!(
            self.external_url.is_empty() || is_url(&self.external_url),
            "alerts.external_url: give a URL such as https://watch.example"
        );
        anyhow::ensure!(
            self.watchdog_interval_s == 0 || (10..=3_600).contains(&self.watchdog_interval_s),
            "alerts.watchdog_interval_s: 10 to 3600, or 0 for none"
        );
        Ok(())
    }
}

fn check_timeout(place: &str, timeout_s: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        (1..=120).contains(&timeout_s),
        "{place}.timeout_s: 1 to 120 seconds"
    );
    Ok(())
}

const fn yes() -> bool {
    true
}

const fn ten() -> u64 {
    10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        config.check().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_receiver_needs_one_url_and_unknown_keys_are_errors() {
        let good = check(
            "[[webhook]]\nurl = \"https://hooks.example/a\"\n[[alertmanager]]\nurl = \"http://am:9093\"",
        );
        assert!(good.unwrap().webhook[0].send_resolved);
        assert!(
            check("[[webhook]]\nsend_resolved = false")
                .unwrap_err()
                .contains("url_file")
        );
        assert!(
            check("[[webhook]]\nurl = \"hooks.example\"")
                .unwrap_err()
                .contains("webhook[0].url")
        );
        assert!(
            check("[[alertmanager]]\nurl = \"http://am\"\ntimeout_s = 0")
                .unwrap_err()
                .contains("timeout_s")
        );
        assert!(
            check("watchdog_interval = 5")
                .unwrap_err()
                .contains("unknown field")
        );
        assert!(
            check("watchdog_interval_s = 5")
                .unwrap_err()
                .contains("10 to 3600")
        );
    }
}
