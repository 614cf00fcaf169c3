//! What is asked for seldom: settings, facts, texts of statements. (step 1)

use std::time::Duration;

use tokio::time::Instant;

use super::collect::Collector;
use super::connection::{Failure, Line};
use super::facts::{DatabaseSettings, Instance};
use super::queries::query;
use super::{FACTS_EVERY, Open, SETTINGS_EVERY, Source};

impl Source {
    /// Counts calls, and asks for the texts of statements that moved and are not known; returns how long that took.
    pub(super) async fn calls(
        &mut self,
        open: &mut Open,
        lines: &[Line],
    ) -> Result<Duration, Failure> {
        let Collector {
            counts, counted, ..
        } = &mut self.collector;
        let wanted = counts.calls(lines, counted);
        let left_out = std::mem::take(&mut counts.n_left_out);
        self.outbox.dropped(left_out);
        let Some(row) = query("texts", open.instance.major).filter(|_| !wanted.is_empty()) else {
            return Ok(Duration::ZERO);
        };
        let (answer, took) = self.ask_about(open, row, Some(&wanted)).await?;
        if let Some(lines) = answer {
            let Collector {
                counts, counted, ..
            } = &mut self.collector;
            counts.texts(&wanted, &lines, counted);
        }
        Ok(took)
    }

    async fn learn_settings(&mut self, open: &mut Open) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for name in ["settings", "logfile"] {
            if let Some(row) = query(name, open.instance.major)
                && self.is_meant(row, open)
            {
                lines.extend(self.ask(open, row).await?.0.unwrap_or_default());
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let fresh = Some(DatabaseSettings::from_lines(&lines, open.instance.own_pid));
        self.settings.send_if_modified(|held| {
            let is_new = *held != fresh;
            *held = fresh;
            is_new
        });
        Ok(())
    }

    /// Facts and settings: on a change, and now and then.
    pub(super) async fn slow_facts(&mut self, open: &mut Open) -> Result<(), Failure> {
        let now = Instant::now();
        if now >= open.settings_at {
            open.settings_at = now + SETTINGS_EVERY;
            self.learn_settings(open).await?;
        }
        if now >= open.facts_at {
            open.facts_at = now + FACTS_EVERY;
            if let Some(row) = query("instance", open.instance.major)
                && let (Some(lines), _) = self.ask(open, row).await?
                && let Some(instance) = Instance::from_lines(&lines)
            {
                self.learn(&instance);
                open.instance = instance;
            }
        }
        Ok(())
    }
}
