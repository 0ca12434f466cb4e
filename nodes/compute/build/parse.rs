//! From the text of a `.cu` file to the signatures of its kernels and the fields of its structs.
use super::{AXES, Axis, Kernel, Variable};

/// A source file without its comments.
pub(crate) struct Source {
    path: String,
    code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            code: without_comments(text),
        }
    }

    /// Returns all kernels of the file.
    ///
    /// # Errors
    /// A form or a type that is not known, with file and line.
    pub(crate) fn kernels(&self) -> Result<Vec<Kernel>, String> {
        let starts = self.code.match_indices("KERNEL(");
        starts
            .map(|(start, _)| {
                let place = self.place(start);
                self.kernel(start, &place)
                    .map_err(|e| format!("{place}: {e}"))
            })
            .collect()
    }

    /// Parses the kernel whose macro's name ends with the `KERNEL(` at `start`.
    fn kernel(&self, start: usize, place: &str) -> Result<Kernel, String> {
        let before = self.code[..start].trim_end_matches(is_word);
        let is_shared = match &self.code[before.len()..start] {
            "" => false,
            "SHARED_" => true,
            other => return Err(format!("{other}KERNEL is no form of a kernel")),
        };
        let text = &self.code[start + "KERNEL".len()..];
        let arguments = parenthesised(text).ok_or("a parenthesis is not closed")?;
        let body = &text[arguments.len() + "()".len()..];
        if !body.trim_start().starts_with('{') {
            return Err("a body must follow the parameters".into());
        }
        let mut blocks = None;
        let mut rest = arguments;
        if is_shared {
            let (first, others) = arguments.split_once(',').ok_or("parameters are missing")?;
            blocks = Some(first.trim().to_owned());
            rest = others;
        }
        let (name, parameters) = rest.split_once(',').ok_or("parameters are missing")?;
        let name = name.trim();
        if !name.chars().all(is_word) {
            return Err(format!("{name} is no name"));
        }
        let parameters = parenthesised(parameters.trim()).ok_or("parameters need parentheses")?;
        let parameters = parameters.split(',').filter(|text| !text.trim().is_empty());
        Ok(Kernel {
            place: place.to_owned(),
            name: name.to_owned(),
            axes: template_parameters(before.trim_end())?,
            blocks,
            parameters: parameters.map(variable).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the fields of `struct name`, and where it is declared; `None` if it is elsewhere.
    pub(super) fn fields(&self, name: &str) -> Option<Result<(String, Vec<Variable>), String>> {
        let head = format!("struct {name} {{");
        let start = self.code.find(&head)?;
        let place = self.place(start);
        let body = &self.code[start + head.len()..];
        let body = &body[..body.find('}')?];
        let fields = fields(body).map_err(|e| format!("{place}: {e}"));
        Some(fields.map(|fields| (place, fields)))
    }

    /// Returns file and line of a position.
    fn place(&self, position: usize) -> String {
        let line = self.code[..position].matches('\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// Removes comments, and preprocessor lines in which no kernel is, but not their ends of line.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut in_directive = false;
    for line in text.lines() {
        in_directive |= line.starts_with('#');
        let is_kept = !in_directive || line.contains("KERNEL(");
        if is_kept {
            code += line.split("//").next().unwrap_or_default();
        }
        code.push('\n');
        in_directive &= line.ends_with('\\');
    }
    code
}

/// Returns the text between the parenthesis at the start and the one that closes it.
fn parenthesised(text: &str) -> Option<&str> {
    let text = text.strip_prefix('(')?;
    let mut depth = 1;
    for (position, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..position]);
        }
    }
    None
}

/// Returns the template parameters at the end of the code before a kernel.
fn template_parameters(before: &str) -> Result<Vec<&'static Axis>, String> {
    const OTHER: &str = "only `template <...>` may precede a kernel";
    if before.is_empty() || before.ends_with([';', '}']) {
        return Ok(Vec::new());
    }
    let template = before.strip_suffix('>').ok_or(OTHER)?;
    let (_, parameters) = template.rsplit_once("template <").ok_or(OTHER)?;
    let find = |declaration: &str| {
        AXES.iter()
            .find(|axis| axis.declaration == declaration.trim())
            .ok_or_else(|| format!("{declaration} is no template parameter of kernels"))
    };
    parameters.split(',').map(find).collect()
}

/// Parses a declaration such as `const float* x`.
fn variable(text: &str) -> Result<Variable, String> {
    let text = text.trim();
    let cpp = text.trim_end_matches(is_word);
    Ok(Variable {
        name: text[cpp.len()..].to_owned(),
        cpp: cpp.trim().to_owned(),
        rust: rust_type(cpp.trim())?,
    })
}

/// Parses the declarations of a struct, such as `const size_t *starts, *ends; size_t width;`.
fn fields(body: &str) -> Result<Vec<Variable>, String> {
    let mut fields = Vec::new();
    for declaration in body.split(';').map(str::trim).filter(|d| !d.is_empty()) {
        let mut declarators = declaration.split(',');
        let first = declarators.next().unwrap_or_default();
        let shared = first.trim_end_matches(is_word).trim_end_matches([' ', '*']);
        fields.push(variable(first)?);
        for declarator in declarators {
            fields.push(variable(&format!("{shared} {}", declarator.trim()))?);
        }
    }
    Ok(fields)
}

/// Returns the type of a launcher's parameter for one of the kernel's.
fn rust_type(cpp: &str) -> Result<String, String> {
    let name = cpp.strip_suffix("<T>").unwrap_or(cpp);
    let is_struct = name.starts_with(char::is_uppercase) && name.chars().all(is_word);
    let rust = match name {
        _ if cpp.ends_with('*') => "Address",
        "size_t" => "usize",
        "unsigned" => "u32",
        "float" => "f32",
        "double" => "f64",
        "bool" => "bool",
        _ if is_struct => name,
        _ => return Err(format!("kernels take no {cpp}")),
    };
    Ok(rust.to_owned())
}

pub(super) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
