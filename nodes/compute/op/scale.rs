//! A gate on a whole sub-layer: y = g x. x, y (frames, width), g (1). dx = g dy, dg = Σ x ∘ dy.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::sum;
use crate::parallel::{add, map, parts, wide};
use crate::tensor::cpu::{Hidden, Track, Vector, merge, read, record_hidden, split};

/// Numbers whose products are summed at once.
const CHUNK: usize = 1 << 14;

pub fn scale<T: Track>(x: Hidden<T>, gate: &Vector<T>) -> Hidden<T> {
    let ((x, tape), (gate, other)) = (x.split(), split(gate.clone()));
    let (mut y, width, spans) = (x.read().to_vec(), x.width(), x.spans.clone());
    times(&mut y, read(&gate)[0]);
    record_hidden(y, width, spans, merge(tape, other), move |mut dy, g| {
        let n = dy.len();
        let along = |c: usize| {
            let (x, dy) = (
                &x.read()[c * CHUNK..],
                &dy[c * CHUNK..n.min((c + 1) * CHUNK)],
            );
            wide!(sum(dy.len(), |i| x[i] * dy[i])) as f64
        };
        g.of(&gate)[0] += map(n.div_ceil(CHUNK), along).iter().sum::<f64>() as f32;
        times(&mut dy, read(&gate)[0]);
        add(g.of(&x.values), &dy);
    })
}

fn times(x: &mut [f32], by: f32) {
    parts(x, CHUNK, |_, x| wide!(x.iter_mut().for_each(|x| *x *= by)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, close};
    use crate::tensor::cpu::put;

    #[test]
    fn scale_is_its_formula_and_its_gradient() {
        let case = Case::new(&[3, 0, 2000], 11, &[1]);
        let gate = read(&case.p[0])[0] as f64;
        let reference: Vec<f64> = case.frames().iter().map(|x| x * gate).collect();
        close(scale(case.x.clone(), &case.p[0]).read(), &reference, 1e-6);
        case.check(|x, p, tape| scale(x, &put(&p[0], tape)).values);
    }
}
