//! [`crate::op::positional`]: blocks of frames stand for frames, so that k / 16 wide products do the work of k narrow ones
//! (kernels/positional.cu). Kept: the slots, the weight as written out, and u = conv + b.
use super::sums::add_column_sums;
use crate::cuda::gpu::{Address, Memory, for_each, gpu, kernel, launch};
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Spans, Track};

/// Frames of a block.
const PLACES: usize = 16;

/// `Blocks` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
struct Blocks {
    starts: Address,
    slots: Address,
    total: usize,
    k: usize,
    c: usize,
    places: usize,
}

pub fn positional<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    [g, v, b]: [&Param; 3],
    groups: usize,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (width, k, spans, n) = (x.width(), len(g), x.spans.clone(), len(v));
    let (c, window, before) = (width / groups, PLACES + k - 1, k / 2);
    let slots = |frames: usize| if frames == 0 { 0 } else { frames.div_ceil(PLACES) + (window - 1) / PLACES };
    let slots = Spans::new(spans.lengths().map(slots));
    let memory = [&spans, &slots].map(|spans| gpu().starts(spans));
    let [starts, of_slots] = memory.each_ref().map(Memory::at);
    let at = Blocks { starts, slots: of_slots, total: slots.total(), k, c, places: PLACES };
    let grid = [slots.lengths().max().unwrap_or(0) * PLACES / 8, spans.rows()];

    let (norms, written) = (gpu().memory(Precision::F32, 2 * k), n / k * PLACES * window);
    launch!("tap_norms", [k, 1], address(v), norms.at(), n / k, k);
    let (taps, name) = (gpu().memory(precision, written), precision.kernel("write_out", 1));
    launch!(name, for_each(written, 1), address(v), address(g), norms.at(), taps.at(), written, at);
    let blocks = gpu().memory(precision, slots.total() * PLACES * width);
    let (name, from) = (precision.kernel("into_blocks", 1), address(&x.values));
    launch!(name, grid, from, blocks.at(), width, before, at);

    // Products of one group, and of the next so far apart; the last slots begin no window.
    let (block, count) = (PLACES * c, slots.total().saturating_sub((window - 1) / PLACES));
    let slots = move |memory: &Memory, from: usize| View::rows(memory.element(from), block).apart(at.total * block);
    let weights =
        move |memory: &Memory, from: usize| View::rows(memory.element(from), window * c).apart(block * window * c);
    let parts = move || (0..window).step_by(PLACES).map(move |tap| (tap * c, PLACES.min(window - tap) * c));
    let out = gpu().zeros(at.total * PLACES * width);
    for (from, wide) in parts() {
        let (x, w, to) = (slots(&blocks, from), weights(&taps, from).t(), Out::Add(slots(&out, 0)));
        products(precision, groups, [count, block, wide], x, w, to);
    }
    let (u, y) = (gpu().memory(Precision::F32, spans.total() * width), zeros((spans.total(), width)));
    launch!(kernel("positional", 1), grid, from, out.at(), address(b), u.at(), address(&y), width, at);
    drop(out);

    let [g_, v, b] = [g, v, b].map(Param::clone);
    record_hidden(y, spans.clone(), tape, move |dy, g| {
        let _places = &memory;
        let len = spans.total() * width;
        launch!("positional_slope", for_each(len, 1), dy, u.at(), len);
        add_column_sums(u.at(), g.to(&b), spans.total(), width);
        let grad = gpu().memory(precision, at.total * PLACES * width);
        launch!(precision.kernel("into_blocks", 1), grid, u.at(), grad.at(), width, 0usize, at);
        let dtaps = gpu().memory(Precision::F32, written);
        let dslots = gpu().zeros(at.total * PLACES * width);
        for (from, wide) in parts() {
            let (grad, x) = (slots(&grad, 0), slots(&blocks, from));
            products(precision, groups, [block, wide, count], grad.t(), x, Out::Wide(weights(&dtaps, from)));
            let to = Out::Add(slots(&dslots, from));
            products(precision, groups, [count, wide, block], grad, weights(&taps, from), to);
        }
        launch!(kernel("positional_backward", 1), grid, dy, dslots.at(), g.to(&x.values), width, before, at);
        let (dw, along) = (gpu().memory(Precision::F32, n), gpu().memory(Precision::F32, 2 * k));
        launch!("sum_places", for_each(n, 1), dtaps.at(), dw.at(), n, at);
        let (of_v, norms, along) = (address(&v), norms.at(), along.at());
        launch!("tap_gradients", [k, 1], dw.at(), of_v, norms, along, g.to(&g_), n / k, k, c);
        launch!("direction_gradient", for_each(n, 1), dw.at(), of_v, address(&g_), norms, along, g.to(&v), n, k, c);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn positional_is_that_of_the_cpu() {
        for (width, groups, k) in [(6, 2, 4), (8, 2, 19), (6, 3, 3), (7, 1, 40), (4, 2, 1)] {
            let case = Case::new(&ROWS, width, &[k, width * width / groups * k, width]);
            both!(&case, |x, p, _tape, precision| positional(x, [&p[0], &p[1], &p[2]], groups, precision).values);
        }
    }
}
