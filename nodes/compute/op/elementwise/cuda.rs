//! [`crate::op::dropout`], [`crate::op::residual`], [`crate::op::gradient_scale`]: a lane a number.
use crate::cuda::gpu::{Address, for_each};
use crate::cuda::kernels::{self, Pack};
use crate::math::Dropout;
use crate::op::cuda::Mask;
use crate::tensor::cuda::{
    Cuda, Shape, Slot, Tensor, address, len, record, record_hidden, zeros_like,
};
use crate::tensor::{Hidden, Track, merge, split};

/// drop(x)
pub fn dropout<T: Track<Cuda>>(x: Hidden<T, Cuda>, drop: Dropout) -> Hidden<T, Cuda> {
    if drop.rate == 0.0 {
        return x;
    }
    let spans = x.spans;
    Hidden {
        values: times(x.values, [drop.into(); 2]),
        spans,
    }
}

/// x + drop(r)
pub fn residual<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    r: Hidden<T, Cuda>,
    drop: Dropout,
) -> Hidden<T, Cuda> {
    let ((x, tape), (r, other)) = (x.split(), r.split());
    let (n, y, mask) = (len(&x.values), zeros_like(&x.values), Mask::from(drop));
    let [from, branch, to] = [&x.values, &r.values, &y].map(address);
    kernels::residual(Pack::of(n), for_each(n, n), from, branch, to, n, mask);
    let (spans, [x, r]) = (x.spans.clone(), [x, r].map(|x| Slot::of(&x.values)));
    record_hidden(y, spans, merge(tape, other), move |dy, g| {
        add(dy, g.at(&x), n, Mask::times(1.0));
        add(dy, g.at(&r), n, mask);
    })
}

/// y = x, dx = factor · dy
pub fn gradient_scale<T: Track<Cuda>>(x: Hidden<T, Cuda>, factor: f32) -> Hidden<T, Cuda> {
    if factor == 1.0 {
        return x;
    }
    let spans = x.spans;
    Hidden {
        values: times(x.values, [1.0, factor].map(Mask::times)),
        spans,
    }
}

/// factor · x
pub fn scaled<S: Shape, T: Track<Cuda>>(
    x: Tensor<S, f32, Cuda, T>,
    factor: f32,
) -> Tensor<S, f32, Cuda, T> {
    times(x, [Mask::times(factor); 2])
}

/// y = x through one mask, dx = dy through the other.
fn times<S: Shape, T: Track<Cuda>>(
    x: Tensor<S, f32, Cuda, T>,
    masks: [Mask; 2],
) -> Tensor<S, f32, Cuda, T> {
    let (x, tape) = split(x);
    let (n, y, [forward, backward]) = (len(&x), zeros_like(&x), masks);
    add(address(&x), address(&y), n, forward);
    let x = Slot::of(&x);
    record(y, tape, move |dy, g| add(dy, g.at(&x), n, backward))
}

/// to += from through the mask.
pub fn add(from: Address, to: Address, n: usize, mask: Mask) {
    kernels::add(Pack::of(n), for_each(n, n), from, to, n, mask);
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::{agree, both};
    use crate::op;
    use crate::op::check::{Case, DROP, ROWS};

    #[test]
    fn dropout_and_residual_are_those_of_the_cpu() {
        for width in [11, 12] {
            let case = Case::new(&ROWS, width, &[]);
            both!(&case, |x, _p, _tape, _precision| dropout(x, DROP).values);
            both!(&case, |x, _p, _tape, _precision| residual(
                x.clone(),
                dropout(x, DROP.fork(0)),
                DROP
            )
            .values);
        }
    }

    #[test]
    fn only_the_gradient_is_scaled() {
        let (case, half) = (Case::new(&ROWS, 7, &[]), 0.5);
        let cpu = |x, _: &_, _: &_, _| op::cpu::gradient_scale(x, half).values;
        agree(&case, cpu, |x, _, _, _| {
            super::gradient_scale(x, half).values
        });
    }
}
