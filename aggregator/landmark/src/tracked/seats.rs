//! Who is in the buckets: every vertex with edges, or one for each class of twins.
//!
//! Invariant: TR-6 of a class of twins the first that is no landmark is in the buckets (it stands for all that are none: they are as far
//! from every landmark), and nobody where all are landmarks. Work by the classes an event touches.

use std::cmp::Reverse;

use super::Tracked;
use crate::distance::FAR;
use crate::improve::hash;
use crate::renewal::Renewal;
use crate::twins::Heads;

/// Pairs that meet of which somebody between them is looked at.
const PAIRS: usize = 16;

impl Tracked {
    /// Vertices that have twins, and classes of such; 0 where nobody asked to leave them together.
    #[must_use]
    pub fn n_twins(&self) -> (usize, usize) {
        self.twins.as_ref().map_or((0, 0), |twins| twins.n())
    }

    /// Vertices with edges that no twin shares its distances with and that are told apart from all others of their colour. O(n).
    #[must_use]
    pub fn n_alone(&self) -> usize {
        let Some(twins) = &self.twins else {
            return self.buckets.n_alone();
        };
        let is_alone = |v: u32| {
            let class = twins.class(v, self.colours[v as usize]);
            let n_plain = class.map_or(1, |(class, _)| {
                let plain = class.iter().filter(|w| !self.is_landmark[**w as usize]);
                plain.take(2).count()
            });
            let is_met = || self.buckets.n_of(self.signatures[v as usize]) > 1;
            if self.seated[v as usize] {
                n_plain < 2 && !is_met()
            } else {
                // A landmark is told apart by itself, whoever stands for its class.
                self.has_edges(v) && self.is_landmark[v as usize]
            }
        };
        (0..self.graph.n() as u32).filter(|v| is_alone(*v)).count()
    }

    /// These leave their classes, before their edges or colours change; whose seats may be others then, these among them.
    pub(super) fn exit(&mut self, of: &[u32]) -> Vec<u32> {
        let Some(twins) = &mut self.twins else {
            return of.to_vec();
        };
        let is_landmark = &self.is_landmark;
        let mut heads = Heads {
            is_landmark,
            found: of.to_vec(),
        };
        for v in of.iter().filter(|v| !self.graph.neighbours(**v).is_empty()) {
            twins.exit(*v, self.colours[*v as usize], &mut heads);
        }
        heads.found
    }

    /// These take their places in classes; all whose seats may be others are seated anew.
    pub(super) fn enter(&mut self, of: &[u32], exited: Vec<u32>) {
        let mut found = exited;
        if let Some(twins) = &mut self.twins {
            let is_landmark = &self.is_landmark;
            let mut heads = Heads { is_landmark, found };
            for v in of.iter().filter(|v| !self.graph.neighbours(**v).is_empty()) {
                twins.enter(*v, self.colours[*v as usize], &mut heads);
            }
            found = heads.found;
        }
        self.seat(&found);
    }

    /// A vertex becomes a landmark or is none any more: another twin may have to stand for its class.
    pub(super) fn elect(&mut self, landmark: u32, is_landmark: bool) {
        let mut found = self.heads(landmark);
        self.is_landmark[landmark as usize] = is_landmark;
        found.extend(self.heads(landmark));
        self.seat(&found);
    }

    fn heads(&self, v: u32) -> Vec<u32> {
        let found = vec![v];
        let Some(twins) = self.twins.as_ref().filter(|_| self.has_edges(v)) else {
            return found;
        };
        let is_landmark = &self.is_landmark;
        let mut heads = Heads { is_landmark, found };
        twins.heads(v, self.colours[v as usize], &mut heads);
        heads.found
    }

    /// Whether a vertex belongs in the buckets. O(log n).
    pub(super) fn has_seat(&self, v: u32) -> bool {
        let twins = self.twins.as_ref();
        let class = twins.and_then(|twins| twins.class(v, self.colours[v as usize]));
        let stands = class.is_none_or(|(class, _)| {
            let first = class.iter().find(|w| !self.is_landmark[**w as usize]);
            first == Some(&v)
        });
        self.has_edges(v) && stands
    }

    /// Puts these into the buckets, or takes them out, as is due.
    fn seat(&mut self, of: &[u32]) {
        for v in of {
            let is_due = self.has_seat(*v);
            if self.seated[*v as usize] == is_due {
                continue;
            }
            self.seated[*v as usize] = is_due;
            if is_due {
                self.join(*v);
            } else {
                self.leave(*v);
            }
        }
    }

    /// How far a landmark would be from who then stands for its class: 0 where it has no twin that is none.
    pub(super) fn own_distance(&self, v: u32) -> u16 {
        let twins = self.twins.as_ref();
        let class = twins.and_then(|twins| twins.class(v, self.colours[v as usize]));
        class.map_or(0, |(class, apart)| {
            let mut others = class.iter().filter(|w| **w != v);
            let is_shared = others.any(|w| !self.is_landmark[*w as usize]);
            if is_shared { apart } else { 0 }
        })
    }

    /// Of classes that meet, whom one's neighbours have and the other's have not: each tells two of them apart, whoever stands for his
    /// class then. Without it, twins would be chosen for ever. O(degree) each.
    pub(super) fn between_twins(&self) -> Vec<u32> {
        if self.twins.is_none() {
            return Vec::new();
        }
        let two = self.buckets.together().take(PAIRS).filter_map(|signature| {
            let members = self.buckets.members(signature);
            let (x, y) = (*members.first()?, *members.get(1)?);
            let (of_x, of_y) = (self.graph.neighbours(x), self.graph.neighbours(y));
            let lacks =
                |list: &[u32], w: &u32| list.binary_search(w).is_err() && *w != x && *w != y;
            let only_x = of_x.iter().find(|w| lacks(of_y, w));
            only_x
                .or_else(|| of_y.iter().find(|w| lacks(of_x, w)))
                .copied()
        });
        two.collect()
    }

    /// The best connected vertex at hand of a component that no landmark is in, where twins are left together: else nobody of it had a
    /// place. O(colours · log n), and the degree of one vertex.
    pub(super) fn anchor(&self) -> Option<u32> {
        self.twins.as_ref()?;
        let far = self.landmarks.iter().fold(0, |sum, l| sum ^ hash(*l, FAR));
        let adrift = self.palette.iter().find_map(|colour| {
            let signature = Self::start_of(*colour) ^ far;
            let members = self.buckets.members(signature);
            members.into_iter().min()
        })?;
        let beside = self.graph.neighbours(adrift).iter().chain([&adrift]);
        let degree = |v: u32| self.graph.neighbours(v).len();
        beside.copied().max_by_key(|v| (degree(*v), Reverse(*v)))
    }

    /// Whether this landmark is the only one of its component: then it sees no other.
    pub(super) fn is_anchor(&self, at: usize) -> bool {
        let row = self.matrix.row(self.landmarks[at]);
        row.iter()
            .enumerate()
            .all(|(column, d)| column == at || *d == FAR)
    }

    /// A set chosen from scratch for the graph as it is, a slice at a time, that leaves twins together.
    #[must_use]
    pub fn renewal(&self) -> Renewal {
        let stands = |v: u32| {
            let class = self
                .twins
                .as_ref()
                .and_then(|t| t.class(v, self.colours[v as usize]));
            self.has_edges(v) && class.is_none_or(|(class, _)| class.first() == Some(&v))
        };
        let own = |v: u32| {
            let class = self
                .twins
                .as_ref()
                .and_then(|t| t.class(v, self.colours[v as usize]));
            class.map_or(0, |(_, apart)| apart)
        };
        let parts: Vec<u32> = (0..self.graph.n() as u32).filter(|v| stands(*v)).collect();
        let known: Vec<u32> = self
            .landmarks
            .iter()
            .map(|l| {
                let class = self
                    .twins
                    .as_ref()
                    .and_then(|t| t.class(*l, self.colours[*l as usize]));
                class
                    .and_then(|(class, _)| class.first().copied())
                    .unwrap_or(*l)
            })
            .collect();
        let own = parts.iter().map(|v| own(*v)).collect();
        let colours: Vec<u32> = parts.iter().map(|v| self.colour(*v)).collect();
        Renewal::new(&self.graph, parts, own, &colours, &known)
    }
}
