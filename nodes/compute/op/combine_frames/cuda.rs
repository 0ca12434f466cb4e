//! [`CombineFramesDevice`] by a kernel with a thread for each number of the sums.
use super::{Combination, CombineFramesDevice};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, param, zeros};
use crate::tensor::dimensions;

/// A combination whose lists are uploaded; the starts end with the number of sources.
pub struct Plan {
    starts: Memory,
    sources: Memory,
    weights: Param,
    rows: Memory,
    open: Param,
}

impl Plan {
    /// Queues the addition of the sums of the frames of `x` to `y`.
    fn add(&self, x: Address, y: Address, (frames, width): (usize, usize)) {
        kernels::combine_frames(
            for_each(frames * width, 1),
            x,
            self.starts.at(),
            self.sources.at(),
            address(&self.weights),
            self.rows.at(),
            address(&self.open),
            y,
            frames * width,
            width,
        );
    }
}

impl CombineFramesDevice for Cuda {
    type Plan = Plan;

    fn plan(combination: Combination) -> Plan {
        let Combination { sums, rows, open } = combination;
        let mut starts = sums.starts;
        starts.push(sums.sources.len());
        Plan {
            starts: gpu().upload(starts),
            sources: gpu().upload(sums.sources),
            weights: param(sums.weights),
            rows: gpu().upload(rows),
            open: param(open),
        }
    }

    fn forward(x: &Matrix, plan: &Plan) -> Matrix {
        let shape = dimensions(x);
        let y = zeros(shape);
        plan.add(address(x), address(&y), shape);
        y
    }

    fn backward(dy: Address, plan: &Plan, shape: (usize, usize), dx: Address) {
        plan.add(dy, dx, shape);
    }
}
