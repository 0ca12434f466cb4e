//! Checks of ops on a GPU: results and gradients against those of the CPU, and gradients against
//! differences.
use crate::cuda::elementwise::add;
use crate::cuda::mask::Mask;
use crate::gemm::Precision;
use crate::op::check::{Case, close, differences, noise};
use crate::tensor::cuda;
use crate::tensor::cuda::{Cuda, Shape, Tensor, address, hidden, record, tensor};
use crate::tensor::{Hidden, Tape, cpu, split};

type OnCpu<S> = Tensor<S, f32, cpu::Cpu, cpu::Tape>;
type OnGpu<S> = Tensor<S, f32, Cuda, Tape<Cuda>>;

/// Bounds of errors relative to the largest number of y, or of all gradients: sums are in another
/// order, and factors of GEMMs are rounded.
const BOUNDS: [(Precision, f64); 3] = [
    (Precision::F32, 1e-5),
    (Precision::Tf32, 5e-3),
    (Precision::Bf16, 2e-2),
];

/// Checks as [`agree`], and the gradients of the GPU in f32 against [`differences`].
pub(crate) fn compare<S: Shape>(
    case: &Case,
    cpu: impl Fn(cpu::Hidden<cpu::Tape>, &[cpu::Param], &cpu::Tape, Precision) -> OnCpu<S>,
    gpu: impl Fn(Hidden<Tape<Cuda>, Cuda>, &[cuda::Param], &Tape<Cuda>, Precision) -> OnGpu<S>,
) {
    agree(case, cpu, &gpu);
    let run = |inputs: &[Vec<f32>]| run(case, inputs, |x, p, tape| gpu(x, p, tape, Precision::F32));
    let results = run(&case.inputs());
    differences(&case.inputs(), &results[1..], &results[0], |inputs| {
        run(inputs).swap_remove(0)
    });
}

/// Checks y and gradients of the GPU in each precision against those of the CPU in f32, and that a
/// second run gives the same bits.
pub(crate) fn agree<S: Shape>(
    case: &Case,
    cpu: impl Fn(cpu::Hidden<cpu::Tape>, &[cpu::Param], &cpu::Tape, Precision) -> OnCpu<S>,
    gpu: impl Fn(Hidden<Tape<Cuda>, Cuda>, &[cuda::Param], &Tape<Cuda>, Precision) -> OnGpu<S>,
) {
    let reference = case.run(|x, p, tape| cpu(x, p, tape, Precision::F32));
    for (precision, bound) in BOUNDS {
        let run = || {
            run(case, &case.inputs(), |x, p, tape| {
                gpu(x, p, tape, precision)
            })
        };
        let results = run();
        assert_eq!(results, run(), "two runs");
        for part in [0..1, 1..results.len()] {
            let numbers = reference[part.clone()].iter().flatten();
            let reference: Vec<f64> = numbers.map(|x| *x as f64).collect();
            close(&results[part].concat(), &reference, bound);
        }
    }
}

/// Returns y and the gradients of r · y with respect to each input, as [`Case::run`].
fn run<S: Shape>(
    case: &Case,
    inputs: &[Vec<f32>],
    f: impl Fn(Hidden<Tape<Cuda>, Cuda>, &[cuda::Param], &Tape<Cuda>) -> OnGpu<S>,
) -> Vec<Vec<f32>> {
    let x = hidden(inputs[0].clone(), case.x.width(), case.x.spans.clone());
    let p: Vec<_> = inputs[1..].iter().cloned().map(cuda::param).collect();
    let tape = Tape::default();
    let (y, tape) = split(f(x.on(&tape), &p, &tape));
    let numbers = cuda::read(&y);
    let n = numbers.len();
    let r = tensor(noise("r", n), (n,));
    let loss = record(tensor(vec![0.0], ()), tape, move |_, g| {
        add(address(&r), g.of(&y), n, Mask::times(1.0));
    });
    let mut gradients = cuda::backward(loss, 1.0);
    let mut results = vec![numbers, cuda::read(&gradients.of(&x.values))];
    results.extend(p.iter().map(|p| cuda::read(&gradients.of(p))));
    results
}
