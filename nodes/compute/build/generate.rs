//! From the signatures of kernels to their entry points in C++ and their launchers in Rust.
use super::parse::is_word;
use super::{Kernel, Source, Value, Variable};

/// Types that are written in Rust by hand; `Mask` is made of dropout.
const WRITTEN_BY_HAND: [&str; 2] = ["Address", "Mask"];

/// Writes a `__global__` function for each instantiation of each kernel, in C++.
pub(crate) fn entry_points(kernels: &[Kernel]) -> String {
    let mut text = String::new();
    for kernel in kernels {
        let arguments = join(&kernel.parameters, |p| p.name.clone());
        for variant in kernel.variants() {
            let parameters = join(&kernel.parameters, |p| {
                format!("{} {}", kernel.instantiate(&p.cpp, &variant), p.name)
            });
            let bounds = match &kernel.blocks {
                Some(blocks) => format!("256, {}", kernel.instantiate(blocks, &variant)),
                None => "256".into(),
            };
            let mut callee = kernel.name.clone();
            if !variant.is_empty() {
                callee += &format!("<{}>", join(&variant, |value| value.cpp.into()));
            }
            let entry_point = kernel.entry_point(&variant);
            text += &format!("ENTRY(({bounds}), {entry_point}, ({parameters})) ");
            text += &format!("{{ ::{callee}({arguments}); }}\n");
        }
    }
    text
}

/// Writes a launcher for each kernel, and the structs that kernels take by value, in Rust.
///
/// # Errors
/// A struct is in no source, or a field's type is not known.
pub(crate) fn launchers(kernels: &[Kernel], sources: &[Source]) -> Result<String, String> {
    let mut text: String = kernels.iter().map(launcher).collect();
    let mut written: Vec<String> = WRITTEN_BY_HAND.map(String::from).into();
    for kernel in kernels {
        text += &structs(&kernel.parameters, &kernel.place, sources, &mut written)?;
    }
    Ok(text)
}

fn launcher(kernel: &Kernel) -> String {
    let Kernel { place, name, .. } = kernel;
    let mut parameters: Vec<String> = Vec::new();
    parameters.extend(kernel.axes.iter().map(|axis| axis.rust.join(": ")));
    parameters.push("grid: Grid".into());
    let mut shared_bytes = "0";
    if kernel.blocks.is_some() {
        shared_bytes = "shared_bytes";
        parameters.push("shared_bytes: usize".into());
    }
    parameters.extend(kernel.parameters.iter().map(declaration));
    let parameters = parameters.join(", ");
    let arguments = join(&kernel.parameters, |p| format!("pointer(&{})", p.name));
    let entry_point = entry_point(kernel);
    format!(
        "/// Queues `{name}` of {place}.
pub(crate) fn {name}({parameters}) {{
    let entry_point = {entry_point};
    let mut arguments = [{arguments}];
    // SAFETY: these are the kernel's parameters; the rest is the contract of this module.
    unsafe {{ gpu().launch(entry_point, grid, {shared_bytes}, &mut arguments) }}
}}

"
    )
}

/// Writes the expression that chooses an entry point's name by the first parameters of a launcher.
fn entry_point(kernel: &Kernel) -> String {
    if kernel.axes.is_empty() {
        return format!("c\"{}\"", kernel.name);
    }
    let of_axes = |items: String| match kernel.axes.len() {
        1 => items,
        _ => format!("({items})"),
    };
    let chosen_by = of_axes(join(&kernel.axes, |axis| axis.rust[0].into()));
    let mut text = format!("match {chosen_by} {{\n");
    for variant in kernel.variants() {
        let pattern = of_axes(join(&variant, |value| value.rust.into()));
        let name = kernel.entry_point(&variant);
        text += &format!("        {pattern} => c\"{name}\",\n");
    }
    text + "    }"
}

/// Writes the structs that are types of `variables`, and of their fields, but for those `written`.
fn structs(
    variables: &[Variable],
    place: &str,
    sources: &[Source],
    written: &mut Vec<String>,
) -> Result<String, String> {
    let mut text = String::new();
    for variable in variables {
        let name = &variable.rust;
        if !name.starts_with(char::is_uppercase) || written.contains(name) {
            continue;
        }
        written.push(name.clone());
        let (place, fields) = sources
            .iter()
            .find_map(|source| source.fields(name))
            .ok_or_else(|| format!("{place}: struct {name} is in no source"))??;
        text += &format!("/// `{name}` of {place}.\n#[repr(C)]\n#[derive(Clone, Copy)]\n");
        text += &format!("pub(crate) struct {name} {{\n");
        for field in &fields {
            text += &format!("    pub(crate) {},\n", declaration(field));
        }
        text += "}\n\n";
        text += &structs(&fields, &place, sources, written)?;
    }
    Ok(text)
}

fn declaration(variable: &Variable) -> String {
    format!("{}: {}", variable.name, variable.rust)
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
    fn instantiate(&self, cpp: &str, variant: &[&Value]) -> String {
        let argument = |word: &str| {
            let mut pairs = self.axes.iter().zip(variant);
            pairs.find(|(axis, _)| axis.declaration.split(' ').next_back() == Some(word))
        };
        let mut text = String::new();
        for piece in cpp.split_inclusive(|c| !is_word(c)) {
            let word = piece.trim_end_matches(|c| !is_word(c));
            text += argument(word).map_or(word, |(_, value)| value.cpp);
            text += &piece[word.len()..];
        }
        text
    }
}

fn join<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}
