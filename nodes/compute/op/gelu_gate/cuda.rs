//! [`crate::op::gelu_gate`].
use crate::cuda::gpu::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::sums::Parts;
use crate::op::gate::cuda as gate;
use crate::tensor::cuda::{Cuda, Param, Vector, address, record_hidden, zeros_like};
use crate::tensor::{Hidden, Track};

/// `fixed` is a constant: it gets no gradient.
pub fn gelu_gate<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    gate: Option<&Vector<T>>,
    fixed: Option<&Param>,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (frames, width, spans) = (x.spans.total(), x.width(), x.spans.clone());
    let (n, y, from) = (frames * width, zeros_like(&x.values), address(&x.values));
    let (open, constant) = (gate.as_ref().map_or(0, address), fixed.map_or(0, address));
    kernels::gelu_gate(
        Pack::of(width),
        for_each(n, width),
        from,
        open,
        constant,
        address(&y),
        n,
        width,
    );
    let fixed = fixed.cloned();
    record_hidden(y, spans, tape, move |dy, g| {
        let (parts, dx) = (Parts::new(frames, width), g.to(&x.values));
        let constant = fixed.as_ref().map_or(0, address);
        kernels::gelu_gate_backward(
            Pack::of(width),
            parts.grid(),
            from,
            open,
            constant,
            dy,
            dx,
            parts.at(),
            frames,
            width,
            parts.per,
        );
        if let Some(gate) = &gate {
            parts.add(g.to(gate));
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn gelu_gate_is_that_of_the_cpu() {
        for width in [7, 12] {
            let case = Case::new(&ROWS, width, &[width]);
            let fixed = crate::op::check::noise("fixed", width);
            both!(&case, |x, p, tape, _precision| {
                gelu_gate(x, Some(&put(&p[0], tape)), Some(&param(fixed.clone()))).values
            });
            both!(&case, |x, _p, _tape, _precision| gelu_gate(x, None, None)
                .values);
        }
    }
}
