//! [`crate::op::norm_projection`].
use crate::cuda::elementwise::add_row;
use crate::cuda::gpu::{for_each, gpu};
use crate::cuda::kernels::{self, Added};
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::op::layer_norm::cuda::Norm;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Track};

pub fn norm_projection<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    [gamma, beta, w, b, folded]: [&Param; 5],
    eps: f32,
    norm_width: usize,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (frames, width, out, spans) = (x.spans.total(), x.width(), len(b), x.spans.clone());
    let (shape, h) = (
        [frames, width, norm_width],
        gpu().memory(precision, frames * width),
    );
    let to = if precision == Precision::Bf16 {
        [0, h.at()]
    } else {
        [h.at(), 0]
    };
    let norm = Norm::of(
        shape,
        (precision, address(&x.values), Added::NOTHING),
        [gamma, beta],
        eps,
        to,
    );
    let p = gpu().memory(Precision::F32, frames);
    kernels::shares_of_mean(for_each(frames, 1), norm.stats.at(), p.at(), frames);

    let (rows, weight, y) = (
        View::of(&h, width),
        Factor::weight(precision, w),
        zeros((frames, out)),
    );
    let to = View::rows(address(&y), out);
    product(
        precision,
        [frames, out, width],
        rows,
        weight.rows(width).t(),
        Out::Wide(to),
    );
    let outer = View::rows(address(folded), out);
    product(
        Precision::F32,
        [frames, out, 1],
        View::of(&p, 1),
        outer,
        Out::Add(to),
    );
    add_row(address(&y), address(b), frames, len(b));

    let [w, b, folded] = [w, b, folded].map(Param::clone);
    record_hidden(y, spans, tape, move |dy, g| {
        let (grad, wide) = (Factor::at(precision, dy, frames * out), View::rows(dy, out));
        add_column_sums(dy, g.to(&b), frames, out);
        let dw = Out::Add(View::rows(g.to(&w), width));
        product(
            precision,
            [out, width, frames],
            grad.rows(out).t(),
            View::of(&h, width),
            dw,
        );
        let dfolded = Out::Add(View::rows(g.to(&folded), out));
        product(
            Precision::F32,
            [1, out, frames],
            View::of(&p, 1).t(),
            wide,
            dfolded,
        );
        let [dp, dh] = [1, width].map(|width| gpu().memory(Precision::F32, frames * width));
        let across = View::rows(address(&folded), 1);
        product(
            Precision::F32,
            [frames, 1, out],
            wide,
            across,
            Out::Wide(View::of(&dp, 1)),
        );
        let to = Out::Wide(View::of(&dh, width));
        product(
            precision,
            [frames, width, out],
            grad.rows(out),
            weight.rows(width),
            to,
        );
        let dx = g.to(&x.values);
        norm.pull(dh.at(), dp.at(), dx, 0, g);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn norm_projection_is_that_of_the_cpu() {
        for (width, over) in [(5, 5), (5, 14), (8, 12)] {
            let case = Case::new(&ROWS, width, &[width, width, 12 * width, 12, 12]);
            both!(&case, |x, p, _tape, precision| {
                norm_projection(
                    x,
                    [&p[0], &p[1], &p[2], &p[3], &p[4]],
                    1e-2,
                    over,
                    precision,
                )
                .values
            });
        }
    }
}
