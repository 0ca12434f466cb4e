//! [`GeluGateDevice`] by one kernel each way.
use super::GeluGateDevice;
use crate::cuda::gpu::Address;
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::sums::Parts;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, zeros_like};
use crate::tensor::{Grads, dimensions};

impl GeluGateDevice for Cuda {
    /// `fixed`
    type Factors = Option<Param>;

    fn forward(x: &Matrix, gate: Option<&Param>, fixed: Option<&Param>) -> (Matrix, Option<Param>) {
        let (frames, width) = dimensions(x);
        let numbers = frames * width;
        let y = zeros_like(x);
        kernels::gelu_gate(
            Pack::of(width),
            for_each(numbers, width),
            address(x),
            gate.map_or(0, address),
            fixed.map_or(0, address),
            address(&y),
            numbers,
            width,
        );
        (y, fixed.cloned())
    }

    fn backward(
        dy: Address,
        x: &Matrix,
        gate: Option<&Param>,
        fixed: &Option<Param>,
        g: &mut Grads<Cuda>,
    ) {
        let (frames, width) = dimensions(x);
        let dgate = Parts::new(frames, width);
        kernels::gelu_gate_backward(
            Pack::of(width),
            dgate.grid(),
            address(x),
            gate.map_or(0, address),
            fixed.as_ref().map_or(0, address),
            dy,
            g.of(x),
            dgate.of_sum(0),
            frames,
            width,
            dgate.per,
        );
        if let Some(gate) = gate {
            dgate.add([g.of(gate)]);
        }
    }
}
