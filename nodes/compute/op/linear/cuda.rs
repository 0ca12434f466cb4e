//! [`crate::op::linear`]: products, and a pass that adds the bias.
use crate::cuda::gpu::{Address, for_each};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, Slot, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Track};

pub fn linear<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    w: &Param,
    b: &Param,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (frames, width, out) = (x.spans.total(), x.width(), len(b));
    let [rows, weight] = [
        Factor::of(precision, &x.values),
        Factor::weight(precision, w),
    ];
    let y = zeros((frames, out));
    let to = Out::Wide(View::rows(address(&y), out));
    product(
        precision,
        [frames, out, width],
        rows.rows(width),
        weight.rows(width).t(),
        to,
    );
    add_row(address(&y), b, frames);

    let (x, w, b, spans) = (Slot::of(&x.values), w.clone(), b.clone(), x.spans);
    record_hidden(y, spans, tape, move |dy, g| {
        let grad = Factor::at(precision, dy, frames * out);
        let dw = Out::Add(View::rows(g.to(&w), width));
        product(
            precision,
            [out, width, frames],
            grad.rows(out).t(),
            rows.rows(width),
            dw,
        );
        add_column_sums(dy, g.to(&b), frames, out);
        let dx = Out::Add(View::rows(g.at(&x), width));
        product(
            precision,
            [frames, width, out],
            grad.rows(out),
            weight.rows(width),
            dx,
        );
    })
}

/// y += b in each of `rows`.
pub fn add_row(y: Address, b: &Param, rows: usize) {
    let width = len(b);
    kernels::add_row(
        Pack::of(width),
        for_each(rows * width, width),
        y,
        address(b),
        rows * width,
        width,
    );
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn linear_is_that_of_the_cpu() {
        for width in [5, 8, 12] {
            let case = Case::new(&ROWS, width, &[20 * width, 20]);
            both!(&case, |x, p, _tape, precision| linear(
                x, &p[0], &p[1], precision
            )
            .values);
        }
    }
}
