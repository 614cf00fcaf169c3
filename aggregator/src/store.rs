//! The store. (step 7)

use std::sync::Arc;

use hsw_engine::Incident;

use crate::shared::Silence;

/// Asks the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    commands: tokio::sync::mpsc::Sender<Command>,
}

/// What the store is asked.
#[derive(Debug)]
pub enum Command {}

/// Why the store did not do it, one line.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

impl StoreHandle {
    /// Silences that have not expired, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn silences(&self) -> Result<Vec<Silence>, StoreError> {
        todo!()
    }
    /// Adds a silence (its `id` is ignored) and returns its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_silence(&self, _silence: Silence) -> Result<i64, StoreError> {
        todo!()
    }
    /// Removes a silence; false when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_silence(&self, _id: i64) -> Result<bool, StoreError> {
        todo!()
    }
    /// Incidents, newest first, at most `limit`, started before window `before` (all when `None`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn incidents(
        &self,
        _limit: usize,
        _before: Option<hsw_types::WindowIndex>,
    ) -> Result<Vec<Arc<Incident>>, StoreError> {
        todo!()
    }
}
