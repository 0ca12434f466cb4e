//! [`SpliceDevice`] by parallel loops: over the frames of y, backward over those of x.
use super::{SpliceDevice, Spliced};
use crate::parallel::for_each_chunk;
use crate::tensor::cpu::{Cpu, Matrix, read, tensor};

impl SpliceDevice for Cpu {
    fn forward(x: &Matrix, spliced: &Spliced) -> Matrix {
        let width = spliced.width;
        let sources = spliced.first_frames();
        let joined = spliced.context.frames * width;
        let x = read(x);
        let mut y = vec![0.0; sources.len() * joined];
        for_each_chunk(&mut y, joined, |frame, y| {
            for (j, y) in y.chunks_exact_mut(width).enumerate() {
                let source = sources[frame] + j * spliced.context.dilation;
                y.copy_from_slice(&x[source * width..][..width]);
                if spliced.rectifies {
                    y.iter_mut().for_each(|y| *y = y.max(0.0));
                }
            }
        });
        tensor(y, (sources.len(), joined))
    }

    fn backward(dy: Vec<f32>, x: &Matrix, spliced: &Spliced, dx: &mut Vec<f32>) {
        let width = spliced.width;
        let context = spliced.context;
        let readers = spliced.readers();
        let x = read(x);
        for_each_chunk(dx, width, |frame, dx| {
            let x = &x[frame * width..][..width];
            let [window, first, end] = readers[frame];
            for j in 0..context.frames {
                let distance = j * context.dilation;
                if window < first + distance || window - distance >= end {
                    continue;
                }
                let part = (window - distance) * context.frames + j;
                let dy = &dy[part * width..][..width];
                for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
                    if !spliced.rectifies || *x > 0.0 {
                        *dx += dy;
                    }
                }
            }
        });
    }
}
