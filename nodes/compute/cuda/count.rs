//! Counts what a layer of HuBERT Base in bf16 asks of the simulated GPU: the pass of two layers
//! less the pass of one. The counts, which docs/cuda.md shows, do not depend on the sizes.
use crate::gemm::Precision::Bf16;
use crate::math::Dropout;
use crate::op::check::noise;
use crate::op::{feed_forward, mean_square, residual_norm, self_attention};
use crate::tensor::cuda::{Cuda, Param, backward, hidden, param};
use crate::tensor::{Hidden, Spans, Tape};

/// Kernels, GEMMs, fills, allocations, copies from and to the host.
type Counts = [u64; 5];

unsafe extern "C" {
    fn simulated_counts_of_thread(to: *mut u64);
}

/// Returns what this thread has asked for so far.
fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: it writes that many numbers.
    unsafe { simulated_counts_of_thread(counts.as_mut_ptr()) };
    counts
}

fn difference(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|i| a[i] - b[i])
}

fn layer(x: Hidden<Tape<Cuda>, Cuda>, p: &[Param]) -> Hidden<Tape<Cuda>, Cuda> {
    let drop = Dropout { rate: 0.1, key: 1 };
    let weights = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| &p[i]);
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

/// Returns the counts of a forward and a backward pass.
fn pass(layers: &[Vec<Param>]) -> [Counts; 2] {
    let tape = Tape::default();
    let x = hidden(noise("x", 48), 8, Spans::new([4, 2])).on(&tape);
    let start = counts();
    let loss = mean_square(layers.iter().fold(x, |x, p| layer(x, p)));
    let middle = counts();
    drop(backward(loss, 1.0));
    [difference(middle, start), difference(counts(), middle)]
}

#[test]
fn a_layer() {
    const SIZES: [usize; 16] = [64, 8, 64, 8, 64, 8, 64, 8, 8, 8, 128, 16, 128, 8, 8, 8];
    let encoder: [Vec<Param>; 2] = [(); 2].map(|()| SIZES.map(|n| param(noise("p", n))).into());
    pass(&encoder); // makes the copies of weights in bf16
    let [forward_two, backward_two] = pass(&encoder);
    let [forward_one, backward_one] = pass(&encoder[..1]);
    let forward = difference(forward_two, forward_one);
    let backward = difference(backward_two, backward_one);
    println!(
        "kernels, GEMMs, fills, allocations, copies: {forward:?} forward, {backward:?} backward"
    );
    assert_eq!(forward, [4, 6, 2, 18, 1]);
    assert_eq!(backward, [18, 12, 20, 35, 0]);
}
