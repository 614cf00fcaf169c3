//! Distances that follow an edge: nearer from an end that has come nearer, further from one that has lost its way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::{Step, Tracked};
use crate::distance::FAR;
use crate::improve::hash;

impl Tracked {
    /// Distances from `near`, which has just become a neighbour of `far`.
    pub(super) fn come_nearer(&mut self, column: usize, near: u32, far: u32) -> usize {
        let next = self.matrix.row(near)[column] + 1;
        self.set(far, column, next);
        let mut n = 1;
        let mut queue = VecDeque::from([far]);
        while let Some(x) = queue.pop_front() {
            let next = self.matrix.row(x)[column] + 1;
            for at in 0..self.graph.neighbours(x).len() {
                let y = self.graph.neighbours(x)[at];
                if self.matrix.row(y)[column] > next {
                    self.set(y, column, next);
                    n += 1;
                    queue.push_back(y);
                }
            }
        }
        n
    }

    /// Distances after `deeper` has lost a neighbour that was nearer.
    pub(super) fn go_further(&mut self, column: usize, deeper: u32) -> usize {
        if self.has_nearer(column, deeper, 0) {
            return 0;
        }
        // Level by level: whoever has nobody nearer left that is not affected itself.
        self.mark += 1;
        let mark = self.mark;
        self.marks[deeper as usize] = mark;
        let mut affected = vec![deeper];
        let mut at = 0;
        while at < affected.len() {
            let x = affected[at];
            at += 1;
            let next = self.matrix.row(x)[column].saturating_add(1);
            for place in 0..self.graph.neighbours(x).len() {
                let y = self.graph.neighbours(x)[place];
                let is_next = self.matrix.row(y)[column] == next && next != FAR;
                if is_next && self.marks[y as usize] != mark && !self.has_nearer(column, y, mark) {
                    self.marks[y as usize] = mark;
                    affected.push(y);
                }
            }
        }
        let before: Vec<u16> = affected
            .iter()
            .map(|x| self.matrix.row(*x)[column])
            .collect();
        let mut heap = BinaryHeap::new();
        for x in &affected {
            let list = self.graph.neighbours(*x).iter();
            let others = list.filter(|y| self.marks[**y as usize] != mark);
            let nearest = others.map(|y| self.matrix.row(*y)[column]).min();
            let nearest = nearest.map_or(FAR, |d| d.saturating_add(1));
            self.matrix.row_mut(*x)[column] = nearest;
            if nearest != FAR {
                heap.push(Reverse((nearest, *x)));
            }
        }
        while let Some(Reverse((d, x))) = heap.pop() {
            if self.matrix.row(x)[column] < d {
                continue;
            }
            for place in 0..self.graph.neighbours(x).len() {
                let y = self.graph.neighbours(x)[place];
                let cell = &mut self.matrix.row_mut(y)[column];
                if self.marks[y as usize] == mark && *cell > d + 1 {
                    *cell = d + 1;
                    heap.push(Reverse((d + 1, y)));
                }
            }
        }
        for (x, was) in affected.iter().zip(before) {
            let now = self.matrix.row(*x)[column];
            self.resign(*x, column, was, now);
        }
        affected.len()
    }

    /// Whether a neighbour that is not marked lies one nearer.
    fn has_nearer(&self, column: usize, v: u32, mark: u32) -> bool {
        let Some(nearer) = self.matrix.row(v)[column].checked_sub(1) else {
            return true;
        };
        let mut list = self.graph.neighbours(v).iter();
        list.any(|w| {
            self.matrix.row(*w)[column] == nearer && (mark == 0 || self.marks[*w as usize] != mark)
        })
    }

    fn set(&mut self, v: u32, column: usize, distance: u16) {
        let was = std::mem::replace(&mut self.matrix.row_mut(v)[column], distance);
        self.resign(v, column, was, distance);
    }

    fn resign(&mut self, v: u32, column: usize, was: u16, now: u16) {
        let landmark = self.landmarks[column];
        let before = self.signatures[v as usize];
        self.moved.push((v, before));
        self.steps.push(Step {
            vertex: v,
            landmark,
            was,
            now,
        });
        self.signatures[v as usize] = before ^ hash(landmark, was) ^ hash(landmark, now);
    }
}
