//! [`crate::op::PositionBias`]: the table's numbers by head and distance, which are added where the scores are read.
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::heads::Heads;
use crate::cuda::kernels::{self, Grid, RelativeBias};
use crate::gemm::Precision;
use crate::op::{PositionBias, bucket};
use crate::tensor::cuda::{Cuda, Param, address, len};
use crate::tensor::{Grads, Hidden, NoneTape, Track, merge};

/// The launcher of [`kernels::relative`] or [`kernels::table_gradient`].
type Tables = fn(Grid, Address, Address, Address, Address, usize, usize);

/// A bias off its tape.
pub struct Bias {
    table: Param,
    pub gate: Hidden<NoneTape, Cuda>,
    buckets: usize,
    /// The bucket of each distance, and the table's column of each head.
    by_distance: Memory,
    columns: Memory,
    /// (heads, distances)
    relative: Memory,
    longest: usize,
}

impl Bias {
    pub fn join<T: Track<Cuda>>(tape: T, bias: Option<PositionBias<T, Cuda>>) -> (Option<Bias>, T) {
        let Some(PositionBias {
            table,
            columns,
            buckets,
            farthest,
            gate,
        }) = bias
        else {
            return (None, tape);
        };
        let (gate, other) = gate.split();
        let longest = gate.spans.lengths().max().unwrap_or(0).max(1);
        let of = |i: usize| bucket(i as isize - longest as isize + 1, buckets, farthest);
        let by_distance = gpu().upload((0..2 * longest - 1).map(of));
        let relative = gpu().memory(Precision::F32, columns.len() * (2 * longest - 1));
        let columns = gpu().upload(columns);
        let bias = Bias {
            table: table.clone(),
            gate,
            buckets,
            by_distance,
            columns,
            relative,
            longest,
        };
        bias.tables(
            kernels::relative,
            2 * longest - 1,
            address(table),
            bias.relative.at(),
        );
        (Some(bias), merge(tape, other))
    }

    pub fn places(&self) -> RelativeBias {
        RelativeBias {
            gate: address(&self.gate.values),
            relative: self.relative.at(),
            longest: self.longest,
        }
    }

    /// From the table to distances, or back; with a thread for each of `threads`.
    fn tables(&self, kernel: Tables, threads: usize, from: Address, to: Address) {
        let (grid, wide) = (
            [threads.div_ceil(256), self.gate.width()],
            len(&self.table) / self.buckets,
        );
        kernel(
            grid,
            from,
            to,
            self.by_distance.at(),
            self.columns.at(),
            2 * self.longest - 1,
            wide,
        );
    }

    /// Adds what the gradient of a map's scores gives to the gate of each frame, and to the table.
    pub fn pull_map(&self, heads: &Heads, ds: &Memory, g: &mut Grads<Cuda>) {
        let (places, sizes, padded, to) = (
            self.places(),
            heads.sizes,
            heads.padded,
            g.to(&self.gate.values),
        );
        kernels::bias_gate(
            heads.precision,
            heads.grid(),
            ds.at(),
            to,
            padded,
            sizes,
            places,
        );
        self.pull_table(g, |drelative, grid| {
            kernels::bias_relative(
                heads.precision,
                grid,
                ds.at(),
                drelative,
                heads.rows,
                padded,
                sizes,
                places,
            );
        });
    }

    /// Adds to the table's gradient; `relative` writes that of each head's distances, a thread for each.
    pub fn pull_table(&self, g: &mut Grads<Cuda>, relative: impl Fn(Address, [usize; 2])) {
        let (distances, heads) = (self.distances(), self.gate.width());
        let drelative = gpu().memory(Precision::F32, heads * distances);
        relative(drelative.at(), [distances.div_ceil(256), heads]);
        self.tables(
            kernels::table_gradient,
            self.buckets,
            drelative.at(),
            g.to(&self.table),
        );
    }

    /// From one frame to another of a row.
    pub fn distances(&self) -> usize {
        2 * self.longest - 1
    }
}

#[cfg(test)]
pub mod tests {
    use crate::op::PositionBias;
    use crate::op::check::Case;
    use crate::tensor::{Hidden, Param, Storage};

    const BUCKETS: usize = 12;

    /// Three maps to q, k and v, gates, a table for three heads, a map to the gates of its biases, a map of what comes out.
    pub fn case(rows: &[usize], width: usize, heads: usize) -> Case {
        let square = width * width;
        let sizes = [
            square,
            width,
            square,
            width,
            square,
            width,
            heads,
            BUCKETS * 3,
            heads * width,
            heads,
            square,
            width,
        ];
        Case::new(rows, width, &sizes).scaled((4.0 / width as f32).min(0.5))
    }

    /// Of the table's last heads.
    pub fn bias<T, D: Storage<f32>>(
        table: &Param<D>,
        gate: Hidden<T, D>,
        heads: usize,
    ) -> PositionBias<'_, T, D> {
        PositionBias {
            table,
            columns: (3 - heads..3).collect(),
            buckets: BUCKETS,
            farthest: 9,
            gate,
        }
    }
}
