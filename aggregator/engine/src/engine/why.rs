//! When incidents are explained, and what becomes of an operator's word. (step 12)

use std::sync::Arc;

use hsw_explain::NamedCase;
use hsw_state::NodeIndex;
use hsw_types::{ShardId, WindowIndex};

use super::Engine;
use crate::contract::Output;
use crate::incident::{Incident, IncidentId, IncidentState};
use crate::view::NodeLiveness;
use crate::why::{Explanation, Feedback, Look, Scene, Track, WhyError};

impl Engine {
    /// Why a shard was bad from one window to another, both within.
    ///
    /// # Errors
    /// [`WhyError`]: nothing is known of the shard, or of that time.
    pub fn why(
        &self,
        shard: &ShardId,
        first: WindowIndex,
        last: WindowIndex,
    ) -> Result<Explanation, WhyError> {
        let look = Look {
            shard,
            first,
            last,
            onsets: &[],
        };
        let why = self.look_at(&look, &self.liveness)?;
        Ok(self.book.judge(why, None))
    }

    /// Explanations of incidents, newest first.
    #[must_use]
    pub fn explanations(&self) -> Vec<(IncidentId, Arc<Explanation>)> {
        self.book.explanations()
    }

    /// Every case that is known: those shipped, then those that operators named.
    #[must_use]
    pub fn causes(&self) -> Arc<Vec<NamedCase>> {
        self.book.cases()
    }

    /// How many of the first of [`Self::causes`] were shipped.
    #[must_use]
    pub fn n_causes_shipped(&self) -> usize {
        self.book.n_shipped()
    }

    fn look_at(&self, look: &Look<'_>, liveness: &[NodeLiveness]) -> Result<Explanation, WhyError> {
        let clock_offset_us = |at: NodeIndex| self.heard.get(at)?.clock_offset_us;
        let scene = Scene {
            cluster: &self.cluster,
            map: &self.map,
            graph: &self.graph,
            liveness,
            clock_offset_us: &clock_offset_us,
        };
        scene.look(look)
    }

    /// Looks at the incidents that were just told, and again at open ones when more evidence has come.
    pub(super) fn explain(&mut self, window: WindowIndex, told: &[Arc<Incident>]) {
        for incident in told.iter().filter(|one| one.intrusion.is_none()) {
            let track = self.book.tracks.entry(incident.id);
            let track = track.or_insert_with(|| Track::new(incident));
            if track.root != incident.root {
                // It moved to the culprit: what was said of the victim is void.
                *track = Track::new(incident);
            }
        }
        for track in self.book.tracks.values_mut() {
            track.see(&self.liveness);
        }
        let mut due: Vec<IncidentId> = Vec::new();
        for (id, track) in &mut self.book.tracks {
            if track.is_due(window) {
                due.push(*id);
            }
        }
        for id in due {
            match self.incident(id) {
                Some(incident) if incident.state == IncidentState::Open => {
                    self.explain_one(&incident);
                }
                _ => {}
            }
        }
        for incident in told {
            if incident.state == IncidentState::Closed && incident.intrusion.is_none() {
                self.explain_one(incident);
                self.book.tracks.remove(&incident.id);
            }
        }
    }

    fn explain_one(&mut self, incident: &Incident) {
        let onsets = incident.affected.iter();
        let onsets = onsets.map(|(shard, evidence)| (shard.clone(), evidence.since));
        let mut onsets: Vec<(ShardId, WindowIndex)> = onsets.collect();
        onsets.push((incident.root.clone(), incident.started));
        let look = Look {
            shard: &incident.root,
            first: incident.started,
            last: incident.ended.unwrap_or(WindowIndex(i64::MAX)),
            onsets: &onsets,
        };
        let worst = self.book.tracks.get(&incident.id).map(|track| &track.worst);
        // Where too little is kept of the time before, what was said earlier stands.
        let Ok(why) = self.look_at(&look, worst.unwrap_or(&self.liveness)) else {
            self.counters.looks_too_late += 1;
            return;
        };
        self.counters.looks += 1;
        let mut why = self.book.judge(why, Some(incident.id));
        if let Some(before) = self.book.explanation(incident.id) {
            why.revision = before.revision + 1;
            why.feedback = before.feedback.clone();
        }
        self.tell_explanation(incident.id, Arc::new(why));
    }

    fn tell_explanation(&mut self, id: IncidentId, why: Arc<Explanation>) {
        self.book.keep(id, Arc::clone(&why));
        self.outputs.push_back(Output::Explained(id, why));
    }

    pub(super) fn hear_feedback(&mut self, id: IncidentId, word: Feedback) {
        // A named cause says that something was wrong: the detectors' weights learn from it too.
        self.label(id, word != Feedback::FalseAlarm);
        if let Some(why) = self.book.hear(id, word) {
            self.outputs.push_back(Output::Explained(id, why));
            self.outputs.push_back(Output::Causes(self.book.learned()));
            self.outputs.push_back(Output::Learn(self.book.cases()));
        }
    }

    /// Operators' cases from elsewhere take the place of those here; `is_new` where the store does not have them.
    pub(super) fn replace_causes(&mut self, cases: Vec<NamedCase>, is_new: bool) {
        self.book.replace(cases);
        if is_new {
            self.outputs.push_back(Output::Causes(self.book.learned()));
        }
        self.outputs.push_back(Output::Learn(self.book.cases()));
    }

    /// What has been learned; open incidents are judged anew by it.
    pub(super) fn know(&mut self, known: hsw_explain::Known) {
        self.book.know(known);
        let open: Vec<IncidentId> = self.book.tracks.keys().copied().collect();
        for id in open {
            if let Some(why) = self.book.explanation(id) {
                let mut why = self.book.judge((**why).clone(), Some(id));
                why.revision += 1;
                self.tell_explanation(id, Arc::new(why));
            }
        }
    }
}
