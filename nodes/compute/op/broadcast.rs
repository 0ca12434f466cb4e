//! y = b in every frame: what a sub-layer without units still adds. b (width), y (frames, width). db = Σ dy.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::parallel::{add, column_sums};
use crate::tensor::cpu::{Hidden, Param, Spans, Track, read, record_hidden};

pub fn broadcast<T: Track>(b: &Param, spans: Spans, tape: T) -> Hidden<T> {
    let (b, width) = (b.clone(), read(b).len());
    let y = read(&b).repeat(spans.total());
    record_hidden(y, width, spans, tape, move |dy, g| {
        add(g.of(&b), &column_sums(&dy, width))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close};
    use crate::tensor::cpu::NoneTape;

    #[test]
    fn broadcast_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width]);
            let spans = case.x.spans.clone();
            let reference: Vec<f64> = (0..spans.total())
                .flat_map(|_| read(&case.p[0]))
                .map(|b| *b as f64)
                .collect();
            close(
                broadcast(&case.p[0], spans.clone(), NoneTape).read(),
                &reference,
                1e-7,
            );
            case.check(|_, p, tape| broadcast(&p[0], spans.clone(), tape.clone()).values);
        }
    }
}
