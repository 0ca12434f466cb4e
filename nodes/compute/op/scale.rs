//! A gate on a whole sub-layer: y = g x. x, y (frames, width), g (1). dx = g dy, dg = Σ x ∘ dy.
use super::passes::Passes;
use crate::tensor::{Hidden, Track, Vector, len, merge, record_hidden, split};

/// Multiplies all numbers by one gate.
pub fn scale<T: Track<D>, D: Passes>(x: Hidden<T, D>, gate: &Vector<T, D>) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let (gate, gate_tape) = split(gate.clone());
    let y = D::times(&x.values, &gate);
    let spans = x.spans.clone();
    record_hidden(y, spans, merge(tape, gate_tape), move |dy, g| {
        D::add_dot(&x.values, &dy, g.of(&gate));
        D::add_times(dy, &gate, len(&x.values), g.of(&x.values));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, check_op, close};
    use crate::tensor::cpu::read;
    use crate::tensor::put;

    #[test]
    fn scale_is_its_formula_and_its_gradient() {
        let case = Case::new(&[3, 0, 2000], 11, &[1]);
        let gate = read(&case.p[0])[0] as f64;
        let reference: Vec<f64> = case.frames().iter().map(|x| x * gate).collect();
        close(scale(case.x.clone(), &case.p[0]).read(), &reference, 1e-6);
        for (frames, width) in [(300, 11), (300, 12)] {
            let case = Case::new(&[3, 0, frames], width, &[1]);
            check_op!(case, |x, p, tape, _| scale(x, &put(&p[0], tape)).values);
        }
    }
}
