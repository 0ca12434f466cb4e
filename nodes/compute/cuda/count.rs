//! What a layer of HuBERT Base in bf16 asks of a GPU, counted on the simulated one; docs/cuda.md shows the numbers. They do not
//! depend on its sizes: a layer more is a pass of two less one of one.
use crate::gemm::Precision::Bf16;
use crate::math::Dropout;
use crate::op::check::noise;
use crate::op::cuda::{feed_forward, mean_square, residual_norm, self_attention};
use crate::tensor::cuda::{Cuda, Param, backward, hidden, param};
use crate::tensor::{Hidden, Spans, Tape};

/// Kernels, products, fills, allocations, copies from and to the host.
type Counts = [u64; 5];

unsafe extern "C" {
    fn simulated_counts_of_thread(to: *mut u64);
}

fn counted(f: impl FnOnce()) -> Counts {
    let now = || {
        let mut counts = Counts::default();
        // SAFETY: it writes that many numbers.
        unsafe { simulated_counts_of_thread(counts.as_mut_ptr()) };
        counts
    };
    let before = now();
    f();
    less(now(), before)
}

fn less(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|i| a[i] - b[i])
}

fn layer(x: Hidden<Tape<Cuda>, Cuda>, p: &[Param]) -> Hidden<Tape<Cuda>, Cuda> {
    let (drop, weights) = (
        Dropout { rate: 0.1, key: 1 },
        [0, 1, 2, 3, 4, 5, 6, 7].map(|i| &p[i]),
    );
    let branch = self_attention(x.clone(), weights, 2, None, None, drop, Bf16);
    let x = residual_norm(x, branch, drop, [&p[8], &p[9]], 1e-5, Bf16);
    let branch = feed_forward(
        x.clone(),
        [&p[10], &p[11], &p[12], &p[13]],
        None,
        drop,
        Bf16,
    );
    residual_norm(x, branch, drop, [&p[14], &p[15]], 1e-5, Bf16)
}

#[test]
fn a_layer() {
    const SIZES: [usize; 16] = [64, 8, 64, 8, 64, 8, 64, 8, 8, 8, 128, 16, 128, 8, 8, 8];
    let encoder: [Vec<Param>; 2] = [(); 2].map(|()| SIZES.map(|n| param(noise("p", n))).into());
    let pass = |layers: usize| {
        let (tape, mut loss) = (Tape::default(), None);
        let x = hidden(noise("x", 48), 8, Spans::new([4, 2])).on(&tape);
        let forward = counted(|| {
            loss = Some(mean_square(
                encoder[..layers].iter().fold(x, |x, p| layer(x, p)),
            ))
        });
        [
            forward,
            counted(|| drop(backward(loss.expect("a loss"), 1.0))),
        ]
    };
    pass(2); // makes the copies of weights
    let (two, one) = (pass(2), pass(1));
    let [forward, back] = [0, 1].map(|i| less(two[i], one[i]));
    println!("kernels, products, fills, allocations, copies: {forward:?} forward, {back:?} back");
    assert_eq!((forward, back), ([4, 6, 2, 18, 1], [22, 12, 20, 40, 0]));
}
