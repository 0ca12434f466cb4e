//! Reads the signatures of the CUDA kernels and writes the code that calls them.
//!
//! A kernel has one of these forms, with any of the template parameters in [`AXES`]:
//!
//! ```text
//! KERNEL(tap_norms, (const float* v, double* norms, size_t n, size_t k)) { ... }
//! template <class T, int V> KERNEL(layer_norm, (const float* x, Added<T> added)) { ... }
//! template <class T, int D> SHARED_KERNEL(D > 64 ? 1 : 2, attend, (Columns<T> q, T* o)) { ... }
//! ```
//!
//! A `SHARED_KERNEL` has dynamic shared memory, and at least the given number of its blocks fit on
//! a multiprocessor. Parameters are pointers, numbers (`size_t`, `unsigned`, `float`, `double`,
//! `bool`) or structs of these, `struct Added { const T* r; const float *bias, *sum; };`.
//!
//! [`entry_points`] writes, in C++, a `__global__` function such as `layer_norm_bf16_4` for each
//! kernel and each combination of template arguments. [`launchers`] writes, in Rust, a function for
//! each kernel and the structs that kernels take by value.
mod generate;
mod parse;

pub(crate) use generate::{entry_points, launchers};
pub(crate) use parse::Source;

/// A template parameter of kernels, and the arguments that a launcher chooses from.
struct Axis {
    declaration: &'static str,
    /// Name and type of the launcher's parameter.
    rust: [&'static str; 2],
    values: &'static [Value],
}

/// A template argument.
struct Value {
    cpp: &'static str,
    /// How the name of an entry point ends.
    suffix: &'static str,
    /// The argument of the launcher, as a pattern.
    rust: &'static str,
}

const AXES: [Axis; 3] = [
    Axis {
        declaration: "class T",
        rust: ["precision", "Precision"],
        values: &[
            value("float", "f32", "Precision::F32 | Precision::Tf32"),
            value("bf16", "bf16", "Precision::Bf16"),
        ],
    },
    Axis {
        declaration: "int V",
        rust: ["pack", "Pack"],
        values: &[value("4", "4", "Pack::Four"), value("1", "1", "Pack::One")],
    },
    Axis {
        declaration: "int D",
        rust: ["depth", "Depth"],
        values: &[
            value("64", "64", "Depth::D64"),
            value("96", "96", "Depth::D96"),
            value("128", "128", "Depth::D128"),
        ],
    },
];

const fn value(cpp: &'static str, suffix: &'static str, rust: &'static str) -> Value {
    Value { cpp, suffix, rust }
}

/// The signature of a kernel.
pub(crate) struct Kernel {
    /// File and line.
    place: String,
    name: String,
    axes: Vec<&'static Axis>,
    /// The least number of blocks on a multiprocessor, in C++, of a `SHARED_KERNEL`.
    blocks: Option<String>,
    parameters: Vec<Variable>,
}

/// A parameter of a kernel, or a field of a struct.
struct Variable {
    name: String,
    cpp: String,
    rust: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
struct Shape { const size_t *starts, *ends; size_t width; }; // of rows
// KERNEL(none, ())
#define HALF(x) \\
    ((x) / 2)
KERNEL(fill, (float* to, size_t n,
              double value)) {
}
template <class T, int D> SHARED_KERNEL(HALF(D), mix, (const T* x, Columns<T> y, Shape shape)) {}
template <class T> struct Columns { const T* at; float factor; };
";

    fn source(text: &str) -> Source {
        Source::new("a.cu", text)
    }

    #[test]
    fn entry_points_are_all_instantiations() {
        let kernels = source(SOURCE).kernels().unwrap();
        let lines = entry_points(&kernels);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines.len(), 1 + 2 * 3);
        assert_eq!(
            lines[0],
            "ENTRY((256), fill, (float* to, size_t n, double value)) { ::fill(to, n, value); }"
        );
        assert_eq!(
            lines[6],
            "ENTRY((256, HALF(128)), mix_bf16_128, (const bf16* x, Columns<bf16> y, Shape shape)) \
             { ::mix<bf16, 128>(x, y, shape); }"
        );
    }

    #[test]
    fn launchers_have_the_kernels_parameters() {
        let sources = [source(SOURCE)];
        let rust = launchers(&sources[0].kernels().unwrap(), &sources).unwrap();
        for part in [
            "/// Queues `fill` of a.cu:5.\n",
            "pub(crate) fn fill(grid: Grid, to: Address, n: usize, value: f64) {",
            "pub(crate) fn mix(precision: Precision, depth: Depth, grid: Grid, shared_bytes: usize, \
             x: Address, y: Columns, shape: Shape)",
            "(Precision::F32 | Precision::Tf32, Depth::D96) => c\"mix_f32_96\",",
            "pub(crate) struct Columns {\n    pub(crate) at: Address,\n    pub(crate) factor: f32,\n}",
            "    pub(crate) starts: Address,\n    pub(crate) ends: Address,\n    pub(crate) width: usize,\n",
        ] {
            assert!(rust.contains(part), "{part}\nis not in\n{rust}");
        }
    }

    #[test]
    fn unknown_forms_are_refused_with_their_line() {
        for (text, error) in [
            (
                "\nMY_KERNEL(f, (float* x)) {}",
                "a.cu:2: MY_KERNEL is no form of a kernel",
            ),
            ("KERNEL(f, (char x)) {}", "a.cu:1: kernels take no char"),
            (
                "KERNEL(f, (float* x));",
                "a.cu:1: a body must follow the parameters",
            ),
            (
                "static KERNEL(f, (float* x)) {}",
                "a.cu:1: only `template <...>` may precede a kernel",
            ),
            (
                "template <int W> KERNEL(f, ()) {}",
                "a.cu:1: int W is no template parameter of kernels",
            ),
            (
                "#define F(S) \\\n  KERNEL(f_##S, ()) {}",
                "a.cu:2: f_##S is no name",
            ),
            (
                "KERNEL(f, (Shape s)) {}",
                "a.cu:1: struct Shape is in no source",
            ),
            (
                "struct Shape {\n  char x;\n};\nKERNEL(f, (Shape s)) {}",
                "a.cu:1: kernels take no char",
            ),
        ] {
            let source = source(text);
            let result = source
                .kernels()
                .and_then(|kernels| launchers(&kernels, &[source]));
            assert_eq!(result.unwrap_err(), error);
        }
    }
}
