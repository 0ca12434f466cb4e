//! Python's pickle, protocol 2, of plain values and of PyTorch's tensors.
use crate::tool::export::draft::Values;
use std::collections::BTreeMap;

/// A value of Python.
#[derive(Clone)]
pub(super) enum Pickle {
    None,
    Bool(bool),
    Int(i32),
    Float(f64),
    Text(String),
    List(Vec<Pickle>),
    Tuple(Vec<Pickle>),
}

impl Pickle {
    /// Returns a size, which a model's are far below the limit of.
    pub(super) fn int(value: usize) -> Pickle {
        Pickle::Int(i32::try_from(value).unwrap_or(i32::MAX))
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Pickle::None => bytes.push(b'N'),
            Pickle::Bool(true) => bytes.push(0x88),
            Pickle::Bool(false) => bytes.push(0x89),
            Pickle::Int(value) => {
                bytes.push(b'J');
                bytes.extend(value.to_le_bytes());
            }
            Pickle::Float(value) => {
                bytes.push(b'G');
                bytes.extend(value.to_be_bytes());
            }
            Pickle::Text(value) => text(value, bytes),
            Pickle::List(items) => {
                bytes.extend(b"](");
                items.iter().for_each(|item| item.write(bytes));
                bytes.push(b'e');
            }
            Pickle::Tuple(items) => {
                bytes.push(b'(');
                items.iter().for_each(|item| item.write(bytes));
                bytes.push(b't');
            }
        }
    }
}

fn text(value: &str, bytes: &mut Vec<u8>) {
    bytes.push(b'X');
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value.as_bytes());
}

/// Pickles {"state_dict": tensors, "config": config}. The values of tensor i are in `data/i`.
pub(super) fn checkpoint(
    tensors: &[(String, Values)],
    config: &BTreeMap<&'static str, Pickle>,
) -> Vec<u8> {
    let mut bytes = b"\x80\x02}(".to_vec();
    text("state_dict", &mut bytes);
    bytes.extend(b"}(");
    for (i, (name, (shape, _))) in tensors.iter().enumerate() {
        text(name, &mut bytes);
        tensor(i, shape, &mut bytes);
    }
    bytes.push(b'u');
    text("config", &mut bytes);
    bytes.extend(b"}(");
    for (name, value) in config {
        text(name, &mut bytes);
        value.write(&mut bytes);
    }
    bytes.extend(b"uu.");
    bytes
}

/// Writes `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
fn tensor(i: usize, shape: &[usize], bytes: &mut Vec<u8>) {
    bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text("storage", bytes);
    bytes.extend(b"ctorch\nFloatStorage\n");
    text(&i.to_string(), bytes);
    text("cpu", bytes);
    Pickle::int(shape.iter().product()).write(bytes);
    bytes.extend(b"tQ"); // the tuple stands for the storage
    Pickle::int(0).write(bytes);
    let mut strides = vec![];
    let mut stride = 1;
    for size in shape.iter().rev() {
        strides.insert(0, stride);
        stride *= size;
    }
    for sizes in [shape, &strides] {
        Pickle::Tuple(sizes.iter().map(|size| Pickle::int(*size)).collect()).write(bytes);
    }
    Pickle::Bool(false).write(bytes);
    bytes.extend(b"ccollections\nOrderedDict\n)RtR");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's `pickletools.dis` reads it as {"state_dict": {}, "config": {"a": [1, None]}}.
    #[test]
    fn plain_values_are_those_of_protocol_2() {
        let list = Pickle::List(vec![Pickle::int(1), Pickle::None]);
        let bytes = checkpoint(&[], &BTreeMap::from([("a", list)]));
        let expected =
            b"\x80\x02}(X\x0a\0\0\0state_dict}(uX\x06\0\0\0config}(X\x01\0\0\0a](J\x01\0\0\0Neuu.";
        assert_eq!(bytes, expected);
    }
}
