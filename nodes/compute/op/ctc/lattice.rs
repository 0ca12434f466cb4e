//! The forward and backward variables of one row, as logarithms in f64.

/// The frames of a row, its labels, and ln α.
pub(super) struct Lattice<'a> {
    /// x (frames, classes)
    frames: &'a [f32],
    classes: usize,
    labels: &'a [u32],
    /// ln Σ_c exp x_tc of each frame.
    norms: Vec<f64>,
    /// ln α (frames, states)
    forward: Vec<f64>,
}

const NEVER: f64 = f64::NEG_INFINITY;

/// Returns ln(exp a + exp b).
fn ln_add(a: f64, b: f64) -> f64 {
    let larger = a.max(b);
    let smaller = a.min(b);
    if smaller == NEVER {
        larger
    } else {
        larger + (smaller - larger).exp().ln_1p()
    }
}

/// Returns ln Σ exp x.
fn ln_sum(x: &[f32]) -> f64 {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = x.iter().map(|x| (*x as f64 - largest).exp()).sum();
    largest + sum.ln()
}

impl<'a> Lattice<'a> {
    /// Computes ln α.
    ///
    /// # Panics
    /// If a label is no class or the blank.
    pub(super) fn new(frames: &'a [f32], classes: usize, labels: &'a [u32]) -> Lattice<'a> {
        for &label in labels {
            assert_ne!(label, 0, "label 0 is the blank");
            assert!(
                (label as usize) < classes,
                "label {label} of {classes} classes"
            );
        }
        let norms: Vec<f64> = frames.chunks_exact(classes).map(ln_sum).collect();
        let mut lattice = Lattice {
            frames,
            classes,
            labels,
            forward: vec![NEVER; norms.len() * (2 * labels.len() + 1)],
            norms,
        };
        lattice.fill_forward();
        lattice
    }

    fn count(&self) -> usize {
        self.norms.len()
    }

    fn states(&self) -> usize {
        2 * self.labels.len() + 1
    }

    /// Returns l'_s.
    fn class(&self, state: usize) -> usize {
        if state.is_multiple_of(2) {
            0
        } else {
            self.labels[state / 2] as usize
        }
    }

    /// Returns whether a path may go from state s - 2 to state s.
    fn skips_to(&self, state: usize) -> bool {
        !state.is_multiple_of(2) && state >= 3 && self.class(state) != self.class(state - 2)
    }

    /// Returns ln p_t(c).
    fn ln_p(&self, t: usize, class: usize) -> f64 {
        self.frames[t * self.classes + class] as f64 - self.norms[t]
    }

    /// Returns the states at frame t through which a path can reach the end from the start.
    fn reachable(&self, t: usize) -> std::ops::Range<usize> {
        let states = self.states();
        let first = states.saturating_sub(2 * (self.count() - t));
        first..states.min(2 * t + 2)
    }

    fn fill_forward(&mut self) {
        let states = self.states();
        for t in 0..self.count() {
            for s in self.reachable(t) {
                let from = if t == 0 {
                    0.0
                } else {
                    let before = &self.forward[(t - 1) * states..t * states];
                    let mut sum = before[s];
                    if s >= 1 {
                        sum = ln_add(sum, before[s - 1]);
                    }
                    if self.skips_to(s) {
                        sum = ln_add(sum, before[s - 2]);
                    }
                    sum
                };
                self.forward[t * states + s] = from + self.ln_p(t, self.class(s));
            }
        }
    }

    /// Returns ln P; `None` if no path spells the labels.
    pub(super) fn log_probability(&self) -> Option<f64> {
        let states = self.states();
        if self.count() == 0 {
            return self.labels.is_empty().then_some(0.0);
        }
        let last = &self.forward[(self.count() - 1) * states..];
        let mut total = last[states - 1];
        if states > 1 {
            total = ln_add(total, last[states - 2]);
        }
        (total != NEVER).then_some(total)
    }

    /// Returns d(-ln P)/dx · `scale`, (frames, classes). ln P must be finite.
    pub(super) fn slopes(&self, scale: f64) -> Vec<f64> {
        let states = self.states();
        let total = self.log_probability().unwrap_or(0.0);
        let mut slopes = Vec::with_capacity(self.frames.len());
        for (frame, norm) in self.frames.chunks_exact(self.classes).zip(&self.norms) {
            slopes.extend(frame.iter().map(|x| scale * (*x as f64 - norm).exp()));
        }
        // ln β_t and, of the frame after it, ln (β_{t+1} p_{t+1}).
        let mut backward = vec![NEVER; states];
        let mut after = vec![NEVER; states];
        for t in (0..self.count()).rev() {
            let reachable = self.reachable(t);
            for s in reachable.clone() {
                backward[s] = if t + 1 == self.count() {
                    0.0
                } else {
                    let mut sum = after[s];
                    if s + 1 < states {
                        sum = ln_add(sum, after[s + 1]);
                    }
                    if s + 2 < states && self.skips_to(s + 2) {
                        sum = ln_add(sum, after[s + 2]);
                    }
                    sum
                };
            }
            after.fill(NEVER);
            for s in reachable {
                let class = self.class(s);
                let share = (self.forward[t * states + s] + backward[s] - total).exp();
                slopes[t * self.classes + class] -= scale * share;
                after[s] = backward[s] + self.ln_p(t, class);
            }
        }
        slopes
    }
}
