//! Reads the signatures of the CUDA kernels and writes the code that calls them.
//!
//! A kernel has one of these forms, with any of the template parameters of [`AXES`]:
//!
//! ```text
//! KERNEL(adamw, (float* w, size_t n, Rule rule)) { ... }
//! template <class T, int V> KERNEL(layer_norm, (const float* x, Added<T> added)) { ... }
//! template <class T, int D> SHARED_KERNEL(D > 64 ? 1 : 2, attend, (Columns<T> q, T* o)) { ... }
//! ```
//!
//! A `SHARED_KERNEL` has dynamic shared memory, whose bytes the launcher takes, and at least the given number of blocks fit on
//! a multiprocessor. For each kernel and each combination of template arguments [`entry_points`] writes a `__global__`
//! function such as `layer_norm_bf16_4`; [`launchers`] writes one Rust function for each kernel, and the structs that
//! kernels take by value.
use std::fmt::Write;

/// A template parameter of kernels, and the values that a launcher chooses from.
struct Axis {
    declaration: &'static str,
    /// Name and type of the launcher's parameter.
    rust: [&'static str; 2],
    values: &'static [Value],
}

/// A template argument: in C++, in the name of the entry point, and as a Rust pattern.
struct Value {
    cpp: &'static str,
    suffix: &'static str,
    pattern: &'static str,
}

const fn value(cpp: &'static str, suffix: &'static str, pattern: &'static str) -> Value {
    Value {
        cpp,
        suffix,
        pattern,
    }
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

/// Structs that stand in Rust by hand, since code without a GPU uses them too.
const WRITTEN_IN_RUST: [&str; 2] = ["Mask", "Rule"];

/// A kernel as its source declares it.
pub struct Kernel {
    /// File and line.
    place: String,
    name: String,
    axes: Vec<&'static Axis>,
    /// Blocks on a multiprocessor, in C++, of a kernel with dynamic shared memory.
    blocks: Option<String>,
    parameters: Vec<Parameter>,
}

struct Parameter {
    cpp: String,
    rust: String,
    name: String,
}

/// Returns the kernels of a source file.
///
/// # Errors
/// A form or a type that is not known, with file and line.
pub fn parse(path: &str, text: &str) -> Result<Vec<Kernel>, String> {
    let code = without_comments(text);
    let mut kernels = Vec::new();
    for (start, _) in code.match_indices("KERNEL(") {
        let line = code[..start].matches('\n').count() + 1;
        let place = format!("{path}:{line}");
        kernels.push(kernel(&code, start, &place).map_err(|e| format!("{place}: {e}"))?);
    }
    Ok(kernels)
}

/// Parses the kernel whose macro's name ends in the `KERNEL(` at `start`.
fn kernel(code: &str, start: usize, place: &str) -> Result<Kernel, String> {
    let before = code[..start].trim_end_matches(is_word);
    let shared = match &code[before.len()..start] {
        "" => false,
        "SHARED_" => true,
        other => return Err(format!("{other}KERNEL is neither KERNEL nor SHARED_KERNEL")),
    };
    let open = start + "KERNEL".len();
    let inside = parenthesised(&code[open..]).ok_or("a parenthesis is not closed")?;
    if !code[open + inside.len() + 2..]
        .trim_start()
        .starts_with('{')
    {
        return Err("a kernel's parameters are followed by its body".into());
    }
    let (blocks, rest) = match inside.split_once(',') {
        Some((blocks, rest)) if shared => (Some(blocks.trim().to_owned()), rest),
        _ => (None, inside),
    };
    let (name, parameters) = rest.split_once(',').ok_or("parameters are missing")?;
    let parameters = parenthesised(parameters.trim()).ok_or("parameters stand in parentheses")?;
    Ok(Kernel {
        place: place.to_owned(),
        name: name.trim().to_owned(),
        axes: axes(before.trim_end())?,
        blocks,
        parameters: parameters
            .split(',')
            .map(parameter)
            .collect::<Result<_, _>>()?,
    })
}

/// Returns the template parameters at the end of `before`, the code in front of a kernel.
fn axes(before: &str) -> Result<Vec<&'static Axis>, String> {
    let Some(before) = before.strip_suffix('>') else {
        return match before.chars().last() {
            None | Some('}' | ';') => Ok(Vec::new()),
            _ => Err("only a template's parameters may stand before a kernel".into()),
        };
    };
    let (_, parameters) = before
        .rsplit_once("template <")
        .ok_or("`>` does not end a template's parameters")?;
    let find = |declaration: &str| {
        AXES.iter()
            .find(|axis| axis.declaration == declaration.trim())
            .ok_or(format!("no template parameter of kernels: {declaration}"))
    };
    parameters.split(',').map(find).collect()
}

fn parameter(text: &str) -> Result<Parameter, String> {
    let text = text.trim();
    let cpp = text.trim_end_matches(is_word);
    let rust = if cpp.contains('*') {
        "Address".to_owned()
    } else {
        rust_type(cpp.trim())?
    };
    Ok(Parameter {
        cpp: cpp.trim().to_owned(),
        rust,
        name: text[cpp.len()..].to_owned(),
    })
}

/// Returns the Rust type of a number or of a struct.
fn rust_type(cpp: &str) -> Result<String, String> {
    let name = cpp.strip_suffix("<T>").unwrap_or(cpp);
    Ok(match name {
        "size_t" => "usize".into(),
        "float" => "f32".into(),
        "double" => "f64".into(),
        "unsigned" => "u32".into(),
        "bool" => "bool".into(),
        _ if name.starts_with(char::is_uppercase) && name.chars().all(is_word) => name.into(),
        _ => return Err(format!("no type of a kernel's parameter: {cpp}")),
    })
}

/// Writes a `__global__` function for each variant of each kernel, in C++.
pub fn entry_points(kernels: &[Kernel]) -> String {
    let mut text = String::new();
    for kernel in kernels {
        for variant in kernel.variants() {
            let with = |cpp: &str| kernel.substitute(cpp, &variant);
            let arguments: Vec<&str> = kernel.parameters.iter().map(|p| &*p.name).collect();
            let parameters: Vec<String> = kernel
                .parameters
                .iter()
                .map(|p| format!("{} {}", with(&p.cpp), p.name))
                .collect();
            let bounds = match &kernel.blocks {
                Some(blocks) => format!("(256, {})", with(blocks)),
                None => "(256)".into(),
            };
            let template = match &variant[..] {
                [] => String::new(),
                values => format!("<{}>", join(values, ", ", |value| value.cpp)),
            };
            writeln!(
                text,
                "ENTRY({bounds}, {}, ({})) {{ ::{}{template}({}); }}",
                kernel.entry_point(&variant),
                parameters.join(", "),
                kernel.name,
                arguments.join(", ")
            )
            .expect("a string takes all");
        }
    }
    text
}

/// Writes a launcher for each kernel, and the structs that they take, in Rust.
///
/// # Errors
/// A struct is not in the sources, or a form of it is not known.
pub fn launchers(kernels: &[Kernel], sources: &[String]) -> Result<String, String> {
    let mut text = String::new();
    let mut structs: Vec<String> = Vec::new();
    for kernel in kernels {
        write_launcher(&mut text, kernel).expect("a string takes all");
        structs.extend(kernel.parameters.iter().map(|p| p.rust.clone()));
    }
    let code: String = sources.iter().map(|text| without_comments(text)).collect();
    let mut written = Vec::new();
    while let Some(name) = structs.pop() {
        let by_hand = WRITTEN_IN_RUST.contains(&&*name);
        let is_struct = name.starts_with(char::is_uppercase) && name != "Address";
        if is_struct && !by_hand && !written.contains(&name) {
            let fields = fields(&code, &name).map_err(|e| format!("struct {name}: {e}"))?;
            text += "#[repr(C)]\n#[derive(Clone, Copy)]\n";
            writeln!(text, "pub struct {name} {{").expect("a string takes all");
            for (field, rust) in fields {
                writeln!(text, "    pub {field}: {rust},").expect("a string takes all");
                structs.push(rust);
            }
            text += "}\n\n";
            written.push(name);
        }
    }
    Ok(text)
}

fn write_launcher(text: &mut String, kernel: &Kernel) -> std::fmt::Result {
    let Kernel { name, axes, .. } = kernel;
    let axis_names = join(axes, ", ", |axis| axis.rust[0]);
    writeln!(text, "/// Queues `{name}` of {}.", kernel.place)?;
    writeln!(text, "pub fn {name}(")?;
    for axis in axes {
        writeln!(text, "    {}: {},", axis.rust[0], axis.rust[1])?;
    }
    writeln!(text, "    grid: Grid,")?;
    if kernel.blocks.is_some() {
        writeln!(text, "    shared_bytes: usize,")?;
    }
    for parameter in &kernel.parameters {
        writeln!(text, "    {}: {},", parameter.name, parameter.rust)?;
    }
    writeln!(text, ") {{")?;
    if axes.is_empty() {
        writeln!(text, "    let name = c\"{name}\";")?;
    } else {
        writeln!(text, "    let name = match ({axis_names},) {{")?;
        for variant in kernel.variants() {
            let pattern = join(&variant, ", ", |value| value.pattern);
            let entry_point = kernel.entry_point(&variant);
            writeln!(text, "        ({pattern},) => c\"{entry_point}\",")?;
        }
        writeln!(text, "    }};")?;
    }
    let shared = kernel.blocks.as_ref().map_or("0", |_| "shared_bytes");
    let places = join(&kernel.parameters, ", ", |p| &p.name);
    writeln!(
        text,
        "    let mut arguments = [{places}];",
        places = kernel
            .parameters
            .iter()
            .map(|p| format!("place(&{})", p.name))
            .collect::<Vec<_>>()
            .join(", ")
    )?;
    let _ = places;
    writeln!(
        text,
        "    // SAFETY: these are the kernel's parameters; the memory behind addresses is the caller's promise."
    )?;
    writeln!(
        text,
        "    unsafe {{ gpu().launch(name, grid, {shared}, &mut arguments) }}\n}}\n"
    )
}

/// Returns name and Rust type of each field.
fn fields(code: &str, name: &str) -> Result<Vec<(String, String)>, String> {
    let (_, body) = code
        .split_once(&format!("struct {name} {{"))
        .ok_or("not found")?;
    let (body, _) = body.split_once('}').ok_or("it is not closed")?;
    let mut fields = Vec::new();
    for declaration in body.split(';').map(str::trim).filter(|d| !d.is_empty()) {
        let (first, _) = declaration.split_once(',').unwrap_or((declaration, ""));
        let cpp = first.trim_end_matches(is_word).trim_end_matches([' ', '*']);
        for declarator in declaration.split(',') {
            let start = declarator.trim_end_matches(is_word);
            let rust = if start.contains('*') {
                "Address".into()
            } else {
                rust_type(cpp)?
            };
            fields.push((declarator[start.len()..].to_owned(), rust));
        }
    }
    Ok(fields)
}

impl Kernel {
    /// Returns all combinations of template arguments.
    fn variants(&self) -> Vec<Vec<&'static Value>> {
        let mut variants = vec![Vec::new()];
        for axis in &self.axes {
            let mut longer = Vec::new();
            for variant in variants {
                for value in axis.values {
                    longer.push([&variant[..], &[value]].concat());
                }
            }
            variants = longer;
        }
        variants
    }

    fn entry_point(&self, variant: &[&Value]) -> String {
        let suffixes: String = variant.iter().map(|v| format!("_{}", v.suffix)).collect();
        format!("{}{suffixes}", self.name)
    }

    /// Puts template arguments in the place of template parameters.
    fn substitute(&self, cpp: &str, variant: &[&Value]) -> String {
        let value_of = |word: &str| {
            let mut values = self.axes.iter().zip(variant);
            values.find(|(axis, _)| axis.declaration.ends_with(&format!(" {word}")))
        };
        let mut text = String::new();
        let mut rest = cpp;
        while !rest.is_empty() {
            let word = &rest[..rest.len() - rest.trim_start_matches(is_word).len()];
            let end = word.len().max(1);
            text += value_of(word).map_or(&rest[..end], |(_, value)| value.cpp);
            rest = &rest[end..];
        }
        text
    }
}

/// Replaces comments and preprocessor lines by spaces, so that lines keep their numbers.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut in_macro = false;
    for line in text.lines() {
        in_macro |= line.starts_with('#');
        let comment = if in_macro { Some(0) } else { line.find("//") };
        code += &line[..comment.unwrap_or(line.len())];
        code.push('\n');
        in_macro &= line.ends_with('\\');
    }
    code
}

/// Returns what stands between the parenthesis at the start of `text` and the one that closes it.
fn parenthesised(text: &str) -> Option<&str> {
    let text = text.strip_prefix('(')?;
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn join<T>(items: &[T], separator: &str, text: impl Fn(&T) -> &str) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(separator)
}
