//! [`crate::op::position_gate`].
use crate::cuda::gpu::{for_each, gpu};
use crate::cuda::kernels::{self, GateHeads};
use crate::cuda::sums::{Parts, add_column_sums};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Track};

/// `heads`: which of all heads there are.
pub fn position_gate<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    [w, b, c]: [&Param; 3],
    heads: &[usize],
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (frames, d, spans, count) = (x.spans.total(), len(w) / 8, x.spans.clone(), heads.len());
    let heads = gpu().upload(heads.iter().copied());
    let of = GateHeads {
        heads: heads.at(),
        count,
        all: x.width() / d,
        d,
    };
    let maps = gpu().memory(Precision::F32, 2 * d + 2);
    kernels::sum_maps(for_each(2 * d + 2, 1), address(w), address(b), maps.at(), d);
    let (ab, y, grid) = (
        gpu().memory(Precision::F32, 2 * frames * count),
        zeros((frames, count)),
        [frames.div_ceil(8), count],
    );
    let from = address(&x.values);
    kernels::position_gate(
        grid,
        from,
        maps.at(),
        address(c),
        ab.at(),
        address(&y),
        frames,
        of,
    );
    let [w, b, c] = [w, b, c].map(Param::clone);
    record_hidden(y, spans, tape, move |dy, g| {
        let _heads = &heads;
        let [du, dc] = [2, 1].map(|n| gpu().memory(Precision::F32, n * frames * count));
        let (factors, dx) = (address(&c), g.to(&x.values));
        kernels::position_gate_backward(
            grid,
            dy,
            ab.at(),
            maps.at(),
            factors,
            du.at(),
            dc.at(),
            dx,
            frames,
            of,
        );
        let (size, parts, dmaps) = (
            2 * d + 2,
            Parts::new(frames, 2 * d + 2),
            gpu().zeros(2 * d + 2),
        );
        let grid = [size.div_ceil(256), parts.count()];
        kernels::map_sums(grid, du.at(), from, parts.at(), frames, parts.per, of);
        parts.add(dmaps.at());
        kernels::spread_maps(for_each(8 * d, 1), dmaps.at(), g.to(&w), g.to(&b), d);
        let sums = gpu().zeros(count);
        add_column_sums(dc.at(), sums.at(), frames, count);
        kernels::spread_heads(for_each(count, 1), sums.at(), g.to(&c), of);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn position_gate_is_that_of_the_cpu() {
        for (all, heads) in [(3, &[0, 1, 2][..]), (4, &[3, 1]), (2, &[])] {
            let case = Case::new(&ROWS, all * 5, &[40, 8, all]);
            both!(&case, |x, p, _tape, _precision| position_gate(
                x,
                [&p[0], &p[1], &p[2]],
                heads
            )
            .values);
        }
    }
}
