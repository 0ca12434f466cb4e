//! Types of the numbers of tensors and arrays.
use safetensors::tensor::Dtype;

/// A type of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Element(pub(crate) Dtype);

impl Element {
    /// Returns the type of a storage class of torch, such as `torch.FloatStorage`.
    pub(super) fn of_storage(class: &str) -> Option<Element> {
        let name = class.strip_prefix("torch.")?;
        let name = name.strip_prefix("cuda.").unwrap_or(name);
        let dtype = match name.strip_suffix("Storage")? {
            "Double" => Dtype::F64,
            "Float" => Dtype::F32,
            "Half" => Dtype::F16,
            "BFloat16" => Dtype::BF16,
            "Long" => Dtype::I64,
            "Int" => Dtype::I32,
            "Short" => Dtype::I16,
            "Char" => Dtype::I8,
            "Byte" => Dtype::U8,
            "Bool" => Dtype::BOOL,
            "ComplexFloat" => Dtype::C64,
            _ => return None,
        };
        Some(Element(dtype))
    }

    /// Returns the type that torch calls so, such as `torch.float32`.
    pub(super) fn of_dtype(class: &str) -> Option<Element> {
        let dtype = match class.strip_prefix("torch.")? {
            "float64" => Dtype::F64,
            "float32" => Dtype::F32,
            "float16" => Dtype::F16,
            "bfloat16" => Dtype::BF16,
            "int64" => Dtype::I64,
            "int32" => Dtype::I32,
            "int16" => Dtype::I16,
            "int8" => Dtype::I8,
            "uint8" => Dtype::U8,
            "uint16" => Dtype::U16,
            "uint32" => Dtype::U32,
            "uint64" => Dtype::U64,
            "bool" => Dtype::BOOL,
            "float8_e4m3fn" => Dtype::F8_E4M3,
            "float8_e5m2" => Dtype::F8_E5M2,
            _ => return None,
        };
        Some(Element(dtype))
    }

    /// Returns the bytes of one number.
    pub(super) fn size(self) -> u64 {
        self.0.bitsize() as u64 / 8
    }
}
