//! What follows the opcodes of a pickle: numbers, text, bytes and names.
use super::Fault;
use super::bytes::Bytes;
use super::values::{Node, Place};
use crate::data::printable::{printable, shortened};
use std::io::Read;

/// Returns a class by its module and name.
pub(super) fn class(module: &str, name: &str) -> Node {
    Node::Class(format!("{module}.{name}").into())
}

/// Pairs keys with the values behind them.
pub(super) fn pairs(places: Vec<Place>) -> Result<Vec<(Place, Place)>, Fault> {
    let (pairs, rest) = places.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("is damaged: a key in its pickle has no value".into());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

/// Parses a number in a pickle's text form.
pub(super) fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    let shown = printable(&shortened(text)).to_string();
    text.parse()
        .map_err(|_| format!("is damaged: `{shown}` in its pickle is no number"))
}

/// Reads a number. Integers beyond 64 bits, such as PyTorch's magic number, become their bytes.
pub(super) fn number<R: Read>(opcode: u8, bytes: &mut Bytes<R>) -> Result<Node, Fault> {
    Ok(match opcode {
        b'J' => Node::Int(i64::from(i32::from_le_bytes(bytes.array()?))),
        b'K' => Node::Int(i64::from(bytes.byte()?)),
        b'M' => Node::Int(i64::from(u16::from_le_bytes(bytes.array()?))),
        b'G' => Node::Float(f64::from_be_bytes(bytes.array()?)),
        b'F' => Node::Float(parse(bytes.line()?.trim())?),
        b'I' => match bytes.line()?.trim() {
            "00" => Node::Bool(false),
            "01" => Node::Bool(true),
            text => Node::Int(parse(text)?),
        },
        b'L' => Node::Int(parse(bytes.line()?.trim().trim_end_matches('L'))?),
        _ => {
            let length = match opcode {
                0x8a => u64::from(bytes.byte()?),
                _ => u64::from(u32::from_le_bytes(bytes.array()?)),
            };
            integer(bytes.take(length)?)
        }
    })
}

/// Returns the integer of little-endian two's complement bytes.
fn integer(bytes: Vec<u8>) -> Node {
    if bytes.len() > 8 {
        return Node::Bytes(bytes);
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
        0xff
    } else {
        0
    };
    let mut whole = [sign; 8];
    whole[..bytes.len()].copy_from_slice(&bytes);
    Node::Int(i64::from_le_bytes(whole))
}

/// Reads text or bytes. Python 2's strings are text where they are UTF-8.
pub(super) fn string<R: Read>(opcode: u8, bytes: &mut Bytes<R>) -> Result<Node, Fault> {
    let length = match opcode {
        b'V' => return Ok(Node::Text(bytes.line()?.into())),
        b'S' => {
            let line = bytes.line()?;
            let quoted = line.trim().trim_matches(['\'', '"']);
            return Ok(Node::Text(quoted.into()));
        }
        0x8c | b'C' | b'U' => u64::from(bytes.byte()?),
        b'X' | b'B' | b'T' => u64::from(u32::from_le_bytes(bytes.array()?)),
        _ => u64::from_le_bytes(bytes.array()?),
    };
    let taken = bytes.take(length)?;
    match opcode {
        b'B' | b'C' | 0x8e | 0x96 => Ok(Node::Bytes(taken)),
        b'T' | b'U' => Ok(match String::from_utf8(taken) {
            Ok(text) => Node::Text(text.into()),
            Err(error) => Node::Bytes(error.into_bytes()),
        }),
        _ => Ok(Node::Text(String::from_utf8_lossy(&taken).into())),
    }
}
