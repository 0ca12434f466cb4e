//! [`AttentionDevice`] with a task for each head of each row. Saves q, k and v, computes P again.
pub(crate) mod head;
use super::{AttentionDevice, AttentionHeads};
use crate::gemm::{Out, View};
use crate::parallel::{Shared, add, column_sums, for_each, map};
use crate::tensor::Slot;
use crate::tensor::cpu::{Cpu, Grads, Matrix, read, tensor};
use crate::tensor::dimensions;
use head::Head;

pub struct Saved {
    qkv: [Matrix; 3],
    heads: AttentionHeads<Cpu>,
}

impl AttentionDevice for Cpu {
    type Saved = Saved;

    fn forward(qkv: [Matrix; 3], heads: AttentionHeads<Cpu>) -> (Matrix, Saved) {
        let [q, k, v] = qkv.each_ref().map(read);
        let mut o = vec![0.0; q.len()];
        let shared = Shared::new(&mut o);
        for_each(heads.count(), |i| {
            let Some(head) = heads.get(i).map(Head::in_cache) else {
                return;
            };
            let n = head.frames();
            let keys = head.transposed_factor(k);
            let values = head.factor(v);
            let mut p = vec![0.0; head.queries_per_block() * n];
            for queries in head.blocks() {
                let p = &mut p[..queries.len() * n];
                head.probabilities(&queries, head.view(q, queries.start), &keys, p);
                head.drop_and_gate(&queries, p);
                let first = head.first_of(queries.start);
                // SAFETY: each task has its own columns of its own frames.
                let o = unsafe { Out::columns(shared.tail(first), heads.width, false) };
                values.multiply(queries.len(), View::rows(p, n), o);
            }
        });
        let o = tensor(o, dimensions(&qkv[0]));
        (o, Saved { qkv, heads })
    }

    fn backward(dy: Vec<f32>, saved: &Saved, inputs: &[Slot<Cpu>; 3], g: &mut Grads) {
        let heads = &saved.heads;
        let [q, k, v] = saved.qkv.each_ref().map(read);
        let mut gradients = inputs.each_ref().map(|input| std::mem::take(g.at(input)));
        let shared = gradients.each_mut().map(|dx| Shared::new(dx));
        let of_heads = map(heads.count(), |i| {
            let Some(head) = heads.get(i) else {
                return (0.0, None);
            };
            // SAFETY: each task has its own columns of its own frames.
            let columns = |input: usize, frame: usize| unsafe {
                Out::columns(shared[input].tail(head.first_of(frame)), heads.width, true)
            };
            let n = head.frames();
            let keys_transposed = head.transposed_factor(k);
            let values_transposed = head.transposed_factor(v);
            let keys = head.factor(k);
            let mut p = vec![0.0; head.queries_per_block() * n];
            let mut ds = Vec::with_capacity(p.len());
            let mut sums = head.no_sums();
            for queries in head.blocks() {
                let [q, dy] = [q, &dy].map(|x| head.view(x, queries.start));
                let p = &mut p[..queries.len() * n];
                head.probabilities(&queries, q, &keys_transposed, p);
                ds.clear();
                ds.extend_from_slice(p);
                head.drop_and_gate(&queries, &mut ds);
                head.add_to_frames(&queries, &ds, dy, columns(2, 0));
                values_transposed.multiply(queries.len(), dy, Out::set(&mut ds, n));
                head.scores_gradient(&queries, p, &mut ds, &mut sums);
                keys.multiply(queries.len(), View::rows(&ds, n), columns(0, queries.start));
                head.add_to_frames(&queries, &ds, q, columns(1, 0));
            }
            head.gradients(sums)
        });
        for (input, dx) in inputs.iter().zip(gradients) {
            *g.at(input) = dx;
        }
        let (dgates, of_bias): (Vec<f32>, Vec<_>) = of_heads.into_iter().unzip();
        if let Some(gate) = &heads.gate {
            add(g.of(gate), &column_sums(&dgates, heads.per_row));
        }
        if let Some(bias) = &heads.bias {
            bias.accumulate_gradients(of_bias, g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::head::WHOLE;
    use super::*;
    use crate::allocated_bytes::peak_bytes;
    use crate::gemm::Precision;
    use crate::math::Dropout;
    use crate::op::attention::attention;
    use crate::op::attention::tests::{case, case_bias, definition, qkv};
    use crate::op::check::{DROP, close, memory_grows_with};
    use crate::op::{attend, attention_map};
    use crate::tensor::cpu::{Hidden, Param, Tape, put};

    const HEADS: usize = 2;

    /// Attends with gates, biases and dropout.
    fn with_all(x: Hidden<Tape>, p: &[Param], tape: &Tape, precision: Precision) -> Matrix<Tape> {
        let gate = put(&p[6], tape);
        let bias = case_bias(&x, p, HEADS);
        let qkv = qkv(&x, p, precision);
        attention(qkv, HEADS, Some(&gate), Some(bias), DROP, precision).values
    }

    /// The last block is full, short or a single query.
    #[test]
    fn blocks_of_queries_are_the_formula_and_its_gradient() {
        for rows in [
            &[WHOLE, 1][..],
            &[WHOLE + 1],
            &[3, 1275, 0, WHOLE],
            &[1291, 1276],
        ] {
            let case = case(rows, 6, HEADS);
            let x = &case.x;
            let p = &case.p;
            let bias = Some(case_bias(x, p, HEADS));
            let inputs = qkv(x, p, Precision::F32);
            let o = attention(inputs, HEADS, Some(&p[6]), bias, DROP, Precision::F32);
            close(o.read(), &definition(&case, true), 1e-5);
            case.check(|x, p, tape| with_all(x, p, tape, Precision::F32));
            case.check(|x, p, _| {
                let qkv = qkv(&x, p, Precision::F32);
                attention(qkv, HEADS, None, None, Dropout::NONE, Precision::F32).values
            });
        }
    }

    /// A map is computed whole. Blocks change no bit of o, and round sums over queries otherwise;
    /// in bf16 the products after them may round such a sum to the next number.
    #[test]
    fn blocks_of_queries_are_the_whole_row() {
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 1e-3)] {
            for width in [6, 16] {
                let case = case(&[1291, 40, WHOLE + 1], width, HEADS);
                let in_blocks = case.run(|x, p, tape| with_all(x, p, tape, precision));
                let whole = case.run(|x, p, tape| {
                    let gate = put(&p[6], tape);
                    let bias = case_bias(&x, p, HEADS);
                    let [q, k, v] = qkv(&x, p, precision);
                    let map = attention_map([q, k], HEADS, Some(bias), precision);
                    attend(map, v, Some(&gate), DROP, precision).values
                });
                assert_eq!(in_blocks[0], whole[0]);
                for (blocks, whole) in in_blocks.iter().zip(&whole) {
                    let whole: Vec<f64> = whole.iter().map(|x| *x as f64).collect();
                    close(blocks, &whole, tolerance);
                }
            }
        }
    }

    #[test]
    fn memory_grows_with_the_frames() {
        memory_grows_with(|frames| {
            let case = case(&[frames], 8, HEADS);
            let run = || case.run(|x, p, tape| with_all(x, p, tape, Precision::F32));
            peak_bytes(run).1
        });
    }
}
