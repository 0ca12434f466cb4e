//! One head of one row, as a task computes it on its thread, a block of queries at a time:
//! P = softmax(S / √d) with S = QKᵀ + √d bias. q, k (frames, heads · d); S, P (queries, frames).
//! A head of q is a view with row stride heads · d: nothing is transposed.
//!
//! A row of up to [`WHOLE`] frames is one block. A longer one has blocks of so few queries that
//! memory grows with the frames, not with their square. Forward passes may take blocks of fewer
//! queries, whose P stays in L2 ([`Head::in_cache`]). A row of S, P and o
//! depends on its own query alone, so blocks change none of their bits; sums over queries (dk, dv)
//! are rounded in another order.
//!
//! Where P is read as gate drop(P), with D = drop ∘ dP and m = Σ_keys D ∘ P for each query:
//!   dgate = Σ m, dS = gate P ∘ (D - m) / √d, dq = dS k, dk = dSᵀ q;
//! the bias: [`crate::op::position_bias`].
use crate::gemm::{Out, Packed, Precision, Shape, View, gemm_serial};
use crate::math::{Dropout, exp, largest, sum};
use crate::op::attention::AttentionHeads;
use crate::op::position_bias::cpu::{HeadBias, HeadBiasGradient, HeadBiasSums};
use crate::parallel::wide;
use crate::tensor::cpu::{Cpu, read};
use std::ops::Range;

/// Most frames of a row whose queries are one block.
pub(crate) const WHOLE: usize = 1024;
/// About how many numbers the P of a block of a longer row has.
const BLOCK: usize = 1 << 18;
/// The same where nothing is summed over queries: 256 KiB, half of a core's L2 or less.
const BLOCK_IN_CACHE: usize = 1 << 16;
/// Fewest queries of a block, for products that are worth their packing.
const MIN_QUERIES: usize = 48;

/// One head of one row.
pub struct Head<'a> {
    /// Its number among the heads of a row.
    index: usize,
    /// The frames of its row.
    frames: Range<usize>,
    /// The most queries of a block.
    queries: usize,
    /// Channels of the head, d, and of all heads.
    d: usize,
    width: usize,
    pub gate: f32,
    pub drop: Dropout,
    bias: Option<HeadBias<'a>>,
    precision: Precision,
}

/// What a head's backward pass sums over its queries.
pub struct HeadSums {
    pub dgate: f32,
    bias: Option<HeadBiasSums>,
}

/// k or v of a head, as the right operand (k, n) of a product with each block of queries.
pub enum Factor<'a> {
    /// For the only block: the product packs it into the thread's buffer.
    Once {
        precision: Precision,
        n: usize,
        k: usize,
        b: View<'a>,
    },
    Packed(Packed<'a>),
}

impl Factor<'_> {
    /// Computes c = a b or c += a b, for a (m, k).
    pub fn multiply(&self, m: usize, a: View, c: Out) {
        match *self {
            Factor::Once { precision, n, k, b } => {
                gemm_serial(precision, Shape { m, n, k }, a, b, c)
            }
            Factor::Packed(ref packed) => packed.multiply(m, a, c),
        }
    }
}

impl AttentionHeads<Cpu> {
    /// Returns the number of heads of all rows.
    pub fn count(&self) -> usize {
        self.spans.rows() * self.per_row
    }

    /// Returns head number `i` of all rows, or `None` in a row without frames.
    pub fn get(&self, i: usize) -> Option<Head<'_>> {
        let frames = self.spans.of(i / self.per_row);
        if frames.is_empty() {
            return None;
        }
        let index = i % self.per_row;
        let d = self.width / self.per_row;
        let bias = self.bias.as_ref();
        Some(Head {
            index,
            bias: bias.map(|bias| bias.of_head(index, &frames, scale(d))),
            queries: queries_of_summed_blocks(frames.len()),
            frames,
            d,
            width: self.width,
            gate: self.gate.as_ref().map_or(1.0, |gate| read(gate)[index]),
            drop: self.drop.fork(i as u32),
            precision: self.precision,
        })
    }
}

impl Head<'_> {
    /// Returns the number of frames.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Returns the head with blocks of so few queries that P stays in L2.
    pub fn in_cache(self) -> Self {
        let n = self.frames();
        Head {
            queries: (BLOCK_IN_CACHE / n).max(MIN_QUERIES).min(n),
            ..self
        }
    }

    /// Returns the most queries of a block.
    pub fn queries_per_block(&self) -> usize {
        self.queries
    }

    /// Iterates over the blocks of queries, as ranges of the row's frames.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let n = self.frames();
        let most = self.queries;
        (0..n)
            .step_by(most)
            .map(move |first| first..n.min(first + most))
    }

    /// Returns the index of the head's first number in q, k, v and o.
    pub fn first(&self) -> usize {
        self.first_of(0)
    }

    /// Returns the index of the head's first number of a frame of the row.
    pub fn first_of(&self, frame: usize) -> usize {
        (self.frames.start + frame) * self.width + self.index * self.d
    }

    /// Returns the head's numbers in q, k, v or o, from a frame of the row on.
    pub fn view<'a>(&self, x: &'a [f32], frame: usize) -> View<'a> {
        View::rows(&x[self.first_of(frame)..], self.width)
    }

    /// Prepares k or v (n, d) for products (queries, n) · (n, d).
    pub fn factor<'a>(&self, x: &'a [f32]) -> Factor<'a> {
        self.factor_of(self.d, self.frames(), self.view(x, 0))
    }

    /// Prepares kᵀ or vᵀ (d, n) for products (queries, d) · (d, n).
    pub fn transposed_factor<'a>(&self, x: &'a [f32]) -> Factor<'a> {
        self.factor_of(self.frames(), self.d, self.view(x, 0).t())
    }

    fn factor_of<'a>(&self, n: usize, k: usize, b: View<'a>) -> Factor<'a> {
        if self.frames() <= self.queries {
            Factor::Once {
                precision: self.precision,
                n,
                k,
                b,
            }
        } else {
            Factor::Packed(Packed::new(self.precision, n, k, b))
        }
    }

    /// Writes P of these queries over what is in `p`; q begins at the first of them.
    pub fn probabilities(&self, queries: &Range<usize>, q: View, keys: &Factor, p: &mut [f32]) {
        let n = self.frames();
        let scale = scale(self.d);
        keys.multiply(queries.len(), q, Out::set(p, n));
        if let Some(bias) = &self.bias {
            bias.add(queries, p);
        }
        wide!(for row in p.chunks_exact_mut(n) {
            let max = largest(row);
            row.iter_mut().for_each(|x| *x = exp((*x - max) * scale));
            let inverse = 1.0 / sum(n, |i| row[i]);
            row.iter_mut().for_each(|x| *x *= inverse);
        });
    }

    /// Turns P of these queries into gate drop(P).
    pub fn drop_and_gate(&self, queries: &Range<usize>, p: &mut [f32]) {
        wide!({
            self.drop.apply(queries.start * self.frames(), p);
            if self.gate != 1.0 {
                p.iter_mut().for_each(|p| *p *= self.gate);
            }
        })
    }

    /// Adds xᵀ y to `to` (n, d), for x (queries, n) and y (queries, d).
    pub fn add_to_frames(&self, queries: &Range<usize>, x: &[f32], y: View, to: Out) {
        let shape = Shape {
            m: self.frames(),
            n: self.d,
            k: queries.len(),
        };
        let transposed = View::rows(x, self.frames()).t();
        gemm_serial(self.precision, shape, transposed, y, to);
    }

    /// Returns sums over no queries.
    pub fn no_sums(&self) -> HeadSums {
        HeadSums {
            dgate: 0.0,
            bias: self.bias.as_ref().map(HeadBias::no_sums),
        }
    }

    /// Turns dP / gate of these queries into dS, in place.
    pub fn scores_gradient(
        &self,
        queries: &Range<usize>,
        p: &[f32],
        ds: &mut [f32],
        sums: &mut HeadSums,
    ) {
        let n = self.frames();
        let factor = scale(self.d) * self.gate;
        wide!({
            self.drop.apply(queries.start * n, ds);
            for (p, ds) in p.chunks_exact(n).zip(ds.chunks_exact_mut(n)) {
                let mean = sum(n, |i| p[i] * ds[i]);
                sums.dgate += mean;
                ds.iter_mut()
                    .zip(p)
                    .for_each(|(ds, p)| *ds = p * (*ds - mean) * factor);
            }
        });
        if let (Some(bias), Some(sums)) = (&self.bias, &mut sums.bias) {
            bias.accumulate(queries, ds, sums);
        }
    }

    /// Returns dgate and the gradients of the bias, from sums over all queries.
    pub fn gradients(&self, sums: HeadSums) -> (f32, Option<HeadBiasGradient>) {
        let of_bias = self.bias.as_ref().zip(sums.bias);
        (sums.dgate, of_bias.map(|(bias, sums)| bias.gradient(sums)))
    }
}

/// Returns the most queries of a block of a row, where sums over queries are rounded by blocks.
fn queries_of_summed_blocks(frames: usize) -> usize {
    if frames <= WHOLE {
        frames
    } else {
        (BLOCK / frames).max(MIN_QUERIES)
    }
}

/// Returns 1 / √d.
fn scale(d: usize) -> f32 {
    1.0 / (d as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Spans;

    #[test]
    fn blocks_are_all_queries_in_bounded_memory() {
        let lengths = [1, WHOLE, WHOLE + 1, 6001, 90_000];
        let heads = AttentionHeads::<Cpu> {
            spans: Spans::new(lengths),
            width: 4,
            per_row: 1,
            gate: None,
            bias: None,
            drop: Dropout::NONE,
            precision: Precision::F32,
        };
        for (row, n) in lengths.into_iter().enumerate() {
            let head = heads.get(row).expect("frames");
            let all: Vec<usize> = (0..n).collect();
            assert_eq!(head.blocks().flatten().collect::<Vec<_>>(), all);
            let numbers = head.queries_per_block() * n;
            assert!(numbers <= (WHOLE * WHOLE).max(MIN_QUERIES * n), "{n}");

            let head = head.in_cache();
            assert_eq!(head.blocks().flatten().collect::<Vec<_>>(), all);
            let numbers = head.queries_per_block() * n;
            assert!(numbers <= BLOCK_IN_CACHE.max(MIN_QUERIES * n), "{n}");
        }
    }
}
