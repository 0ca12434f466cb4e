//! [`LayerMixDevice`] by a pass and a dot product for each layer; the few weights are read.
use super::{LayerMixDevice, softmax};
use crate::cuda::elementwise::add;
use crate::cuda::gpu::Address;
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::op::passes::Passes;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, param, read, zeros_like};

impl LayerMixDevice for Cuda {
    fn forward(layers: &[Matrix], w: &Param) -> (Matrix, Vec<f32>) {
        let p = softmax(&read(w));
        let y = zeros_like(&layers[0]);
        for (x, share) in layers.iter().zip(&p) {
            add(address(x), address(&y), len(x), Mask::times(*share));
        }
        (y, p)
    }

    fn backward(dy: Address, layers: &[Matrix], p: &[f32], dw: Address) {
        let count = layers.len();
        let dots = param(vec![0.0; count]);
        for (l, x) in layers.iter().enumerate() {
            let dot = address(&dots) + (l * size_of::<f32>()) as Address;
            Cuda::add_dot(x, &dy, dot);
        }
        let p = param(p.to_vec());
        kernels::add_softmax_gradient(for_each(count, 1), address(&p), address(&dots), dw, count);
    }
}
