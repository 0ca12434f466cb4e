//! Both forms of an op on the same numbers: results and gradients of the GPU against those of the CPU, and its gradients
//! against differences.
use crate::gemm::Precision;
use crate::op::check::{Case, close, differences, noise};
use crate::tensor::cuda;
use crate::tensor::cuda::{Cuda, Shape, Tensor, address, hidden, record, tensor};
use crate::tensor::{Hidden, Tape, cpu, split};

/// The same text as a call of the CPU's ops and of the GPU's, for [`compare`] or another check.
macro_rules! both {
    ($case:expr, |$($closure:tt)*) => {
        $crate::cuda::check::both!(compare: $case, |$($closure)*)
    };
    ($check:ident: $case:expr, |$x:pat_param, $p:ident, $tape:ident, $precision:ident| $body:expr) => {
        $crate::cuda::check::$check(
            $case,
            |$x, $p, $tape, $precision| {
                #[allow(unused_imports)]
                use $crate::gemm::Precision;
                #[allow(unused_imports)]
                use $crate::op::cpu::*;
                #[allow(unused_imports)]
                use $crate::tensor::cpu::{hidden, param, put};
                $body
            },
            |$x, $p, $tape, $precision| {
                #[allow(unused_imports)]
                use $crate::op::cuda::*;
                #[allow(unused_imports)]
                use $crate::gemm::Precision;
                #[allow(unused_imports)]
                use $crate::tensor::cuda::{hidden, param};
                #[allow(unused_imports)]
                use $crate::tensor::put;
                $body
            },
        )
    };
}
pub(crate) use both;

type OnCpu<S> = Tensor<S, f32, cpu::Cpu, cpu::Tape>;
type OnGpu<S> = Tensor<S, f32, Cuda, Tape<Cuda>>;

/// For the largest number of y, and for the largest of all gradients: sums in another order, and bf16's rounding.
const BOUNDS: [(Precision, f64); 3] = [
    (Precision::F32, 1e-5),
    (Precision::Tf32, 5e-3),
    (Precision::Bf16, 2e-2),
];

/// [`agree`], and the GPU's gradients are those of [`differences`].
pub fn compare<S: Shape>(
    case: &Case,
    cpu: impl Fn(cpu::Hidden<cpu::Tape>, &[cpu::Param], &cpu::Tape, Precision) -> OnCpu<S>,
    gpu: impl Fn(Hidden<Tape<Cuda>, Cuda>, &[cuda::Param], &Tape<Cuda>, Precision) -> OnGpu<S>,
) {
    agree(case, cpu, &gpu);
    let f32 = |inputs: &[Vec<f32>]| run(case, inputs, |x, p, tape| gpu(x, p, tape, Precision::F32));
    let own = f32(&case.inputs());
    differences(&case.inputs(), &own[1..], &own[0], |inputs| {
        f32(inputs).swap_remove(0)
    });
}

/// The GPU gives what the CPU gives in f32, and the same bits when it runs again.
pub fn agree<S: Shape>(
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
        let own = run();
        assert_eq!(own, run(), "two runs");
        for part in [0..1, 1..own.len()] {
            let reference: Vec<f64> = reference[part.clone()]
                .iter()
                .flatten()
                .map(|x| *x as f64)
                .collect();
            close(&own[part].concat(), &reference, bound);
        }
    }
}

/// y, and the gradients of noise · y.
fn run<S: Shape>(
    case: &Case,
    inputs: &[Vec<f32>],
    f: impl Fn(Hidden<Tape<Cuda>, Cuda>, &[cuda::Param], &Tape<Cuda>) -> OnGpu<S>,
) -> Vec<Vec<f32>> {
    let x = hidden(inputs[0].clone(), case.x.width(), case.x.spans.clone());
    let p: Vec<_> = inputs[1..].iter().cloned().map(cuda::param).collect();
    let tape = Tape::default();
    let (y, tape) = split(f(x.on(&tape), &p, &tape));
    let (inner, numbers) = (y.clone(), cuda::read(&y));
    let n = numbers.len();
    let r = tensor(noise("r", n), (n,));
    let loss = record(tensor(vec![0.0], ()), tape, move |_, g| {
        crate::cuda::elementwise::add(
            address(&r),
            g.to(&inner),
            n,
            crate::cuda::mask::Mask::times(1.0),
        );
    });
    let mut gradients = cuda::backward(loss, 1.0);
    let of_inputs = p
        .iter()
        .map(|p| cuda::read(&gradients.of(p)))
        .collect::<Vec<_>>();
    [
        vec![numbers, cuda::read(&gradients.of(&x.values))],
        of_inputs,
    ]
    .concat()
}
