//! [`crate::op::cosine_logits`].
use crate::cuda::elementwise::add;
use crate::cuda::gpu::{Address, Memory, for_rows, gpu};
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::product::{Out, View, product};
use crate::gemm::Precision::F32;
use crate::tensor::cuda::{Cuda, Param, Slot, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Track};

pub fn cosine_logits<T: Track<Cuda>>(
    z: Hidden<T, Cuda>,
    e: &Param,
    temperature: f32,
) -> Hidden<T, Cuda> {
    let (z, tape) = z.split();
    let (frames, width, unit) = (z.spans.total(), z.width(), 1.0 / temperature);
    let classes = len(e) / width;
    let (u, v) = (
        Units::of(address(&z.values), frames, width),
        Units::of(address(e), classes, width),
    );
    let (cosines, y) = (
        gpu().memory(F32, frames * classes),
        zeros((frames, classes)),
    );
    product(
        F32,
        [frames, classes, width],
        u.view(),
        v.view().t(),
        Out::Wide(View::of(&cosines, classes)),
    );
    add(
        cosines.at(),
        address(&y),
        frames * classes,
        Mask::times(unit),
    );
    let (z, spans, e) = (Slot::of(&z.values), z.spans, e.clone());
    record_hidden(y, spans, tape, move |dy, g| {
        let (grad, [du, dv]) = (
            View::rows(dy, classes),
            [frames, classes].map(|rows| gpu().memory(F32, rows * width)),
        );
        product(
            F32,
            [frames, width, classes],
            grad,
            v.view(),
            Out::Wide(View::of(&du, width)),
        );
        product(
            F32,
            [classes, width, frames],
            grad.t(),
            u.view(),
            Out::Wide(View::of(&dv, width)),
        );
        u.pull(&du, g.at(&z), unit);
        v.pull(&dv, g.to(&e), unit);
    })
}

/// Rows divided by their norms.
struct Units {
    values: Memory,
    norms: Memory,
    rows: usize,
    width: usize,
}

impl Units {
    fn of(x: Address, rows: usize, width: usize) -> Units {
        let [values, norms] = [width, 1].map(|n| gpu().memory(F32, rows * n));
        kernels::units(for_rows(rows), x, values.at(), norms.at(), rows, width);
        Units {
            values,
            norms,
            rows,
            width,
        }
    }
    fn view(&self) -> View {
        View::of(&self.values, self.width)
    }
    /// dx += factor (du - (du·u) u) / |x|, row by row
    fn pull(&self, du: &Memory, dx: Address, factor: f32) {
        let (u, norms) = (self.values.at(), self.norms.at());
        kernels::units_backward(
            for_rows(self.rows),
            u,
            norms,
            du.at(),
            dx,
            self.rows,
            self.width,
            factor,
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn cosine_logits_are_those_of_the_cpu() {
        for width in [5, 8] {
            let case = Case::new(&ROWS, width, &[6 * width]);
            both!(&case, |x, p, _tape, _precision| cosine_logits(
                x, &p[0], 0.1
            )
            .values);
        }
    }
}
