//! [`CombineFramesDevice`] by parallel loops over frames.
use super::{Combination, CombineFramesDevice};
use crate::parallel::for_each_chunk;
use crate::tensor::cpu::{Cpu, Matrix, read, tensor};
use crate::tensor::dimensions;

impl Combination {
    /// Adds the sums of the frames of `x` to `y`.
    fn add(&self, x: &[f32], y: &mut [f32], width: usize) {
        for_each_chunk(y, width, |frame, y| {
            let open = &self.open[self.rows[frame] * width..][..width];
            for place in self.sums.places(frame) {
                let weight = self.sums.weights[place];
                let source = &x[self.sums.sources[place] * width..][..width];
                for ((y, x), open) in y.iter_mut().zip(source).zip(open) {
                    *y += weight * open * x;
                }
            }
        });
    }
}

impl CombineFramesDevice for Cpu {
    type Plan = Combination;

    fn plan(combination: Combination) -> Combination {
        combination
    }

    fn forward(x: &Matrix, plan: &Combination) -> Matrix {
        let (frames, width) = dimensions(x);
        let mut y = vec![0.0; frames * width];
        plan.add(read(x), &mut y, width);
        tensor(y, (frames, width))
    }

    fn backward(dy: Vec<f32>, plan: &Combination, (_, width): (usize, usize), dx: &mut Vec<f32>) {
        plan.add(&dy, dx, width);
    }
}
