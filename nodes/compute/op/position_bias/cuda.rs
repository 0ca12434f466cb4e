//! A bias as the kernels of attention read it: the table's values by head and distance, which they
//! add where they read the scores.
use super::PositionBiasDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Grid, RelativeBias};
use crate::gemm::Precision;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, Param, address, len};

pub(crate) type Bias = super::Bias<Cuda>;

pub struct ByDistance {
    /// The table's column of each head.
    columns: Memory,
    /// The bucket of each distance from -(n - 1) to n - 1, n being the frames of the longest row.
    buckets: Memory,
    /// The table's values, (heads, distances).
    values: Memory,
    /// 2n - 1
    distances: usize,
}

impl PositionBiasDevice for Cuda {
    type ByDistance = ByDistance;

    fn by_distance(
        table: &Param,
        columns: Vec<usize>,
        buckets: Vec<usize>,
        count: usize,
    ) -> ByDistance {
        let heads = columns.len();
        let distances = buckets.len();
        let by_distance = ByDistance {
            columns: gpu().upload(columns),
            buckets: gpu().upload(buckets),
            values: gpu().memory(Precision::F32, heads * distances),
            distances,
        };
        kernels::relative(
            grid(distances, heads),
            address(table),
            by_distance.values.at(),
            by_distance.buckets.at(),
            by_distance.columns.at(),
            distances,
            len(table) / count,
        );
        by_distance
    }
}

impl Bias {
    /// Returns a bias as kernels take it.
    pub(crate) fn argument(bias: Option<&Bias>) -> RelativeBias {
        bias.map_or(RelativeBias::NONE, |bias| RelativeBias {
            gate: address(&bias.gate.values),
            relative: bias.by_distance.values.at(),
            longest: bias.distances().div_ceil(2),
        })
    }

    /// Returns how many distances the frames of the longest row have from each other.
    pub fn distances(&self) -> usize {
        self.by_distance.distances
    }

    /// Opens the gradient of the gate, (frames, heads).
    pub fn gate_gradient(&self, g: &mut Grads<Cuda>) -> Address {
        g.of(&self.gate.values)
    }

    /// Adds to the table's gradient. `launch_sums` gets the address of dr, (heads, distances), and
    /// queues a kernel that writes it with a thread for each of its numbers.
    pub fn accumulate_table_gradient(
        &self,
        g: &mut Grads<Cuda>,
        launch_sums: impl FnOnce(Address, Grid),
    ) {
        let heads = self.gate.width();
        let dr = gpu().memory(Precision::F32, heads * self.distances());
        launch_sums(dr.at(), grid(self.distances(), heads));
        kernels::table_gradient(
            grid(self.count, heads),
            dr.at(),
            g.of(&self.table),
            self.by_distance.buckets.at(),
            self.by_distance.columns.at(),
            self.distances(),
            len(&self.table) / self.count,
        );
    }
}

/// Returns the grid of a kernel with a thread for each of `numbers` of each head.
fn grid(numbers: usize, heads: usize) -> Grid {
    [numbers.div_ceil(256), heads]
}
