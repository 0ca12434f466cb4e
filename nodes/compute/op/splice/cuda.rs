//! [`SpliceDevice`] by kernels with a thread for each number of y, backward of x.
use super::{SpliceDevice, Spliced};
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, SplicedFrames};
use crate::tensor::cuda::{Cuda, Matrix, address, zeros};
use crate::tensor::dimensions;

impl Spliced {
    fn frames(&self) -> SplicedFrames {
        SplicedFrames {
            frames: self.context.frames,
            dilation: self.context.dilation,
            width: self.width,
            rectifies: self.rectifies.into(),
        }
    }
}

impl SpliceDevice for Cuda {
    fn forward(x: &Matrix, spliced: &Spliced) -> Matrix {
        let sources = spliced.first_frames();
        let y = zeros((sources.len(), spliced.context.frames * spliced.width));
        let n = sources.len() * spliced.context.frames * spliced.width;
        let sources = gpu().upload(sources);
        kernels::splice(
            for_each(n, 1),
            address(x),
            sources.at(),
            address(&y),
            n,
            spliced.frames(),
        );
        y
    }

    fn backward(dy: Address, x: &Matrix, spliced: &Spliced, dx: Address) {
        let (frames, width) = dimensions(x);
        let n = frames * width;
        let readers = gpu().upload(spliced.readers().concat());
        kernels::splice_backward(
            for_each(n, 1),
            dy,
            address(x),
            readers.at(),
            dx,
            n,
            spliced.frames(),
        );
    }
}
